// AVX-512 with VNNI (Cascade Lake and later, Zen 4): as AVX-VNNI, on registers twice as wide and twice as many.
#include "simd_avx512.h"

#include <string.h>

#include "cpu.h"

namespace {

using Activation = uint8_t;

struct Tiles {
    static constexpr int64_t ROWS = 12, COLUMNS = 32, DEPTH = 4;
    static constexpr int32_t ZERO_SIGNED = 128, ZERO_POSITIVE = 0;
    struct Session {};
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 4 * (4 * COLUMNS) + 4 * column + k % 4; }

    template <int R>
    static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        __m512i low[R], high[R];
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) low[r] = high[r] = _mm512_setzero_si512();
        for (int64_t i = 0; i < k; i += 4, panel += 4 * COLUMNS) {
            const __m512i w_low = _mm512_loadu_si512(panel), w_high = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) {
                int32_t four;
                memcpy(&four, a + r * stride + i, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
                low[r] = _mm512_dpbusd_epi32(low[r], x, w_low);
                high[r] = _mm512_dpbusd_epi32(high[r], x, w_high);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            _mm512_storeu_si512(sums + r * COLUMNS, low[r]);
            _mm512_storeu_si512(sums + r * COLUMNS + 16, high[r]);
        }
    }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        switch (rows) {
            case 1: return tile<1>(a, stride, panel, k, sums);
            case 2: return tile<2>(a, stride, panel, k, sums);
            case 3: return tile<3>(a, stride, panel, k, sums);
            case 4: return tile<4>(a, stride, panel, k, sums);
            case 5: return tile<5>(a, stride, panel, k, sums);
            case 6: return tile<6>(a, stride, panel, k, sums);
            case 7: return tile<7>(a, stride, panel, k, sums);
            case 8: return tile<8>(a, stride, panel, k, sums);
            case 9: return tile<9>(a, stride, panel, k, sums);
            case 10: return tile<10>(a, stride, panel, k, sums);
            case 11: return tile<11>(a, stride, panel, k, sums);
            default: return tile<12>(a, stride, panel, k, sums);
        }
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx512vnni;
const Isa isa_avx512vnni = make_isa("avx512vnni", has_avx512vnni, 384);

}  // namespace instructor

// AVX-512 with VNNI (Cascade Lake and later, Zen 4): as AVX-VNNI, on registers twice as wide and twice as many.
#include "simd_avx512.h"

#include <string.h>

#include "cpu.h"
#include "tiles.h"

namespace {

using Activation = uint8_t;

struct Tiles : PlainTiles {
    static constexpr int64_t ROWS = 12, COLUMNS = 32, DEPTH = 4;
    static constexpr int32_t ZERO_SIGNED = 128, ZERO_POSITIVE = 0;
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
        run_tile<Tiles>(rows, a, stride, panel, k, sums);
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx512vnni;
const Isa isa_avx512vnni = make_isa("avx512vnni", has_avx512vnni, 384);

}  // namespace instructor

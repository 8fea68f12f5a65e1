// AVX2 with AVX-VNNI (Alder Lake and later, Zen 5): unsigned by signed bytes, four products into 32 bits at once, exact.
#include "simd_avx2.h"

#include <string.h>

#include "cpu.h"
#include "tiles.h"

namespace {

using Activation = uint8_t;

struct Tiles : PlainTiles {
    static constexpr int64_t ROWS = 6, COLUMNS = 16, DEPTH = 4;
    static constexpr int32_t ZERO_SIGNED = 128, ZERO_POSITIVE = 0;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 4 * (4 * COLUMNS) + 4 * column + k % 4; }

    template <int R>
    static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        __m256i low[R], high[R];
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) low[r] = high[r] = _mm256_setzero_si256();
        for (int64_t i = 0; i < k; i += 4, panel += 4 * COLUMNS) {
            const __m256i w_low = _mm256_load_si256(reinterpret_cast<const __m256i*>(panel));
            const __m256i w_high = _mm256_load_si256(reinterpret_cast<const __m256i*>(panel + 32));
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r) {
                int32_t four;
                memcpy(&four, a + r * stride + i, sizeof four);
                const __m256i x = _mm256_set1_epi32(four);
                low[r] = _mm256_dpbusd_avx_epi32(low[r], x, w_low);
                high[r] = _mm256_dpbusd_avx_epi32(high[r], x, w_high);
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS), low[r]);
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS + 8), high[r]);
        }
    }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        run_tile<Tiles>(rows, a, stride, panel, k, sums);
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_avxvnni;
const Isa isa_avxvnni = make_isa("avxvnni", has_avxvnni, 256);

}  // namespace instructor

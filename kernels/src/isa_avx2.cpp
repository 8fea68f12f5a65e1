// AVX2 without VNNI. The 8-bit multiply-add (vpmaddubsw) saturates on full-range pairs, so activations are kept in
// 16 bits and weights are widened on the way: vpmaddwd is exact, and on two multipliers no slower than the detour by
// |a| and sign(w, a), which needs as many multiplications and more of the rest.
#include "simd_avx2.h"

#include <string.h>

#include "cpu.h"

namespace {

using Activation = int16_t;

struct Tiles {
    static constexpr int64_t ROWS = 6, COLUMNS = 16, DEPTH = 2;
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = 0;
    struct Session {};
    // pairs of k beside each other, as vpmaddwd adds them
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 2 * (2 * COLUMNS) + 2 * column + k % 2; }

    template <int R>
    static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        __m256i low[R], high[R];
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) low[r] = high[r] = _mm256_setzero_si256();
        for (int64_t i = 0; i < k; i += 2, panel += 2 * COLUMNS) {
            const __m256i w_low = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(panel)));
            const __m256i w_high = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(panel + 16)));
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r) {
                int32_t pair;
                memcpy(&pair, a + r * stride + i, sizeof pair);
                const __m256i x = _mm256_set1_epi32(pair);
                low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(x, w_low));
                high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(x, w_high));
                // Row after row: GCC would gather all products first, run out of registers and spill the sums,
                // which costs 40 % of the speed.
                asm volatile("" : "+x"(low[r]), "+x"(high[r]));
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS), low[r]);
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS + 8), high[r]);
        }
    }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums) {
        switch (rows) {
            case 1: return tile<1>(a, stride, panel, k, sums);
            case 2: return tile<2>(a, stride, panel, k, sums);
            case 3: return tile<3>(a, stride, panel, k, sums);
            case 4: return tile<4>(a, stride, panel, k, sums);
            case 5: return tile<5>(a, stride, panel, k, sums);
            default: return tile<6>(a, stride, panel, k, sums);
        }
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx2;
const Isa isa_avx2 = make_isa("avx2", has_avx2, 128);

}  // namespace instructor

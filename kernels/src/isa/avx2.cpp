// AVX2 without VNNI. The 8-bit multiply-add (vpmaddubsw) adds two products u8 x s8 in 16 bits and saturates, so
//   - activations are split into magnitude and sign: a w = |a| w where a >= 0, else |a| (~w + 1). The sign is a mask
//     that is xor-ed into the weights, and the + 1 are counted once for the row;
//   - two such sums, four products, are added in 16 bits before they are widened. That is exact while the four
//     magnitudes together are at most 255, as 255 * 128 < 2^15. Few do not fit (one in a hundred of normally
//     distributed numbers); of those, some are taken out of the row and multiplied on their own.
#include "simd_avx2.h"

#include <stddef.h>
#include <string.h>

#include "cpu.h"
#include "tiles.h"

namespace {

using Activation = int16_t;

constexpr int FITS = 255;  // magnitudes whose products with any weights add up in 16 bits

// Four neighbouring k of a row, taken out of it. Each two of neighbours fit.
struct Rest {
    int32_t offset;  // of their weights in a panel
    uint8_t magnitudes[4], signs[4];
};

// What stands behind an arranged row of k activations, followed by its rests.
struct Tail {
    int32_t negatives;  // sum of the magnitudes of negative activations
    int32_t rests;
};

inline int magnitude(Activation a) { return a < 0 ? -a : a; }

inline __m256i broadcast(const void* four_bytes) {
    int32_t bytes;
    memcpy(&bytes, four_bytes, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

inline __m256i weights(const int8_t* panel) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(panel)); }

struct Tiles : RowTiles<Tiles, Activation> {
    static constexpr int64_t ROWS = 4, COLUMNS = 16, DEPTH = 16, STEP_BYTES = 8 * COLUMNS;
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = 0;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 4 * (4 * COLUMNS) + 4 * column + k % 4; }

    // Of each eight k, three times some can be taken out.
    static constexpr int64_t stride(int64_t k) {
        constexpr int64_t size = sizeof(Activation);
        return instructor::row_stride(static_cast<int64_t>(k * size + sizeof(Tail) + k / 8 * 3 * sizeof(Rest))) / size;
    }

    // Eight quantised activations: leaves those that may be added in 16 bits, takes the others to `rests`.
    static Rest* split(Activation* eight, int32_t offset, Rest* rests) {
        const auto take = [&](int first, int step) {
            Rest rest{offset + first / 4 * (4 * static_cast<int32_t>(COLUMNS)), {}, {}};
            for (int i = first; i < first / 4 * 4 + 4; i += step) {
                rest.magnitudes[i % 4] = static_cast<uint8_t>(magnitude(eight[i]));
                rest.signs[i % 4] = eight[i] < 0 ? 0xff : 0;
                eight[i] = 0;
            }
            *rests++ = rest;
        };
        const auto fit = [&](int i) { return magnitude(eight[i]) + magnitude(eight[i + 1]) <= FITS; };
        const bool fits = fit(4) && fit(6);
        if (!fits) take(5, 2);
        take(4, fits ? 1 : 2);
        if (!(fit(0) && fit(2))) take(1, 2);
        return rests;
    }

    // From 16 bits each to, for each four, their magnitudes and their signs in a byte each; and what stands behind.
    static void arrange(Activation* row, int64_t k) {
        char* const behind = reinterpret_cast<char*>(row + k) + sizeof(Tail);
        Tail tail{0, 0};
        __m256i negatives = _mm256_setzero_si256();
        for (int64_t i = 0; i < k; i += 16) {
            __m256i* const place16 = reinterpret_cast<__m256i*>(row + i);
            __m256i x = _mm256_loadu_si256(place16);
            const __m256i pairs = _mm256_madd_epi16(_mm256_abs_epi16(x), _mm256_set1_epi16(1));
            const __m256i fours = _mm256_add_epi32(pairs, _mm256_shuffle_epi32(pairs, 0x4e));  // k and k + 4 together
            const int wide = _mm256_movemask_epi8(_mm256_cmpgt_epi32(fours, _mm256_set1_epi32(FITS)));
            negatives = _mm256_add_epi32(negatives, _mm256_madd_epi16(x, _mm256_srai_epi16(x, 15)));
            for (int half = 0; wide && half < 2; ++half) {
                if ((wide >> 16 * half & 0xffff) == 0) continue;
                Rest rests[3];
                const int64_t first = i + 8 * half;
                const int64_t count = split(row + first, static_cast<int32_t>(first * COLUMNS), rests) - rests;
                memcpy(behind + tail.rests * sizeof(Rest), rests, static_cast<size_t>(count) * sizeof(Rest));
                tail.rests += static_cast<int32_t>(count);
                x = _mm256_loadu_si256(place16);
            }
            const __m256i signs = _mm256_and_si256(_mm256_srai_epi16(x, 15), _mm256_set1_epi16(0xff));
            const __m256i bytes = _mm256_packus_epi16(_mm256_abs_epi16(x), signs);
            _mm256_storeu_si256(place16, _mm256_shuffle_epi32(bytes, 0xd8));
        }
        alignas(32) int32_t parts[8];
        _mm256_store_si256(reinterpret_cast<__m256i*>(parts), negatives);
        for (int32_t part : parts) tail.negatives += part;
        memcpy(row + k, &tail, sizeof tail);
    }

    // Sums of four products in 16 bits, widened: eight columns, of weights k ... k + 3 and k + 4 ... k + 7.
    static __m256i widened(__m256i sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }

    // Not inlined: within its callers GCC keeps the sums in memory.
    template <int R, bool SIGNED>
    [[gnu::noinline]] static void products(const Activation* a, int64_t stride, const int8_t* panel, int64_t k,
                                           int32_t* sums, Ahead ahead) {
        __m256i low[R], high[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) low[r] = high[r] = SIGNED ? broadcast(a + r * stride + k) : _mm256_setzero_si256();
        for (int64_t i = 0; i < k; i += 8, panel += STEP_BYTES) {
            ahead.fetch<STEP_BYTES>();
            __m256i first = weights(panel), second = weights(panel + 32);
#if defined(__clang__)
            // A row takes four loads of its own, and processors do two a cycle: these stay in registers, which Clang
            // would rather load again for every row.
            asm("" : "+x"(first), "+x"(second));
#endif
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                const Activation* eight = a + r * stride + i;
                __m256i w0 = first, w1 = second, w2 = weights(panel + 64), w3 = weights(panel + 96);
                if constexpr (SIGNED) {
                    const __m256i sign0 = broadcast(eight + 2), sign1 = broadcast(eight + 6);
                    w0 = _mm256_xor_si256(w0, sign0), w1 = _mm256_xor_si256(w1, sign0);
                    w2 = _mm256_xor_si256(w2, sign1), w3 = _mm256_xor_si256(w3, sign1);
                }
                const __m256i x0 = broadcast(eight), x1 = broadcast(eight + 4);
                const __m256i l = _mm256_add_epi16(_mm256_maddubs_epi16(x0, w0), _mm256_maddubs_epi16(x1, w2));
                const __m256i h = _mm256_add_epi16(_mm256_maddubs_epi16(x0, w1), _mm256_maddubs_epi16(x1, w3));
                low[r] = _mm256_add_epi32(low[r], widened(l));
                high[r] = _mm256_add_epi32(high[r], widened(h));
                // Row after row: GCC would gather all products first, run out of registers and spill the sums.
                asm volatile("" : "+x"(low[r]), "+x"(high[r]));
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS), low[r]);
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * COLUMNS + 8), high[r]);
        }
    }

    static void add_rests(const Activation* behind, int32_t count, const int8_t* panel, int32_t* sums) {
        __m256i* const places = reinterpret_cast<__m256i*>(sums);
        __m256i low = _mm256_load_si256(places), high = _mm256_load_si256(places + 1);
        const char* from = reinterpret_cast<const char*>(behind);
        for (int32_t i = 0; i < count; ++i, from += sizeof(Rest)) {
            int32_t offset;
            memcpy(&offset, from, sizeof offset);
            const __m256i x = broadcast(from + offsetof(Rest, magnitudes));
            const __m256i sign = broadcast(from + offsetof(Rest, signs));
            const __m256i w0 = _mm256_xor_si256(weights(panel + offset), sign);
            const __m256i w1 = _mm256_xor_si256(weights(panel + offset + 32), sign);
            low = _mm256_add_epi32(low, widened(_mm256_maddubs_epi16(x, w0)));
            high = _mm256_add_epi32(high, widened(_mm256_maddubs_epi16(x, w1)));
        }
        _mm256_store_si256(places, low);
        _mm256_store_si256(places + 1, high);
    }

    template <int R>
    static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums, Ahead ahead) {
        Tail tails[R];
        bool negative = false;
        for (int r = 0; r < R; ++r) {
            memcpy(&tails[r], a + r * stride + k, sizeof(Tail));
            negative = negative || tails[r].negatives != 0;
        }
        if (negative) {
            products<R, true>(a, stride, panel, k, sums, ahead);
        } else {
            products<R, false>(a, stride, panel, k, sums, ahead);
        }
        for (int r = 0; r < R; ++r) {
            const Activation* behind = a + r * stride + k + sizeof(Tail) / sizeof(Activation);
            if (tails[r].rests) add_rests(behind, tails[r].rests, panel, sums + r * COLUMNS);
        }
    }
};

struct WordRegister : Integers {
    static constexpr int ROWS = 4, PANELS = 1;
    static V dot(V sums, V x, V w) { return _mm256_add_epi32(sums, _mm256_madd_epi16(x, w)); }
};

}  // namespace

#include "words_x86.h"

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx2;
constexpr Isa isa_avx2 = make_isa("avx2", missing_avx2, 128);

}  // namespace instructor

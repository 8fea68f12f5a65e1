// ARMv8.6 with int8 matrix products (Neoverse V1 and N2, Apple M2 and later): 2 x 8 by 8 x 2 bytes at once.
#include "simd_neon.h"

#include "cpu.h"
#include "tiles.h"
#include "words_limbs.h"

namespace {

using Activation = int8_t;  // after a ReLU, 0 ... 255 are stored 128 lower

// Two rows by four columns, of two products of pairs.
inline void store_pairs(int32_t* sums, int64_t stride, int32x4_t left, int32x4_t right) {
    const int64x2_t a = vreinterpretq_s64_s32(left), b = vreinterpretq_s64_s32(right);
    vst1q_s32(sums, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
    vst1q_s32(sums + stride, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
}

struct Tiles : PlainTiles<Activation> {
    static constexpr int64_t ROWS = 6, COLUMNS = 16, DEPTH = 16, STEP_BYTES = 8 * COLUMNS;
    static constexpr int64_t STEP = 2;  // rows are multiplied in pairs
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = -128;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 8 * (8 * COLUMNS) + 8 * column + k % 8; }

    // Two rows lie together, 8 numbers of the one and 8 of the other in turn: a pair is one load.
    static Activation* row(Activation* a, int64_t stride, int64_t index) {
        return a + (index & ~1) * stride + (index & 1) * 8;
    }
    static void put(Activation* row, int64_t i, F x) {
        for (int half = 0; half < 2; ++half) vst1_s8(row + 2 * i + 16 * half, lowest_bytes(x, half));
    }

    // An odd last row has a partner that is buffer to spare; its sums are ignored.
    // Out of line: among the numbers of the code around it GCC would spill sums.
    template <int PAIRS>
    [[gnu::noinline]] static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k,
                                       int32_t* sums, Ahead ahead) {
        int32x4_t dot[PAIRS][8];  // of two rows and two columns each
        for (int p = 0; p < PAIRS; ++p) {
            for (int c = 0; c < 8; ++c) dot[p][c] = vdupq_n_s32(0);
        }
        for (int64_t i = 0; i < k; i += 8, panel += 8 * COLUMNS) {
            ahead.fetch<STEP_BYTES>();
            int8x16_t x[PAIRS];
            for (int p = 0; p < PAIRS; ++p) x[p] = vld1q_s8(a + 2 * (p * stride + i));
            for (int c = 0; c < 8; ++c) {
                const int8x16_t w = vld1q_s8(panel + 16 * c);
                for (int p = 0; p < PAIRS; ++p) dot[p][c] = vmmlaq_s32(dot[p][c], x[p], w);
            }
        }
        for (int p = 0; p < PAIRS; ++p) {
            for (int c = 0; c < 8; c += 2) {
                store_pairs(sums + 2 * p * COLUMNS + 2 * c, COLUMNS, dot[p][c], dot[p][c + 1]);
            }
        }
    }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums,
                    Ahead ahead) {
        if (rows > 4) return tile<3>(a, stride, panel, k, sums, ahead);
        if (rows > 2) return tile<2>(a, stride, panel, k, sums, ahead);
        return tile<1>(a, stride, panel, k, sums, ahead);
    }
};

struct WordLayout {
    static constexpr int64_t BLOCK = 8, LOW = 16;
    // two columns beside each other, eight high bytes of each, then their low ones
    static constexpr int64_t place(int64_t k, int64_t lane) {
        return k / 8 * (2 * 8 * LANES) + lane / 2 * 32 + lane % 2 * 8 + k % 8;
    }
};

struct Words : LimbWords<WordLayout> {
    static constexpr int ROWS = 4, PANELS = 1;
    static constexpr int64_t DEPTH = 8;

    // Two rows a pair by eight columns. An odd last row has a partner that is buffer to spare; its sums are ignored.
    template <int PAIRS>
    [[gnu::noinline]] static void tile(const int16_t* a, int64_t stride, const int16_t* panel, int64_t k,
                                       int32_t* sums) {
        int32x4_t high[PAIRS][4], middle[PAIRS][4], low[PAIRS][4];  // of two rows and two columns each
        for (int p = 0; p < PAIRS; ++p) {
            for (int c = 0; c < 4; ++c) high[p][c] = middle[p][c] = low[p][c] = vdupq_n_s32(0);
        }
        const auto* weights = reinterpret_cast<const int8_t*>(panel);
        for (int64_t i = 0; i < k; i += 8, weights += 2 * 8 * LANES) {
            int8x16_t x_high[PAIRS], x_low[PAIRS];
            for (int p = 0; p < PAIRS; ++p) {
                const int64x2_t upper = vreinterpretq_s64_s16(vld1q_s16(a + 2 * p * stride + i));
                const int64x2_t lower = vreinterpretq_s64_s16(vld1q_s16(a + (2 * p + 1) * stride + i));
                x_high[p] = vreinterpretq_s8_s64(vzip1q_s64(upper, lower));
                x_low[p] = vreinterpretq_s8_s64(vzip2q_s64(upper, lower));
            }
            for (int c = 0; c < 4; ++c) {
                const int8x16_t w_high = vld1q_s8(weights + 32 * c), w_low = vld1q_s8(weights + 32 * c + 16);
                for (int p = 0; p < PAIRS; ++p) {
                    high[p][c] = vmmlaq_s32(high[p][c], x_high[p], w_high);
                    middle[p][c] = vmmlaq_s32(middle[p][c], x_high[p], w_low);
                    middle[p][c] = vmmlaq_s32(middle[p][c], x_low[p], w_high);
                    low[p][c] = vmmlaq_s32(low[p][c], x_low[p], w_low);
                }
            }
        }
        for (int p = 0; p < PAIRS; ++p) {
            const auto total = [&](int c) { return words(high[p][c], middle[p][c], low[p][c]); };
            for (int c = 0; c < 4; c += 2) store_pairs(sums + 2 * p * LANES + 2 * c, LANES, total(c), total(c + 1));
        }
    }

    static void run(int64_t rows, const int16_t* a, int64_t stride, const int16_t* panel, int64_t k, int64_t,
                    int32_t* sums) {
        for (int64_t c = 0; c < LANES; c += 8, panel += 8 * 8, sums += 8) {
            if (rows > 2) {
                tile<2>(a, stride, panel, k, sums);
            } else {
                tile<1>(a, stride, panel, k, sums);
            }
        }
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_i8mm;
constexpr Isa isa_i8mm = make_isa("i8mm", missing_i8mm, 192);

}  // namespace instructor

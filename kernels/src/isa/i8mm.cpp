// ARMv8.6 with int8 matrix products (Neoverse V1 and N2, Apple M2 and later): 2 x 8 by 8 x 2 bytes at once.
#include "simd_neon.h"

#include "cpu.h"
#include "tiles.h"
#include "words_scalar.h"

namespace {

using Activation = int8_t;  // after a ReLU, 0 ... 255 are stored 128 lower

struct Tiles : PlainTiles<Activation> {
    static constexpr int64_t ROWS = 6, COLUMNS = 16, DEPTH = 8, STEP_BYTES = 8 * COLUMNS;
    static constexpr int64_t STEP = 2;  // rows are multiplied in pairs
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = -128;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 8 * (8 * COLUMNS) + 8 * column + k % 8; }

    // Two rows lie together, 8 numbers of the one and 8 of the other in turn: a pair is one load.
    static Activation* row(Activation* a, int64_t stride, int64_t index) {
        return a + (index & ~1) * stride + (index & 1) * 8;
    }
    static void put(Activation* row, int64_t i, F x) {
        const int8x16_t whole = whole_numbers(x);
        vst1_s8(row + 2 * i, vget_low_s8(whole));
        vst1_s8(row + 2 * i + 16, vget_high_s8(whole));
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
                const int64x2_t left = vreinterpretq_s64_s32(dot[p][c]), right = vreinterpretq_s64_s32(dot[p][c + 1]);
                int32_t* const out = sums + 2 * p * COLUMNS + 2 * c;
                vst1q_s32(out, vreinterpretq_s32_s64(vzip1q_s64(left, right)));
                vst1q_s32(out + COLUMNS, vreinterpretq_s32_s64(vzip2q_s64(left, right)));
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

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_i8mm;
constexpr Isa isa_i8mm = make_isa("i8mm", missing_i8mm, 192);

}  // namespace instructor

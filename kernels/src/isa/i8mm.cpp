// ARMv8.6 with int8 matrix products (Neoverse V1 and N2, Apple M2 and later): 2 x 8 by 8 x 2 bytes at once.
#include "simd_neon.h"

#include "cpu.h"
#include "tiles.h"

namespace {

using Activation = int8_t;  // after a ReLU, 0 ... 255 are stored 128 lower

struct Tiles : PlainTiles<Activation> {
    static constexpr int64_t ROWS = 6, COLUMNS = 16, DEPTH = 16, STEP_BYTES = 8 * COLUMNS;
    static constexpr int64_t STEP = 2;  // rows are multiplied in pairs
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = -128;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 8 * (8 * COLUMNS) + 8 * column + k % 8; }

    template <int PAIRS>
    static void tile(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums,
                     Ahead ahead) {
        int32x4_t dot[PAIRS][8];  // of two rows and two columns each
        for (int p = 0; p < PAIRS; ++p) {
            for (int c = 0; c < 8; ++c) dot[p][c] = vdupq_n_s32(0);
        }
        const Activation* lower[PAIRS];  // an odd last row is its own partner
        for (int p = 0; p < PAIRS; ++p) lower[p] = a + (2 * p + 1 < rows ? 2 * p + 1 : 2 * p) * stride;
        for (int64_t i = 0; i < k; i += 8, panel += 8 * COLUMNS) {
            ahead.fetch<STEP_BYTES>();
            int8x16_t x[PAIRS];
            for (int p = 0; p < PAIRS; ++p) x[p] = vcombine_s8(vld1_s8(a + 2 * p * stride + i), vld1_s8(lower[p] + i));
            for (int c = 0; c < 8; ++c) {
                const int8x16_t w = vld1q_s8(panel + 16 * c);
                for (int p = 0; p < PAIRS; ++p) dot[p][c] = vmmlaq_s32(dot[p][c], x[p], w);
            }
        }
        for (int p = 0; p < PAIRS; ++p) {
            for (int c = 0; c < 8; ++c) {
                vst1_s32(sums + 2 * p * COLUMNS + 2 * c, vget_low_s32(dot[p][c]));
                if (2 * p + 1 < rows) vst1_s32(sums + (2 * p + 1) * COLUMNS + 2 * c, vget_high_s32(dot[p][c]));
            }
        }
    }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums,
                    Ahead ahead) {
        if (rows > 4) return tile<3>(rows, a, stride, panel, k, sums, ahead);
        if (rows > 2) return tile<2>(rows, a, stride, panel, k, sums, ahead);
        return tile<1>(rows, a, stride, panel, k, sums, ahead);
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_i8mm;
constexpr Isa isa_i8mm = make_isa("i8mm", missing_i8mm, 192);

}  // namespace instructor

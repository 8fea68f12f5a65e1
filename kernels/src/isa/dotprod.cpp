// ARMv8.2 with dot products (Neoverse N1, Apple M1, Cortex-A76 and later): signed bytes, four products at once.
#include "simd_neon.h"

#include "cpu.h"
#include "tiles.h"
#include "words_limbs.h"

namespace {

using Activation = int8_t;  // after a ReLU, 0 ... 255 are stored 128 lower

struct Tiles : RowTiles<Tiles, Activation> {
    static constexpr int64_t ROWS = 4, COLUMNS = 16, DEPTH = 16, STEP_BYTES = 16 * COLUMNS;
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = -128;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 4 * (4 * COLUMNS) + 4 * column + k % 4; }

    template <int R, int GROUP>
    static void step(const int8x16_t* x, const int8_t* panel, int32x4_t (*dot)[4]) {
        for (int c = 0; c < 4; ++c) {
            const int8x16_t w = vld1q_s8(panel + GROUP * 4 * COLUMNS + 16 * c);
            for (int r = 0; r < R; ++r) dot[r][c] = vdotq_laneq_s32(dot[r][c], w, x[r], GROUP);
        }
    }

    // Out of line: among the numbers of the code around it GCC would spill sums.
    template <int R>
    [[gnu::noinline]] static void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k,
                                       int32_t* sums, Ahead ahead) {
        int32x4_t dot[R][4];
        for (int r = 0; r < R; ++r) {
            for (int c = 0; c < 4; ++c) dot[r][c] = vdupq_n_s32(0);
        }
        for (int64_t i = 0; i < k; i += 16, panel += 16 * COLUMNS) {
            ahead.fetch<STEP_BYTES>();
            int8x16_t x[R];
            for (int r = 0; r < R; ++r) x[r] = vld1q_s8(a + r * stride + i);
            step<R, 0>(x, panel, dot);
            step<R, 1>(x, panel, dot);
            step<R, 2>(x, panel, dot);
            step<R, 3>(x, panel, dot);
        }
        for (int r = 0; r < R; ++r) {
            for (int c = 0; c < 4; ++c) vst1q_s32(sums + r * COLUMNS + 4 * c, dot[r][c]);
        }
    }
};

struct WordLayout {
    static constexpr int64_t BLOCK = 16, LOW = 4 * LANES;
    static constexpr int64_t place(int64_t k, int64_t lane) { return k / 4 * 2 * LOW + 4 * lane; }
};

struct Words : LimbWords<WordLayout> {
    static constexpr int ROWS = 4, PANELS = 1;
    static constexpr int64_t DEPTH = 16;

    template <int R>
    struct Sums {
        int32x4_t high[R][4], middle[R][4], low[R][4];
    };

    template <int R, int GROUP>
    static void step(const int8x16_t* x_high, const int8x16_t* x_low, const int8_t* weights, Sums<R>& sums) {
        weights += GROUP * 2 * WordLayout::LOW;
        for (int c = 0; c < 4; ++c) {
            const int8x16_t w_high = vld1q_s8(weights + 16 * c), w_low = vld1q_s8(weights + WordLayout::LOW + 16 * c);
            for (int r = 0; r < R; ++r) {
                sums.high[r][c] = vdotq_laneq_s32(sums.high[r][c], w_high, x_high[r], GROUP);
                sums.middle[r][c] = vdotq_laneq_s32(sums.middle[r][c], w_low, x_high[r], GROUP);
                sums.middle[r][c] = vdotq_laneq_s32(sums.middle[r][c], w_high, x_low[r], GROUP);
                sums.low[r][c] = vdotq_laneq_s32(sums.low[r][c], w_low, x_low[r], GROUP);
            }
        }
    }

    template <int R>
    [[gnu::noinline]] static void tile(const int16_t* a, int64_t stride, const int16_t* panel, int64_t k,
                                       int32_t* out) {
        Sums<R> sums;
        for (int r = 0; r < R; ++r) {
            for (int c = 0; c < 4; ++c) sums.high[r][c] = sums.middle[r][c] = sums.low[r][c] = vdupq_n_s32(0);
        }
        for (int64_t i = 0; i < k; i += 16) {
            const auto* weights = reinterpret_cast<const int8_t*>(panel + i * LANES);
            int8x16_t x_high[R], x_low[R];
            for (int r = 0; r < R; ++r) {
                x_high[r] = vreinterpretq_s8_s16(vld1q_s16(a + r * stride + i));
                x_low[r] = vreinterpretq_s8_s16(vld1q_s16(a + r * stride + i + 8));
            }
            step<R, 0>(x_high, x_low, weights, sums);
            step<R, 1>(x_high, x_low, weights, sums);
            step<R, 2>(x_high, x_low, weights, sums);
            step<R, 3>(x_high, x_low, weights, sums);
        }
        for (int r = 0; r < R; ++r) {
            for (int c = 0; c < 4; ++c) {
                vst1q_s32(out + r * LANES + 4 * c, words(sums.high[r][c], sums.middle[r][c], sums.low[r][c]));
            }
        }
    }

    static void run(int64_t rows, const int16_t* a, int64_t stride, const int16_t* panel, int64_t k, int64_t,
                    int32_t* sums) {
        for (; rows > 1; rows -= 2, a += 2 * stride, sums += 2 * LANES) tile<2>(a, stride, panel, k, sums);
        if (rows > 0) tile<1>(a, stride, panel, k, sums);
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_dotprod;
constexpr Isa isa_dotprod = make_isa("dotprod", missing_dotprod, 192);

}  // namespace instructor

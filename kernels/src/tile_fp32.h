// The tile of fp32, the same everywhere: each number is a chain of fused multiplications and additions in the order of
// k, whatever the tile's height and the registers' width. Needs F, FLOAT_ROWS and FLOAT_VECTORS.
#pragma once

#include <string.h>

#include "tiles.h"

namespace {

struct FloatTiles : RowTiles<FloatTiles, float, float, float> {
    static constexpr int64_t ROWS = FLOAT_ROWS, COLUMNS = FLOAT_VECTORS * instructor::LANES, DEPTH = 1;
    static constexpr int64_t STEP_BYTES = COLUMNS * sizeof(float);
    static constexpr int64_t place(int64_t k, int64_t column) { return k * COLUMNS + column; }

    template <int R>
    [[gnu::always_inline]] static inline void tile(const float* a, int64_t stride, const float* panel, int64_t k,
                                                   float* sums, Ahead ahead) {
        F sum[R][FLOAT_VECTORS];
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            for (F& vector : sum[r]) vector = set(0.0f);
        }
        Fours<R, float> rows(a, stride);
        for (int64_t i = 0; i < k; ++i, panel += COLUMNS, rows.step(1)) {
            ahead.fetch<STEP_BYTES>();
            F w[FLOAT_VECTORS];
            for (int v = 0; v < FLOAT_VECTORS; ++v) w[v] = load(panel + v * instructor::LANES);
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) {
                const F x = set(*rows.row(r));
                for (int v = 0; v < FLOAT_VECTORS; ++v) sum[r][v] = fma(x, w[v], sum[r][v]);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            for (int v = 0; v < FLOAT_VECTORS; ++v) store(sums + r * COLUMNS + v * instructor::LANES, sum[r][v]);
        }
    }
};

// Attention's products of floats as they are: what words.h says of whole numbers.
struct Floats {
    using Number = float;
    using Sum = float;
    static constexpr bool WHOLE = false;
    static constexpr int64_t ROWS = FloatTiles::ROWS, PANELS = 1, COLUMNS = FloatTiles::COLUMNS, DEPTH = 1;
    struct Session {};
    static void put(float* p, F x) { store(p, x); }
    static void arrange(float*, int64_t) {}

    static void pack(const float* numbers, int64_t n, int64_t k, float* panels) {
        for (int64_t column = 0; column < n; column += COLUMNS) {
            for (int64_t i = 0; i < k; ++i, panels += COLUMNS) {
                memcpy(panels, numbers + i * n + column, COLUMNS * sizeof(float));
            }
        }
    }

    static void pack_turned(const float* numbers, int64_t k, int64_t n, float* panels) {
        for (int64_t column = 0; column < n; ++column, numbers += k) {
            float* out = panels + column / COLUMNS * COLUMNS * k + column % COLUMNS;
            for (int64_t i = 0; i < k; ++i) out[i * COLUMNS] = numbers[i];
        }
    }

    static void run(int64_t rows, const float* a, int64_t stride, const float* panel, int64_t k, int64_t, float* sums) {
        FloatTiles::run(static_cast<int>(rows), a, stride, panel, k, sums, {reinterpret_cast<const char*>(panel), 0});
    }
};

}  // namespace

// The tile of both VNNIs: unsigned by signed bytes, four products into 32 bits at once, exact. Needs Register:
//   Register::V, ROWS                 a vector of 32-bit sums; rows of a tile that the registers have room for
//   Register::load, store, dot(sums, x, w), all(four bytes)
#pragma once

#include <string.h>

#include "tiles.h"

namespace {

using Activation = uint8_t;

struct Tiles : RowTiles<Tiles, Activation> {
    using V = Register::V;
    static constexpr int64_t LENGTH = sizeof(V) / sizeof(int32_t);
    static constexpr int64_t ROWS = Register::ROWS, COLUMNS = 2 * LENGTH, DEPTH = 16, STEP_BYTES = 4 * COLUMNS;
    static constexpr int32_t ZERO_SIGNED = 128, ZERO_POSITIVE = 0;
    static constexpr int64_t place(int64_t k, int64_t column) { return k / 4 * (4 * COLUMNS) + 4 * column + k % 4; }

    template <int R>
    [[gnu::always_inline]] static inline void tile(const Activation* a, int64_t stride, const int8_t* panel, int64_t k,
                                                   int32_t* sums, Ahead ahead) {
        V low[R], high[R];
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) low[r] = high[r] = Register::all(0);
        Fours<R, Activation> rows(a, stride);
        for (int64_t i = 0; i < k; i += 4, panel += 4 * COLUMNS, rows.step(4)) {
            ahead.fetch<STEP_BYTES>();
            const V w_low = Register::load(panel), w_high = Register::load(panel + sizeof(V));
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) {
                int32_t four;
                memcpy(&four, rows.row(r), sizeof four);
                const V x = Register::all(four);
                low[r] = Register::dot(low[r], x, w_low);
                high[r] = Register::dot(high[r], x, w_high);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            Register::store(sums + r * COLUMNS, low[r]);
            Register::store(sums + r * COLUMNS + LENGTH, high[r]);
        }
    }
};

}  // namespace

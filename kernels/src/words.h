// Products of 16-bit numbers with sums of 32 bits, for attention. What the Words of an instruction set have:
//   ROWS, PANELS                                  a tile: rows, and panels of LANES columns beside each other
//   DEPTH                                         k is a multiple of this
//   Session                                       lives around calls of run
//   arrange(row, k)                               what happens to a quantised row before it is multiplied
//   pack(numbers, stride, k, columns, panels)     numbers [k, columns] into panels of [k, LANES]
//   pack_turned(numbers, stride, k, columns, panels)  the same of numbers [columns, k]
//   run(rows, a, stride, panel, k, panels, sums)  int32 [rows, PANELS * LANES], modulo 2^32
#pragma once

#include <string.h>

#include "model.h"

namespace {

using namespace instructor;

// Panels of two numbers of each column beside each other: what an instruction multiplies and adds at once.
struct WordPairs {
    static constexpr int64_t DEPTH = 2;
    struct Session {};
    static void arrange(int16_t*, int64_t) {}

    static void pack(const int16_t* numbers, int64_t stride, int64_t k, int64_t columns, int16_t* panels) {
        for (int64_t i = 0; i < k; i += 2, numbers += 2 * stride) {
            for (int64_t column = 0; column < columns; column += LANES) {
                int16_t* pair = panels + column * k + i * LANES;
                for (int64_t lane = 0; lane < LANES; ++lane) {
                    pair[2 * lane] = numbers[column + lane];
                    pair[2 * lane + 1] = numbers[stride + column + lane];
                }
            }
        }
    }

    static void pack_turned(const int16_t* numbers, int64_t stride, int64_t k, int64_t columns, int16_t* panels) {
        for (int64_t column = 0; column < columns; ++column, numbers += stride) {
            int16_t* out = panels + column / LANES * LANES * k + column % LANES * 2;
            for (int64_t i = 0; i < k; i += 2) memcpy(out + i * LANES, numbers + i, 2 * sizeof(int16_t));
        }
    }
};

// A tile whose size is known to the compiler: Words::tile<rows, panels>(a, stride, panel, k, sums).
template <class Words, int MOST_ROWS, int MOST_PANELS>
struct WordTiles : WordPairs {
    static constexpr int ROWS = MOST_ROWS, PANELS = MOST_PANELS;

    template <int R = ROWS, int P = PANELS>
    static void run(int64_t rows, const int16_t* a, int64_t stride, const int16_t* panel, int64_t k, int64_t panels,
                    int32_t* sums) {
        if constexpr (P > 1) {
            if (panels < P) return run<R, P - 1>(rows, a, stride, panel, k, panels, sums);
        }
        if constexpr (R > 1) {
            if (rows < R) return run<R - 1, P>(rows, a, stride, panel, k, panels, sums);
        }
        Words::template tile<R, P>(a, stride, panel, k, sums);
    }
};

}  // namespace

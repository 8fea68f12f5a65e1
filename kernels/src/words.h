// Products of 16-bit numbers with sums of 32 bits, for attention. What the Words of an instruction set have:
//   Number, Sum, WHOLE              int16_t, int32_t, true: numbers are rounded to whole ones
//   ROWS, PANELS, COLUMNS           a tile: rows, and panels of so many columns beside each other
//   DEPTH                           k is a multiple of this
//   Session                         lives around calls of run
//   put(p, F)                       LANES numbers, rounded
//   arrange(row, k)                 what happens to a row before it is multiplied
//   pack(numbers, n, k, panels)     numbers [k, n] into panels of [k, COLUMNS]
//   pack_turned(numbers, k, n, panels)  the same of numbers [n, k]
//   run(rows, a, stride, panel, k, panels, sums)  Sum [rows, PANELS * COLUMNS], modulo 2^32
#pragma once

#include <string.h>

#include "rows.h"

namespace {

using namespace instructor;

struct WholeNumbers {
    using Number = int16_t;
    using Sum = int32_t;
    static constexpr bool WHOLE = true;
    static constexpr int64_t COLUMNS = LANES;
    struct Session {};
    static void put(int16_t* p, F x) { store_lowest(p, add(x, set(SHIFT))); }
};

// Panels of two numbers of each column beside each other: what an instruction multiplies and adds at once.
struct WordPairs : WholeNumbers {
    static constexpr int64_t DEPTH = 2;
    static void arrange(int16_t*, int64_t) {}

    static void pack(const int16_t* numbers, int64_t n, int64_t k, int16_t* panels) {
        for (int64_t i = 0; i < k; i += 2, numbers += 2 * n) {
            for (int64_t column = 0; column < n; column += COLUMNS) {
                int16_t first[COLUMNS], second[COLUMNS];
                uint32_t pairs[COLUMNS];
                memcpy(first, numbers + column, sizeof first);
                memcpy(second, numbers + n + column, sizeof second);
                for (int64_t c = 0; c < COLUMNS; ++c) {
                    pairs[c] = static_cast<uint16_t>(first[c]) | static_cast<uint32_t>(second[c]) << 16;
                }
                memcpy(panels + column * k + i * COLUMNS, pairs, sizeof pairs);
            }
        }
    }

    static void pack_turned(const int16_t* numbers, int64_t k, int64_t n, int16_t* panels) {
        for (int64_t column = 0; column < n; ++column, numbers += k) {
            int16_t* out = panels + column / COLUMNS * COLUMNS * k + column % COLUMNS * 2;
            for (int64_t i = 0; i < k; i += 2) memcpy(out + i * COLUMNS, numbers + i, 2 * sizeof(int16_t));
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

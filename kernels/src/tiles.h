// What tiles of several instruction sets have in common. Needs F.
#pragma once

#include <stdint.h>

#include "model.h"

namespace {

// Weights that come next, brought from memory while others are multiplied: a query of a few tokens reads all weights
// once, and is over when they are there. `fetch` goes on by `step` each time; the addresses may lie past the end.
struct Ahead {
    const char* at;
    int64_t step;

    // No more lines than the step has: where it has many.
    void fetch_lines() {
        for (const char* const end = at + step; at < end; at += 64) __builtin_prefetch(at, 0, 2);
    }

    template <int64_t BYTES>
    void fetch() {
        // To the first-level cache, where a panel meets three tiles and more: it is multiplied from there (1.09 of the
        // speed at 32 tokens on Zen 4). With fewer, memory's time counts, and lines that wait there for it hold up the
        // panel at hand (0.87 at 16 tokens): those go to the second-level cache.
        const bool near = step < BYTES / 2;
        for (int64_t line = 0; line < BYTES; line += 64) {
            if (near) {
                __builtin_prefetch(at + line, 0, 3);
            } else {
                __builtin_prefetch(at + line, 0, 2);
            }
        }
        at += step;
    }
};

// The rows of a tile by one address for four of them. GCC would keep one for each row, which are more than there are
// registers, and fetch them from vector registers in the innermost loop.
template <int ROWS, class Activation>
class Fours {
public:
    Fours(const Activation* a, int64_t stride) : stride_(stride) {
        for (int four = 0; four < FOURS; ++four) first_[four] = a + 4 * four * stride;
    }
    const Activation* row(int r) const { return first_[r / 4] + r % 4 * stride_; }
    void step(int64_t numbers) {
        for (const Activation*& first : first_) {
            first += numbers;
            asm("" : "+r"(first));
        }
    }

private:
    static constexpr int FOURS = (ROWS + 3) / 4;
    const Activation* first_[FOURS];
    int64_t stride_;
};

// A tile that needs nothing around it, of activations that lie as they were prepared, of any height up to its own.
template <class A, class W = int8_t, class S = int32_t>
struct PlainTiles {
    using Activation = A;
    using Weight = W;
    using Sum = S;
    static constexpr int64_t STEP = 1;
    static constexpr bool INTERLEAVES = false;
    struct Session {};
    static constexpr int64_t stride(int64_t k) {
        constexpr int64_t size = sizeof(Activation);
        return instructor::row_stride(k * size) / size;
    }
    static Activation* row(Activation* a, int64_t stride, int64_t index) { return a + index * stride; }
    static void put(Activation* row, int64_t i, F x) { store_lowest(row + i, x); }
    static void arrange(Activation*, int64_t) {}
};

// A tile whose number of rows is known to the compiler: Tiles::tile<rows>(a, stride, panel, k, sums, ahead), rows at
// most ROWS.
template <class Tiles, class A, class W = int8_t, class S = int32_t>
struct RowTiles : PlainTiles<A, W, S> {
    template <int MOST = -1>
    [[gnu::always_inline]] static inline void run(int rows, const A* a, int64_t stride, const W* panel, int64_t k,
                                                  S* sums, Ahead ahead) {
        constexpr int HEIGHT = MOST < 0 ? Tiles::ROWS : MOST;
        if constexpr (HEIGHT > 1) {
            if (rows < HEIGHT) return run<HEIGHT - 1>(rows, a, stride, panel, k, sums, ahead);
        }
        Tiles::template tile<HEIGHT>(a, stride, panel, k, sums, ahead);
    }
};

}  // namespace

// What tiles of several instruction sets have in common.
#pragma once

#include <stdint.h>

namespace {

// A tile that needs nothing around it, of activations that lie as they were quantised.
struct PlainTiles {
    struct Session {};
    static constexpr int64_t stride(int64_t k) { return k; }
    template <class Activation>
    static void arrange(Activation*, int64_t) {}
};

// Tiles::tile<rows>(arguments), 1 <= rows <= ROWS.
template <class Tiles, int ROWS = Tiles::ROWS, class... Arguments>
inline void run_tile(int rows, Arguments... arguments) {
    if constexpr (ROWS > 1) {
        if (rows < ROWS) return run_tile<Tiles, ROWS - 1>(rows, arguments...);
    }
    Tiles::template tile<ROWS>(arguments...);
}

}  // namespace

// Products of 16-bit numbers with x86's multiply-add of pairs. Needs WordRegister:
//   V, ROWS, PANELS              a vector of 32-bit sums; the tile that the registers have room for
//   load, store, all(two numbers), dot(sums, x, w)
#pragma once

#include "words.h"

namespace {

struct Words : WordTiles<Words, WordRegister::ROWS, WordRegister::PANELS> {
    using V = WordRegister::V;
    static constexpr int64_t LENGTH = sizeof(V) / sizeof(int32_t), PARTS = LANES / LENGTH;  // of a panel

    // Not inlined: within its callers GCC keeps sums in memory.
    template <int R, int P>
    [[gnu::noinline]] static void tile(const int16_t* a, int64_t stride, const int16_t* panel, int64_t k,
                                       int32_t* sums) {
        V dot[R][P * PARTS];
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
            for (int c = 0; c < P * PARTS; ++c) dot[r][c] = WordRegister::all(0);
        }
        for (int64_t i = 0; i < k; i += 2) {
            V w[P * PARTS];
#pragma GCC unroll 2
            for (int c = 0; c < P * PARTS; ++c) {
                w[c] = WordRegister::load(panel + c / PARTS * LANES * k + i * LANES + c % PARTS * 2 * LENGTH);
            }
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) {
                int32_t two;
                memcpy(&two, a + r * stride + i, sizeof two);
                const V x = WordRegister::all(two);
#pragma GCC unroll 2
                for (int c = 0; c < P * PARTS; ++c) dot[r][c] = WordRegister::dot(dot[r][c], x, w[c]);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
            for (int c = 0; c < P * PARTS; ++c) {
                WordRegister::store(sums + r * PANELS * LANES + c * LENGTH, dot[r][c]);
            }
        }
    }
};

}  // namespace

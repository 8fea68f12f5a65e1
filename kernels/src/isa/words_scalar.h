// Products of 16-bit numbers in plain C++.
#pragma once

#include "words.h"

namespace {

struct Words : WordPairs {
    static constexpr int ROWS = 4, PANELS = 1;

    static void run(int64_t rows, const int16_t* a, int64_t stride, const int16_t* panel, int64_t k, int64_t,
                    int32_t* sums) {
        for (int64_t r = 0; r < rows; ++r) {
            uint32_t total[LANES] = {};  // unsigned: sums are modulo 2^32
            for (int64_t i = 0; i < k; ++i) {
                const int32_t x = a[r * stride + i];
                const int16_t* pairs = panel + i / 2 * 2 * LANES + i % 2;
                for (int64_t c = 0; c < LANES; ++c) total[c] += static_cast<uint32_t>(x * pairs[2 * c]);
            }
            memcpy(sums + r * LANES, total, sizeof total);
        }
    }
};

}  // namespace

// Products of 16-bit numbers where only bytes are multiplied fast: each is 256 times a high byte and a low one, both
// signed, and four products of bytes are one of words. What it takes of Layout:
//   BLOCK               numbers of a row: their high bytes, then their low ones
//   place(k, lane)      byte of a panel that the high bytes of k ... k + 3 of a column begin at
//   LOW                 bytes from there to the low ones
#pragma once

#include "words.h"

namespace {

template <class Layout>
struct LimbWords {
    struct Session {};

    static void arrange(int16_t* row, int64_t k) {
        for (int64_t i = 0; i < k; i += Layout::BLOCK) {
            int8_t high[Layout::BLOCK], low[Layout::BLOCK];
            for (int64_t j = 0; j < Layout::BLOCK; ++j) {
                high[j] = static_cast<int8_t>((row[i + j] + 128) >> 8);
                low[j] = static_cast<int8_t>(row[i + j]);
            }
            memcpy(row + i, high, sizeof high);
            memcpy(row + i + Layout::BLOCK / 2, low, sizeof low);
        }
    }

    static void pack(const int16_t* numbers, int64_t stride, int64_t k, int64_t columns, int16_t* panels) {
        for (int64_t i = 0; i < k; i += 4, numbers += 4 * stride) {
            for (int64_t column = 0; column < columns; column += LANES) {
                uint32_t high[LANES] = {}, low[LANES] = {};
                for (int j = 0; j < 4; ++j) {
                    const int16_t* from = numbers + j * stride + column;
                    for (int64_t lane = 0; lane < LANES; ++lane) {
                        high[lane] |= byte((from[lane] + 128) >> 8, j);
                        low[lane] |= byte(from[lane], j);
                    }
                }
                char* out = reinterpret_cast<char*>(panels + column * k);
                for (int64_t lane = 0; lane < LANES; ++lane) put(out, i, lane, high[lane], low[lane]);
            }
        }
    }

    static void pack_turned(const int16_t* numbers, int64_t stride, int64_t k, int64_t columns, int16_t* panels) {
        for (int64_t column = 0; column < columns; ++column, numbers += stride) {
            char* out = reinterpret_cast<char*>(panels + column / LANES * LANES * k);
            for (int64_t i = 0; i < k; i += 4) {
                uint32_t high = 0, low = 0;
                for (int j = 0; j < 4; ++j) {
                    high |= byte((numbers[i + j] + 128) >> 8, j);
                    low |= byte(numbers[i + j], j);
                }
                put(out, i, column % LANES, high, low);
            }
        }
    }

private:
    static uint32_t byte(int32_t x, int place) { return (static_cast<uint32_t>(x) & 0xff) << 8 * place; }
    static void put(char* panel, int64_t k, int64_t lane, uint32_t high, uint32_t low) {
        char* const out = panel + Layout::place(k, lane);
        memcpy(out, &high, sizeof high);
        memcpy(out + Layout::LOW, &low, sizeof low);
    }
};

}  // namespace

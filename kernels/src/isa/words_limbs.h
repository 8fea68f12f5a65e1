// Products of 16-bit numbers where only bytes are multiplied fast: each is 256 times a high byte and a low one, both
// signed, and four products of bytes are one of words. What it takes of Layout:
//   BLOCK               numbers of a row: their high bytes, then their low ones
//   place(k, lane)      byte of a panel that the high bytes of k ... k + 3 of a column begin at
//   LOW                 bytes from there to the low ones
#pragma once

#include "words.h"

namespace {

template <class Layout>
struct LimbWords : WholeNumbers {
    static void arrange(int16_t* row, int64_t k) {
        for (int64_t i = 0; i < k; i += Layout::BLOCK) {
            const Bytes bytes(row + i);
            memcpy(row + i, &bytes, sizeof bytes);
        }
    }

    static void pack(const int16_t* numbers, int64_t n, int64_t k, int16_t* panels) {
        for (int64_t i = 0; i < k; i += 4, numbers += 4 * n) {
            for (int64_t column = 0; column < n; column += LANES) {
                const int16_t* const rows[] = {numbers + column, numbers + n + column, numbers + 2 * n + column,
                                               numbers + 3 * n + column};
                int32_t high[LANES], low[LANES];
                for (int64_t lane = 0; lane < LANES; ++lane) {
                    const int32_t x[] = {rows[0][lane], rows[1][lane], rows[2][lane], rows[3][lane]};
                    high[lane] = four((x[0] + 128) >> 8, (x[1] + 128) >> 8, (x[2] + 128) >> 8, (x[3] + 128) >> 8);
                    low[lane] = four(x[0], x[1], x[2], x[3]);
                }
                for (int64_t lane = 0; lane < LANES; ++lane) {
                    split(panels + column * k, i, lane, &high[lane], &low[lane]);
                }
            }
        }
    }

    static void pack_turned(const int16_t* numbers, int64_t k, int64_t n, int16_t* panels) {
        for (int64_t column = 0; column < n; ++column, numbers += k) {
            for (int64_t i = 0; i < k; i += Layout::BLOCK) {
                const Bytes bytes(numbers + i);
                for (int64_t j = 0; j < Layout::BLOCK; j += 4) {
                    split(panels + column / LANES * LANES * k, i + j, column % LANES, bytes.high + j, bytes.low + j);
                }
            }
        }
    }

private:
    struct Bytes {
        int8_t high[Layout::BLOCK], low[Layout::BLOCK];

        explicit Bytes(const int16_t* numbers) {
            for (int64_t i = 0; i < Layout::BLOCK; ++i) high[i] = static_cast<int8_t>((numbers[i] + 128) >> 8);
            for (int64_t i = 0; i < Layout::BLOCK; ++i) low[i] = static_cast<int8_t>(numbers[i]);
        }
    };

    static int32_t four(int32_t a, int32_t b, int32_t c, int32_t d) {
        const uint32_t low = (static_cast<uint32_t>(a) & 0xff) | (static_cast<uint32_t>(b) & 0xff) << 8;
        return static_cast<int32_t>(low | (static_cast<uint32_t>(c) & 0xff) << 16 | static_cast<uint32_t>(d) << 24);
    }
    static void split(int16_t* panel, int64_t k, int64_t lane, const void* high, const void* low) {
        char* const out = reinterpret_cast<char*>(panel) + Layout::place(k, lane);
        memcpy(out, high, 4);
        memcpy(out + Layout::LOW, low, 4);
    }
};

}  // namespace

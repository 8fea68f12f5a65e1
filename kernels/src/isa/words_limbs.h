// Products of 16-bit numbers where only bytes are multiplied fast: each is 256 times a high byte and a low one, both
// signed, and four products of bytes are one of words. What it takes of Layout:
//   BLOCK               numbers of a row: their high bytes, then their low ones
//   place(k, lane)      byte of a panel that the high bytes of k ... k + 3 of a column begin at; what a block, a k
//                       within it and a lane each add
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
                const int16_t* const rows = numbers + column;
                uint32_t high[LANES], low[LANES];
                for (int64_t lane = 0; lane < LANES; ++lane) high[lane] = four<8>(rows + lane, n);
                for (int64_t lane = 0; lane < LANES; ++lane) low[lane] = four<0>(rows + lane, n);
                keep_in_memory(high), keep_in_memory(low);
                char* const out = reinterpret_cast<char*>(panels + column * k) + Layout::place(i, 0);
                if constexpr (Layout::place(0, 1) == sizeof *high) {  // lanes lie side by side
                    memcpy(out, high, sizeof high);
                    memcpy(out + Layout::LOW, low, sizeof low);
                } else {
                    for (int64_t lane = 0; lane < LANES; ++lane) {
                        split(out + Layout::place(0, lane), &high[lane], &low[lane]);
                    }
                }
            }
        }
    }

    static void pack_turned(const int16_t* numbers, int64_t k, int64_t n, int16_t* panels) {
        for (int64_t column = 0; column < n; ++column, numbers += k) {
            char* const panel = reinterpret_cast<char*>(panels + column / LANES * LANES * k);
            for (int64_t i = 0; i < k; i += Layout::BLOCK) {
                Bytes bytes(numbers + i);
                keep_in_memory(bytes);
                char* const out = panel + Layout::place(i, column % LANES);
                for (int64_t j = 0; j < Layout::BLOCK; j += 4) {
                    split(out + Layout::place(j, 0), bytes.high + j, bytes.low + j);
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

    // The high or the low bytes of four rows: two by two, as numbers of 16 bits are not widened for that.
    template <int SHIFT>
    static uint32_t four(const int16_t* x, int64_t stride) {
        const auto word = [&](int row) {
            return static_cast<uint16_t>(static_cast<uint16_t>(x[row * stride]) + (SHIFT ? 128 : 0));
        };
        const auto two = [&](int row) {
            const uint16_t first = word(row), second = word(row + 1);
            return static_cast<uint16_t>(SHIFT ? first >> 8 | (second & 0xff00) : (first & 0xff) | second << 8);
        };
        return two(0) | static_cast<uint32_t>(two(2)) << 16;
    }
    // Out of registers GCC would take the parts one by one.
    template <class T>
    static void keep_in_memory(T& x) {
        asm volatile("" : "+m"(x));
    }
    static void split(char* out, const void* high, const void* low) {
        memcpy(out, high, 4);
        memcpy(out + Layout::LOW, low, 4);
    }
};

}  // namespace

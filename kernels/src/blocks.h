// Weights of 4 bits in blocks that share a scale, expanded to int8 with one scale for a column: what the products take.
#pragma once

#include <stdint.h>

namespace instructor {

bool is_finite_half(uint16_t half);

// One column of k weights: nibbles [blocks * block_size / 2], the first of two in the low half, stored 8 higher;
// scales: float16 [blocks]; weight i is (nibble i - 8) * scale of its block. Writes weight / scale, rounded to the
// nearest of -127 ... 127, `step` apart, and returns the scale: a 127th of what the largest scale reaches.
float expand_column(const uint8_t* nibbles, const uint16_t* scales, int64_t block_size, int64_t k, int8_t* out,
                    int64_t step);

}  // namespace instructor

#include "blocks.h"

#include <algorithm>
#include <cmath>

namespace instructor {

namespace {

constexpr int LEVELS = 16;  // of 4 bits

float from_half(uint16_t half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float magnitude = exponent ? std::ldexp(static_cast<float>(1024 + fraction), exponent - 25)
                                     : std::ldexp(static_cast<float>(fraction), -24);
    return half >> 15 ? -magnitude : magnitude;
}

int level(const uint8_t* nibbles, int64_t i) { return nibbles[i / 2] >> i % 2 * 4 & 15; }

}  // namespace

bool is_finite_half(uint16_t half) { return (half >> 10 & 31) != 31; }

float expand_column(const uint8_t* nibbles, const uint16_t* scales, int64_t block_size, int64_t k, int8_t* out,
                    int64_t step) {
    float largest = 0;  // that a block can hold, and does: the exporter makes its largest weight the level 0
    for (int64_t block = 0; block * block_size < k; ++block) {
        largest = std::max(largest, 8 * std::fabs(from_half(scales[block])));
    }
    const float scale = largest > 0 ? largest / 127 : 1;
    for (int64_t first = 0, block = 0; first < k; first += block_size, ++block) {
        const float own = from_half(scales[block]);
        int8_t rounded[LEVELS];  // what each level becomes in this block, -127 ... 127
        for (int i = 0; i < LEVELS; ++i) {
            rounded[i] = static_cast<int8_t>(std::nearbyint(static_cast<float>(i - 8) * own / scale));
        }
        for (int64_t i = first; i < std::min(first + block_size, k); ++i) out[i * step] = rounded[level(nibbles, i)];
    }
    return scale;
}

}  // namespace instructor

// Attention of one head over one text, its products in whole numbers: the same bits in any order of summation.
// Needs F and Words (words.h).
//
// A row of queries, keys or values has one scale. What they and the attention weights may be follows from 32 bits: a
// score is d_kv products of two numbers, and the weights of a query add up to no more than MOST_WEIGHED.
#pragma once

#include "carver.h"
#include "rows.h"
#include "words.h"

namespace {

using namespace instructor;

// The largest attention weight and value; as 256 times a byte and another, both signed, a number is at most 32639.
constexpr int32_t WORD = 32639, VALUE = 4095;
// 2^31 / VALUE, less 2 % for roundings of the sum of the weights
constexpr float MOST_WEIGHED = 514000.0f;
static_assert(MOST_WEIGHED * 1.01f * VALUE < 2147483648.0f);
static_assert(MOST_WEIGHED > 1.5f * MOST_TOKENS, "a weight is rounded by a half at most");
constexpr int64_t KEYS = Words::DEPTH > LANES ? Words::DEPTH : LANES;  // keys are padded to a multiple of this

// The largest query and key, of d_kv numbers: 13 bits at most, so that two limbs of 7 bits and a sign hold them.
inline float largest_factor(int64_t d_kv) {
    const float most = root(2147483647.0f / static_cast<float>(d_kv)) - 1.0f;
    return most < 8191.0f ? static_cast<float>(static_cast<int32_t>(most)) : 8191.0f;
}

// Scratch of one head.
struct HeadScratch {
    int16_t* numbers;     // [longest padded + TILE_ROWS, width]: quantised keys, then values, then queries
    int16_t* keys;        // panels of [width, LANES keys]
    int16_t* values;      // panels of [longest padded, LANES]
    int16_t* weights;     // [TILE_ROWS, longest padded]
    float* key_scales;    // [longest padded], as the next
    float* value_scales;  // 0 where there is no key
    float* query_scales;
    float* scores;  // [Words::ROWS, longest padded]
    float* bias;    // [2 * longest padded], of key - query from -(length - 1) on
};

inline HeadScratch head_scratch(int64_t longest, int64_t d_kv, Carver& carver) {
    const int64_t keys = round_up(longest, KEYS), width = round_up(d_kv, KEYS);
    return {carver.take<int16_t>((keys + TILE_ROWS) * width),
            carver.take<int16_t>(keys * width),
            carver.take<int16_t>(keys * width),
            carver.take<int16_t>(TILE_ROWS * keys),
            carver.take<float>(keys),
            carver.take<float>(keys),
            carver.take<float>(keys),
            carver.take<float>(Words::ROWS * keys),
            carver.take<float>(2 * keys)};
}

struct Head {
    int64_t length, length_padded, d_kv, width, stride;
    float* rows;  // [length, stride]: the queries, which the context replaces
};

// rows [length, d_kv] in whole numbers up to `most`, zeros around them.
inline void quantize_rows(const Head& head, const float* rows, float most, int16_t* numbers, float* scales) {
    const int64_t parts = head.d_kv / LANES * LANES, odd = head.d_kv - parts;
    for (int64_t i = 0; i < head.length; ++i) {
        const float* row = rows + i * head.stride;
        int16_t* out = numbers + i * head.width;
        const F rest = odd ? load_part(row + parts, odd) : set(0.0f);
        F highest = abs(rest);
        for (int64_t j = 0; j < parts; j += LANES) highest = max(highest, abs(load(row + j)));
        const float measured = largest(highest), reach = measured > TINY ? measured : TINY;
        const F steps = set(most / reach);
        for (int64_t j = 0; j < parts; j += LANES) store_nearest(out + j, mul(load(row + j), steps));
        for (int64_t j = parts; j < head.width; j += LANES) store_nearest(out + j, set(0.0f));
        if (odd) store_nearest(out + parts, mul(rest, steps));
        scales[i] = reach * (1.0f / most);
    }
    const int64_t rest = head.length_padded - head.length;
    memset(numbers + head.length * head.width, 0, static_cast<size_t>(rest * head.width) * sizeof(int16_t));
    for (int64_t i = head.length; i < head.length_padded; ++i) scales[i] = 0.0f;
}

// scores: those of one query, before the softmax; -> weights, and what a sum of weights times values is multiplied by.
inline float weigh(const Head& head, const HeadScratch& scratch, float* scores, F highest, int16_t* weights) {
    const F reach = set(-largest(highest));
    F total = set(0.0f), weighed = total, most = total;
    for (int64_t key = 0; key < head.length_padded; key += LANES) {
        const F power = exponential(add(load(scores + key), reach));
        const F weight = mul(power, load(scratch.value_scales + key));
        total = add(total, power);
        weighed = add(weighed, weight);
        most = max(most, weight);
        store(scores + key, weight);
    }
    const float room = MOST_WEIGHED - 0.5f * static_cast<float>(head.length);
    const float fits = room / sum(weighed), represented = static_cast<float>(WORD) / largest(most);
    const float factor = fits < represented ? fits : represented;
    const F steps = set(factor), word = set(static_cast<float>(WORD));
    F rounded = set(0.0f);
    for (int64_t key = 0; key < head.length_padded; key += LANES) {
        const F weight = nearest(min(mul(load(scores + key), steps), word));
        rounded = add(rounded, weight);
        store_nearest(weights + key, weight);
    }
    Words::arrange(weights, head.length_padded);
    return sum(weighed) / sum(rounded) / sum(total);  // many small weights may all be rounded the same way
}

// Queries first ... first + count - 1.
inline void attend(const Head& head, const HeadScratch& scratch, int64_t first, int64_t count) {
    constexpr int64_t COLUMNS = Words::PANELS * LANES;
    alignas(64) int32_t sums[TILE_ROWS * COLUMNS];
    const int64_t width = head.length_padded;
    const int16_t* const queries = scratch.numbers + first * head.width;
    F highest[Words::ROWS];
    for (int64_t r = 0; r < count; ++r) highest[r] = set(-3e38f);
    for (int64_t begin = 0; begin < head.length; begin += COLUMNS) {
        const int64_t panels = begin + COLUMNS > width ? (width - begin) / LANES : Words::PANELS;
        Words::run(count, queries, head.width, scratch.keys + begin * head.width, head.width, panels, sums);
        for (int64_t r = 0; r < count; ++r) {
            const F scale = set(scratch.query_scales[first + r]);
            const float* bias = scratch.bias + (head.length - 1 - first - r);
            float* scores = scratch.scores + r * width;
            for (int64_t key = begin; key < begin + panels * LANES; key += LANES) {
                const F dot = converted(sums + r * COLUMNS + key - begin);
                F score = fma(dot, mul(scale, load(scratch.key_scales + key)), load(bias + key));
                store(scores + key, score);
                if (key + LANES > head.length) {
                    for (int64_t beyond = head.length; beyond < key + LANES; ++beyond) scores[beyond] = -3e38f;
                    score = load(scores + key);
                }
                highest[r] = max(highest[r], score);
            }
        }
    }
    float scale[Words::ROWS];
    for (int64_t r = 0; r < count; ++r) {
        scale[r] = weigh(head, scratch, scratch.scores + r * width, highest[r], scratch.weights + r * width);
    }
    const int64_t context = round_up(head.d_kv, LANES);
    for (int64_t d = 0; d < context; d += COLUMNS) {
        const int64_t panels = d + COLUMNS > context ? (context - d) / LANES : Words::PANELS;
        Words::run(count, scratch.weights, width, scratch.values + d * width, width, panels, sums);
        for (int64_t r = 0; r < count; ++r) {
            for (int64_t j = d; j < d + panels * LANES; j += LANES) {
                const int64_t numbers = head.d_kv - j < LANES ? head.d_kv - j : LANES;
                const F scaled = mul(converted(sums + r * COLUMNS + j - d), set(scale[r]));
                store_part(head.rows + (first + r) * head.stride + j, scaled, numbers);
            }
        }
    }
}

// rows: float [length, stride], with q, k and v of all heads side by side; the context replaces q.
inline void attention(const Model& model, float* rows, int64_t stride, int64_t length, int64_t index,
                      const HeadScratch& scratch) {
    [[maybe_unused]] const Words::Session session;
    const int64_t d_kv = model.config.d_kv, inner = model.config.num_heads * d_kv;
    const Head head{length, round_up(length, KEYS), d_kv, round_up(d_kv, KEYS), stride, rows + index * d_kv};
    const float factor = largest_factor(d_kv);
    quantize_rows(head, head.rows + inner, factor, scratch.numbers, scratch.key_scales);
    Words::pack_turned(scratch.numbers, head.width, head.width, head.length_padded, scratch.keys);
    quantize_rows(head, head.rows + 2 * inner, VALUE, scratch.numbers, scratch.value_scales);
    Words::pack(scratch.numbers, head.width, head.length_padded, round_up(d_kv, LANES), scratch.values);
    quantize_rows(head, head.rows, factor, scratch.numbers, scratch.query_scales);
    for (int64_t i = 0; i < length; ++i) Words::arrange(scratch.numbers + i * head.width, head.width);

    const int64_t furthest = model.config.max_distance;
    const float* table = model.bias + index * (2 * furthest + 1) + furthest;
    float* const bias = scratch.bias + length - 1;
    const int64_t last = head.length_padded - 1;
    int64_t distance = 1 - length;
    for (; distance < -furthest; ++distance) bias[distance] = table[-furthest];
    for (; distance <= (last < furthest ? last : furthest); ++distance) bias[distance] = table[distance];
    for (; distance <= last; ++distance) bias[distance] = table[furthest];
    const int64_t tiles = (length + Words::ROWS - 1) / Words::ROWS;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = length * t / tiles;
        attend(head, scratch, first, length * (t + 1) / tiles - first);
    }
}

}  // namespace

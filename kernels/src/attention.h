// Attention of one head over one text. Needs F. N says in what numbers its products are: Words (words.h), or Floats.
//
// In whole numbers a row of queries, keys or values has one scale. What they and the attention weights may be follows
// from 32 bits: a score is d_kv products of two numbers, and the weights of a query add up to at most MOST_WEIGHED.
#pragma once

#include "carver.h"
#include "rows.h"
#include "words.h"

namespace {

using namespace instructor;

// The largest attention weight and value; as 256 times a byte and another, both signed, a number is at most 32639.
constexpr float WORD = 32639, VALUE = 4095;
// 2^31 / VALUE, less 2 % for roundings of the sum of the weights
constexpr float MOST_WEIGHED = 514000;
static_assert(MOST_WEIGHED * 1.01f * VALUE < 2147483648.0f);
static_assert(MOST_WEIGHED > 1.5f * MOST_TOKENS, "a weight is rounded by a half at most");

inline F converted(const float* sums) { return load(sums); }

// The largest query and key: d_kv products of two fit 32 bits. 13 bits are enough, of few numbers too.
inline float largest_factor(int64_t d_kv) {
    const float most = root(2147483647.0f / static_cast<float>(d_kv)) - 1.0f;
    return most < 8191.0f ? static_cast<float>(static_cast<int32_t>(most)) : 8191.0f;
}

// Scores are in these: the weights of whole numbers are powers of two of them, those of floats powers of e.
template <class N>
constexpr float UNIT = N::WHOLE ? LOG2_E : 1.0f;

// Numbers of a row, and keys, are padded to a multiple of this.
template <class N>
constexpr int64_t PADDED = N::DEPTH > N::COLUMNS ? N::DEPTH : N::COLUMNS;

// Scratch of one head.
template <class N>
struct HeadScratch {
    typename N::Number* numbers;  // [longest padded + TILE_ROWS, width]: keys, then values, then queries
    typename N::Number* keys;     // panels of [width, COLUMNS keys]
    typename N::Number* values;   // panels of [longest padded, COLUMNS]
    typename N::Number* weights;  // [TILE_ROWS, longest padded]
    float* key_scales;            // [longest padded], as the next
    float* value_scales;          // 0 where there is no key
    float* query_scales;
    float* scores;  // [ROWS, longest padded]
    float* bias;    // [2 * longest padded], of key - query from -(length - 1) on
};

template <class N>
inline HeadScratch<N> head_scratch(int64_t longest, int64_t d_kv, Carver& carver) {
    using Number = typename N::Number;
    const int64_t keys = round_up(longest, PADDED<N>), width = round_up(d_kv, PADDED<N>);
    return {carver.take<Number>((keys + TILE_ROWS) * width),
            carver.take<Number>(keys * width),
            carver.take<Number>(keys * width),
            carver.take<Number>(TILE_ROWS * keys),
            carver.take<float>(keys),
            carver.take<float>(keys),
            carver.take<float>(keys),
            carver.take<float>(N::ROWS * keys),
            carver.take<float>(2 * keys)};
}

struct Head {
    int64_t length, length_padded, d_kv, width, stride;
    int64_t inner;  // from a row's queries to its keys, and from these to its values
    float* rows;    // [length, stride]: the queries, which the context replaces
};

// rows [length, d_kv] in numbers up to `most`, zeros around them.
template <class N>
inline void fill(const Head& head, const float* rows, float most, typename N::Number* numbers, float* scales) {
    const int64_t parts = head.d_kv / LANES * LANES, odd = head.d_kv - parts;
    for (int64_t i = 0; i < head.length; ++i) {
        const float* row = rows + i * head.stride;
        auto* out = numbers + i * head.width;
        const F rest = odd ? load_part(row + parts, odd) : set(0.0f);
        F highest = abs(rest);
        for (int64_t j = 0; N::WHOLE && j < parts; j += LANES) highest = max(highest, abs(load(row + j)));
        const float measured = largest(highest), reach = measured > TINY ? measured : TINY;
        const F steps = set(N::WHOLE ? most / reach : 1.0f);
        for (int64_t j = 0; j < parts; j += LANES) N::put(out + j, mul(load(row + j), steps));
        for (int64_t j = parts; j < head.width; j += LANES) N::put(out + j, set(0.0f));
        if (odd) N::put(out + parts, mul(rest, steps));
        scales[i] = N::WHOLE ? reach * (1.0f / most) : 1.0f;
    }
    const int64_t rest = head.length_padded - head.length;
    memset(numbers + head.length * head.width, 0, static_cast<size_t>(rest * head.width) * sizeof *numbers);
    for (int64_t i = head.length; i < head.length_padded; ++i) scales[i] = 0.0f;
}

// The scores of `count` queries -> their weights, and what a sum of weights times values is multiplied by. Each step
// for all queries before the next: what waits long, a sum over a vector's lanes or a quotient, does not wait for the
// others.
template <class N>
inline void weigh(const Head& head, const HeadScratch<N>& scratch, int64_t count, const F* highest, float* scale) {
    const int64_t width = head.length_padded;
    F total[N::ROWS], weighed[N::ROWS], most[N::ROWS];
    for (int64_t r = 0; r < count; ++r) scale[r] = -largest(highest[r]);
    for (int64_t r = 0; r < count; ++r) {
        const F reach = set(scale[r]);
        float* const scores = scratch.scores + r * width;
        F powers = set(0.0f), weights = powers, peak = powers;
        for (int64_t key = 0; key < width; key += LANES) {
            const F below = add(load(scores + key), reach);
            const F power = N::WHOLE ? power_of_two(below) : exponential(below);
            const F weight = mul(power, load(scratch.value_scales + key));
            powers = add(powers, power);
            if constexpr (N::WHOLE) {
                weights = add(weights, weight);
                peak = max(peak, weight);
                store(scores + key, weight);
            } else {
                store(scratch.weights + r * width + key, weight);
            }
        }
        total[r] = powers, weighed[r] = weights, most[r] = peak;
    }
    if constexpr (!N::WHOLE) {
        for (int64_t r = 0; r < count; ++r) scale[r] = 1.0f / sum(total[r]);
    } else {
        const float room = MOST_WEIGHED - 0.5f * static_cast<float>(head.length);
        float sums[N::ROWS];
        for (int64_t r = 0; r < count; ++r) {
            sums[r] = sum(weighed[r]);
            const float fits = room / sums[r], represented = WORD / largest(most[r]);
            scale[r] = fits < represented ? fits : represented;
        }
        for (int64_t r = 0; r < count; ++r) {
            const F steps = set(scale[r]);
            const float* const scores = scratch.scores + r * width;
            typename N::Number* const weights = scratch.weights + r * width;
            F rounded = set(0.0f);
            for (int64_t key = 0; key < width; key += LANES) {
                const F shifted = fma(load(scores + key), steps, set(SHIFT));
                rounded = add(rounded, sub(shifted, set(SHIFT)));
                store_lowest(weights + key, shifted);
            }
            N::arrange(weights, width);
            most[r] = rounded;
        }
        // many small weights may all be rounded the same way
        for (int64_t r = 0; r < count; ++r) scale[r] = sums[r] / sum(most[r]) / sum(total[r]);
    }
}

// Queries first ... first + count - 1.
template <class N>
inline void attend(const Head& head, const HeadScratch<N>& scratch, int64_t first, int64_t count) {
    constexpr int64_t COLUMNS = N::PANELS * N::COLUMNS;
    alignas(64) typename N::Sum sums[TILE_ROWS * COLUMNS];
    const int64_t width = head.length_padded;
    F highest[N::ROWS];
    for (int64_t r = 0; r < count; ++r) highest[r] = set(-3e38f);
    for (int64_t begin = 0; begin < head.length; begin += COLUMNS) {
        const int64_t panels = begin + COLUMNS > width ? (width - begin) / N::COLUMNS : N::PANELS;
        N::run(count, scratch.numbers + first * head.width, head.width, scratch.keys + begin * head.width, head.width,
               panels, sums);
        for (int64_t r = 0; r < count; ++r) {
            const F scale = set(scratch.query_scales[first + r] * UNIT<N>);
            const float* bias = scratch.bias + (head.length - 1 - first - r);
            float* scores = scratch.scores + r * width;
            for (int64_t key = begin; key < begin + panels * N::COLUMNS; key += LANES) {
                const F dot = converted(sums + r * COLUMNS + key - begin);
                F score = fma(dot, mul(scale, load(scratch.key_scales + key)), load(bias + key));
                store(scores + key, score);
                if (key + LANES > head.length) {
                    for (int64_t beyond = head.length > key ? head.length : key; beyond < key + LANES; ++beyond) {
                        scores[beyond] = -3e38f;
                    }
                    score = load(scores + key);
                }
                highest[r] = max(highest[r], score);
            }
        }
    }
    for (int64_t r = 0; r < count; ++r) {  // the next head's, which lie too far apart for the processor to foresee them
        const float* const next = head.rows + (first + r) * head.stride + head.d_kv;
        for (int64_t part = 0; part < 3; ++part) {
            for (int64_t j = 0; j < head.d_kv; j += LANES) __builtin_prefetch(next + part * head.inner + j, 0, 2);
        }
    }
    float scale[N::ROWS];
    weigh<N>(head, scratch, count, highest, scale);
    const int64_t context = round_up(head.d_kv, N::COLUMNS);
    for (int64_t d = 0; d < context; d += COLUMNS) {
        const int64_t panels = d + COLUMNS > context ? (context - d) / N::COLUMNS : N::PANELS;
        N::run(count, scratch.weights, width, scratch.values + d * width, width, panels, sums);
        for (int64_t r = 0; r < count; ++r) {
            float* row = head.rows + (first + r) * head.stride;
            for (int64_t j = d; j < head.d_kv && j < d + COLUMNS; j += LANES) {
                store_part(row + j, mul(converted(sums + r * COLUMNS + j - d), set(scale[r])), head.d_kv - j);
            }
        }
    }
}

// rows: float [length, stride], with q, k and v of all heads side by side; the context replaces q, for one of `blocks`
// of queries. Each block packs all keys and values for itself: another barrier would cost more.
template <class N>
inline void attention(const Model& model, float* rows, int64_t stride, int64_t length, int64_t index, int64_t block,
                      int64_t blocks, const HeadScratch<N>& scratch) {
    const int64_t tiles = (length + N::ROWS - 1) / N::ROWS;
    const Range mine{tiles * block / blocks, tiles * (block + 1) / blocks};
    if (mine.first == mine.last) return;
    [[maybe_unused]] const typename N::Session session;
    const int64_t d_kv = model.config.d_kv, inner = model.config.num_heads * d_kv;
    const Head head{length, round_up(length, PADDED<N>), d_kv, round_up(d_kv, PADDED<N>), stride,
                    inner,  rows + index * d_kv};
    const float most = largest_factor(d_kv);
    fill<N>(head, head.rows + inner, most, scratch.numbers, scratch.key_scales);
    N::pack_turned(scratch.numbers, head.width, head.length_padded, scratch.keys);
    fill<N>(head, head.rows + 2 * inner, VALUE, scratch.numbers, scratch.value_scales);
    N::pack(scratch.numbers, head.width, head.length_padded, scratch.values);
    const Range queries{length * mine.first / tiles, length * mine.last / tiles};
    const int64_t asked = queries.last - queries.first;
    fill<N>({asked, asked, d_kv, head.width, stride, inner, nullptr}, head.rows + queries.first * stride, most,
            scratch.numbers + queries.first * head.width, scratch.query_scales + queries.first);
    for (int64_t i = queries.first; i < queries.last; ++i) N::arrange(scratch.numbers + i * head.width, head.width);

    const int64_t furthest = model.config.max_distance;
    const float* table = model.bias + index * (2 * furthest + 1) + furthest;
    float* const bias = scratch.bias + length - 1;
    const int64_t last = head.length_padded - 1;
    int64_t distance = 1 - length;
    for (; distance < -furthest; ++distance) bias[distance] = table[-furthest] * UNIT<N>;
    for (; distance <= (last < furthest ? last : furthest); ++distance) bias[distance] = table[distance] * UNIT<N>;
    for (; distance <= last; ++distance) bias[distance] = table[furthest] * UNIT<N>;

    for (int64_t t = mine.first; t < mine.last; ++t) {
        const int64_t first = length * t / tiles;
        attend<N>(head, scratch, first, length * (t + 1) / tiles - first);
    }
}

}  // namespace

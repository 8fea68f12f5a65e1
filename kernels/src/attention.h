// Attention of one head over one text, in fp32. Needs F and QUERIES.
#pragma once

#include "rows.h"

namespace {

using namespace instructor;

// Scratch of one head: keys turned for products, values side by side, scores, position bias.
struct HeadScratch {
    float* keys;    // [longest padded / LANES][d_kv][LANES]
    float* values;  // [longest][d_kv padded]
    float* scores;  // [QUERIES][longest padded]
    float* bias;    // [2 * longest padded], of key - query from -(length - 1) on
};

struct Head {
    int64_t length, length_padded, d_kv, d_kv_padded, stride;
    float* rows;  // [length, stride]: the queries, which the context replaces
};

// Queries first ... first + R - 1.
template <int R>
inline void attend(const Head& head, const HeadScratch& scratch, int64_t first) {
    float* const scores = scratch.scores;
    const int64_t width = head.length_padded;
    const float* const query = head.rows + first * head.stride;
    for (int64_t key = 0; key < width; key += LANES) {
        F dot[R];
        for (int r = 0; r < R; ++r) dot[r] = set(0.0f);
        const float* keys = scratch.keys + key * head.d_kv;
        for (int64_t d = 0; d < head.d_kv; ++d) {
            const F column = load(keys + d * LANES);
            for (int r = 0; r < R; ++r) dot[r] = fma(set(query[r * head.stride + d]), column, dot[r]);
        }
        const float* bias = scratch.bias + (head.length - 1 - first) + key;
        for (int r = 0; r < R; ++r) store(scores + r * width + key, add(dot[r], load(bias - r)));
    }
    float scale[R];
    for (int r = 0; r < R; ++r) {
        float* row = scores + r * width;
        for (int64_t key = head.length; key < width; ++key) row[key] = -3e38f;
        F highest = load(row);
        for (int64_t key = LANES; key < width; key += LANES) highest = max(highest, load(row + key));
        const F reach = set(-largest(highest));
        for (int64_t key = 0; key < width; key += LANES) store(row + key, exponential(add(load(row + key), reach)));
        for (int64_t key = head.length; key < width; ++key) row[key] = 0.0f;
        F total = set(0.0f);
        for (int64_t key = 0; key < width; key += LANES) total = add(total, load(row + key));
        scale[r] = 1.0f / sum(total);
    }
    for (int64_t d = 0; d < head.d_kv; d += LANES) {
        F context[R];
        for (int r = 0; r < R; ++r) context[r] = set(0.0f);
        for (int64_t key = 0; key < head.length; ++key) {
            const F value = load(scratch.values + key * head.d_kv_padded + d);
            for (int r = 0; r < R; ++r) context[r] = fma(set(scores[r * width + key]), value, context[r]);
        }
        const int64_t count = head.d_kv - d < LANES ? head.d_kv - d : LANES;
        for (int r = 0; r < R; ++r) {
            const F scaled = mul(context[r], set(scale[r]));
            store_part(head.rows + (first + r) * head.stride + d, scaled, count);
        }
    }
}

template <int R = QUERIES>
inline void attend_some(int64_t count, const Head& head, const HeadScratch& scratch, int64_t first) {
    if constexpr (R > 1) {
        if (count < R) return attend_some<R - 1>(count, head, scratch, first);
    }
    attend<R>(head, scratch, first);
}

// rows: float [length, stride], with q, k and v of all heads side by side; the context replaces q.
inline void attention(const Model& model, float* rows, int64_t stride, int64_t length, int64_t index,
                      const HeadScratch& scratch) {
    const int64_t d_kv = model.config.d_kv, inner = model.config.num_heads * d_kv;
    const Head head{length, round_up(length, LANES), d_kv, round_up(d_kv, LANES), stride, rows + index * d_kv};
    for (int64_t key = 0; key < head.length_padded; ++key) {
        float* keys = scratch.keys + key / LANES * LANES * d_kv + key % LANES;
        const float* from = head.rows + inner + key * stride;
        for (int64_t d = 0; d < d_kv; ++d) keys[d * LANES] = key < length ? from[d] : 0.0f;
    }
    for (int64_t key = 0; key < length; ++key) {
        float* value = scratch.values + key * head.d_kv_padded;
        memcpy(value, head.rows + 2 * inner + key * stride, static_cast<size_t>(d_kv) * sizeof(float));
        for (int64_t d = d_kv; d < head.d_kv_padded; ++d) value[d] = 0.0f;
    }
    const int64_t furthest = model.config.max_distance;
    const float* table = model.bias + index * (2 * furthest + 1) + furthest;
    for (int64_t distance = 1 - length; distance < head.length_padded; ++distance) {
        const int64_t near = distance < furthest ? distance : furthest;
        scratch.bias[distance + length - 1] = table[near > -furthest ? near : -furthest];
    }
    const int64_t tiles = (length + QUERIES - 1) / QUERIES;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = length * t / tiles;
        attend_some(length * (t + 1) / tiles - first, head, scratch, first);
    }
}

}  // namespace

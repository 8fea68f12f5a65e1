// The whole model over one unit of texts, stage by stage: each begins when the one before it is done.
// Tiles (product.h) say in what numbers: integers, or floats. Needs F. Every number of a row is computed by one thread
// in one order.
#pragma once

#include "attention.h"
#include "product.h"
#include "rows.h"
#include "tile_fp32.h"

namespace {

using namespace instructor;

// What attention's products are in.
template <class Tiles>
struct NumbersOf {
    using Type = Words;
};
template <>
struct NumbersOf<FloatTiles> {
    using Type = Floats;
};
template <class Tiles>
using Numbers = typename NumbersOf<Tiles>::Type;

template <class Tiles>
struct Workspace {
    int64_t x_stride, qkv_stride, inner_stride;
    float* x;                          // [rows, x_stride], the residual stream
    float* qkv;                        // [rows, qkv_stride]
    Rows<Tiles> a;                     // the input of qkv, o and wi in turn
    float* inner;                      // [FEED_FORWARD_ROWS, inner_stride]
    Rows<Tiles> f;                     // FEED_FORWARD_ROWS, the input of wo where it is quantised
    HeadScratch<Numbers<Tiles>> head;  // this member's
    float* row;                        // this member's: one normed row
    float* means;                      // [texts, x_stride], what pooling gives
    float* vectors;                    // [texts, embedding_padded], what the Dense makes of them
};

inline int64_t float_stride(int64_t width) {
    constexpr int64_t size = sizeof(float);
    return row_stride(width * size) / size;
}

template <class Tiles>
inline Rows<Tiles> take_rows(int64_t rows, int64_t k, Carver& carver) {
    const int64_t stride = Tiles::stride(k);
    auto* data = carver.take<typename Tiles::Activation>((rows + TILE_ROWS) * stride);
    return {data, stride, QUANTISED<Tiles> ? carver.take<float>(rows) : nullptr};
}

template <class Tiles>
inline Workspace<Tiles> lay_out(const Model& model, const Unit& unit, int members, int member, Carver& carver) {
    const Layer& layer = model.layers[0];
    const int64_t rows = unit.rows;
    const int64_t widest = layer.qkv.k_padded > layer.o.k_padded ? layer.qkv.k_padded : layer.o.k_padded;
    const int64_t some = rows < FEED_FORWARD_ROWS ? rows : FEED_FORWARD_ROWS;
    Workspace<Tiles> w{};
    w.x_stride = float_stride(layer.wo.n_padded);
    w.qkv_stride = float_stride(layer.qkv.n_padded);
    w.inner_stride = float_stride(layer.wi.n_padded);
    w.x = carver.take<float>(rows * w.x_stride);
    w.qkv = carver.take<float>(rows * w.qkv_stride);
    w.a = take_rows<Tiles>(rows, widest, carver);
    w.inner = carver.take<float>(some * w.inner_stride);
    if (QUANTISED<Tiles>) w.f = take_rows<Tiles>(some, layer.wo.k_padded, carver);
    w.means = carver.take<float>(unit.count * w.x_stride);
    w.vectors = carver.take<float>(unit.count * model.embedding_padded);
    for (int m = 0; m < members; ++m) {
        const auto head = head_scratch<Numbers<Tiles>>(unit.longest, model.config.d_kv, carver);
        float* row = carver.take<float>(w.x_stride);
        if (m == member) w.head = head, w.row = row;
    }
    return w;
}

template <class Tiles>
inline int64_t workspace_bytes(const Model& model, const Unit& unit, int members) {
    Carver carver(nullptr);
    lay_out<Tiles>(model, unit, members, 0, carver);
    return carver.used();
}

template <class Tiles>
inline int64_t panels(const Product& w) {
    return w.n_padded / Tiles::COLUMNS;
}

// work(rows, panels, then) for all rows and panels of w. A member that has done its own goes on with its own of `next`.
// Where members have few panels each, a piece may be some of a panel's rows.
template <class Tiles, class Work>
inline void share_panels(int64_t rows, const Product& w, const Product& next, Member& team, Work work) {
    const int64_t blocks = team.parts(panels<Tiles>(w), rows / FULL_ROWS<Tiles>), tasks = panels<Tiles>(w) * blocks;
    const int64_t last = team.own(tasks).last;
    const void* const first = panel_of<Tiles>(next, team.own(panels<Tiles>(next)).first);
    team.share(tasks, [&](Range some) {
        const void* const then = some.last == last ? first : panel_of<Tiles>(w, some.last / blocks);
        if (blocks == 1) return work(Range{0, rows}, some, then);
        const auto row = [&](int64_t block) {
            return block < blocks ? round_up(rows * block / blocks, Tiles::STEP) : rows;
        };
        for (int64_t task = some.first, end; task < some.last; task = end) {
            const int64_t panel = task / blocks, begin = panel * blocks;
            end = begin + blocks < some.last ? begin + blocks : some.last;
            work(Range{row(task - begin), row(end - begin)}, Range{panel, panel + 1},
                 end < some.last ? panel_of<Tiles>(w, panel + 1) : then);
        }
    });
}

template <class Tiles>
inline void embed(const Model& model, const Unit& unit, Workspace<Tiles>& w, Range mine) {
    using Weight = typename Tiles::Weight;
    const int64_t d = model.config.d_model;
    int64_t row = 0;
    for (int64_t t = 0; t < unit.count; ++t) {
        for (int64_t i = 0; i < unit.texts[t].length; ++i, ++row) {
            if (row < mine.first || row >= mine.last) continue;
            const int64_t id = unit.texts[t].ids[i];
            const Weight* from = static_cast<const Weight*>(model.embedding) + id * d;
            const float scale = QUANTISED<Tiles> ? model.embedding_scale[id] : 1.0f;
            float* x = w.x + row * w.x_stride;
            for (int64_t j = 0; j < d; ++j) x[j] = static_cast<float>(from[j]) * scale;
            for (int64_t j = d; j < w.x_stride; ++j) x[j] = 0.0f;
        }
    }
}

template <class Tiles>
inline void normed_rows(const Model& model, const float* gain, Workspace<Tiles>& w, Range mine) {
    const int64_t d = model.config.d_model;
    for (int64_t row = mine.first; row < mine.last; ++row) {
        const auto norm = [&](float* out) {
            rms_norm(w.x + row * w.x_stride, gain, d, model.config.layer_norm_epsilon, out);
        };
        if constexpr (QUANTISED<Tiles>) {
            norm(w.row);
            w.a.scales[row] = quantize_row<Tiles>(w.row, d, model.layers[0].qkv.k_padded, false, w.a.row(row));
        } else {
            norm(w.a.row(row));
        }
    }
}

// Rows of floats, [count, stride], as the product `w` takes them: quantised into `room`, or where they are.
// relu_scales: of rows that come from a ReLU, what they are still to be multiplied by; nullptr: of others.
template <class Tiles>
inline Rows<Tiles> input(float* rows, int64_t stride, int64_t count, const Product& w, const float* relu_scales,
                         Rows<Tiles> room, Member& team) {
    if constexpr (QUANTISED<Tiles>) {
        const bool positive = relu_scales != nullptr;
        team.share(count, [&](Range some) {
            for (int64_t row = some.first; row < some.last; ++row) {
                const float scale = quantize_row<Tiles>(rows + row * stride, w.k, w.k_padded, positive, room.row(row));
                room.scales[row] = positive ? scale * relu_scales[row] : scale;
            }
        });
        return room;
    } else {
        return {rows, stride, nullptr};
    }
}

template <class Tiles>
inline void self_attention(const Model& model, const Layer& layer, const Unit& unit, Workspace<Tiles>& w,
                           Member& team) {
    team.share(unit.rows, [&](Range rows) { normed_rows(model, layer.attention_norm, w, rows); });
    share_panels<Tiles>(unit.rows, layer.qkv, layer.o, team, [&](Range rows, Range columns, const void* then) {
        multiply(w.a, rows, layer.qkv, columns, then, {w.qkv, w.qkv_stride},
                 [=](float* qkv, int64_t row, F value) { store(qkv, w.a.scaled(value, row)); });
    });
    const int64_t heads = model.config.num_heads, blocks = team.parts(unit.count * heads, unit.longest);
    team.share(unit.count * heads * blocks, [&](Range tasks) {
        int64_t row = 0, task = 0;
        for (int64_t t = 0; t < unit.count; ++t) {
            const int64_t length = unit.texts[t].length;
            for (int64_t head = 0; head < heads; ++head) {
                for (int64_t block = 0; block < blocks; ++block, ++task) {
                    if (task < tasks.first || task >= tasks.last || length == 0) continue;
                    float* const rows = w.qkv + row * w.qkv_stride;
                    attention<Numbers<Tiles>>(model, rows, w.qkv_stride, length, head, block, blocks, w.head);
                }
            }
            row += length;
        }
    });
    const Rows<Tiles> context = input(w.qkv, w.qkv_stride, unit.rows, layer.o, nullptr, w.a, team);
    share_panels<Tiles>(unit.rows, layer.o, layer.wi, team, [&](Range rows, Range columns, const void* then) {
        multiply(context, rows, layer.o, columns, then, {w.x, w.x_stride},
                 [=](float* x, int64_t row, F value) { store(x, add(load(x), context.scaled(value, row))); });
    });
}

// act(x wi) of some rows, in `inner`; gated: gelu(x wi) * (x wi_1).
template <class Tiles>
inline void inner_rows(const Layer& layer, bool gated, Rows<Tiles> a, Range rows, Workspace<Tiles>& w, Range columns,
                       const void* then) {
    const Target out{w.inner, w.inner_stride};
    if (!gated) {  // ReLU commutes with a positive scale, so the row scale waits for the second product
        multiply(a, rows, layer.wi, columns, then, out,
                 [=](float* inner, int64_t, F value) { store(inner, max(value, set(0.0f))); });
        return;
    }
    multiply(a, rows, layer.wi, columns, panel_of<Tiles>(layer.wi_1, columns.first), out,
             [=](float* inner, int64_t row, F value) { store(inner, gelu(a.scaled(value, row))); });
    multiply(a, rows, layer.wi_1, columns, then, out,
             [=](float* inner, int64_t row, F value) { store(inner, mul(load(inner), a.scaled(value, row))); });
}

// following: the product after this
template <class Tiles>
inline void feed_forward(const Model& model, const Layer& layer, const Product& following, const Unit& unit,
                         Workspace<Tiles>& w, Member& team) {
    team.share(unit.rows, [&](Range rows) { normed_rows(model, layer.feed_forward_norm, w, rows); });
    const bool gated = model.config.gated;
    for (int64_t first = 0; first < unit.rows; first += FEED_FORWARD_ROWS) {
        const int64_t count = unit.rows - first < FEED_FORWARD_ROWS ? unit.rows - first : FEED_FORWARD_ROWS;
        const Rows<Tiles> a = w.a.from(first);
        share_panels<Tiles>(count, layer.wi, layer.wo, team, [&](Range rows, Range columns, const void* then) {
            inner_rows(layer, gated, a, rows, w, columns, then);
        });
        const Rows<Tiles> f = input(w.inner, w.inner_stride, count, layer.wo, gated ? nullptr : a.scales, w.f, team);
        const bool more = first + count < unit.rows;
        const Product& next = more ? layer.wi : following;
        share_panels<Tiles>(count, layer.wo, next, team, [&](Range rows, Range columns, const void* then) {
            multiply(f, rows, layer.wo, columns, then, {w.x + first * w.x_stride, w.x_stride},
                     [=](float* x, int64_t row, F value) { store(x, add(load(x), f.scaled(value, row))); });
        });
    }
}

// The mean of one text's normed tokens from its first pooled position on; over nothing it is 0.
inline void pool(const float* rows, int64_t stride, const Text& text, float* mean) {
    const float count = text.start < text.length ? static_cast<float>(text.length - text.start) : 1e-9f;
    for (int64_t j = 0; j < stride; j += LANES) {
        F total = set(0.0f);
        for (int64_t i = text.start; i < text.length; ++i) total = add(total, load(rows + i * stride + j));
        store(mean + j, div(total, set(count)));
    }
}

// Some panels of the Dense for all texts: several columns at a time, as a sum alone waits for each of its additions.
template <class Tiles>
inline void dense(const Model& model, int64_t texts, Workspace<Tiles>& w, Range panels) {
    constexpr int64_t VECTORS = DENSE_COLUMNS / LANES;
    for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        const float* weights = model.dense + panel * DENSE_COLUMNS * model.config.d_model;
        for (int64_t t = 0; t < texts; ++t) {
            const float* mean = w.means + t * w.x_stride;
            F total[VECTORS];
            for (int64_t c = 0; c < VECTORS; ++c) total[c] = set(0.0f);
            for (int64_t i = 0; i < model.config.d_model; ++i) {
                const F x = set(mean[i]);
                for (int64_t c = 0; c < VECTORS; ++c) {
                    total[c] = fma(x, load(weights + i * DENSE_COLUMNS + c * LANES), total[c]);
                }
            }
            float* vector = w.vectors + t * model.embedding_padded + panel * DENSE_COLUMNS;
            for (int64_t c = 0; c < VECTORS; ++c) store(vector + c * LANES, total[c]);
        }
    }
}

// vector: floats up to whole vectors of LANES, those past `dim` 0
inline void normalize(const float* vector, int64_t dim, bool normalize, float* sentence) {
    F divisor = set(1.0f);
    if (normalize) {
        F squares = set(0.0f);
        for (int64_t j = 0; j < dim; j += LANES) squares = fma(load(vector + j), load(vector + j), squares);
        const float norm = root(sum(squares));
        divisor = set(norm > 1e-12f ? norm : 1e-12f);
    }
    for (int64_t j = 0; j < dim; j += LANES) {
        store_part(sentence + j, div(load(vector + j), divisor), dim - j);
    }
}

template <class Tiles>
inline void results(const Model& model, const Unit& unit, Workspace<Tiles>& w, Member& team) {
    const int64_t d = model.config.d_model;
    team.share(unit.rows, [&](Range rows) {
        for (int64_t row = rows.first; row < rows.last; ++row) {
            float* x = w.x + row * w.x_stride;
            rms_norm(x, model.final_norm, d, model.config.layer_norm_epsilon, x);
        }
    });
    team.share(unit.count, [&](Range texts) {
        const float* rows = w.x;
        for (int64_t t = 0; t < texts.last; ++t) {
            const Text& text = unit.texts[t];
            if (t >= texts.first) {
                pool(rows, w.x_stride, text, w.means + t * w.x_stride);
                for (int64_t i = 0; text.tokens && i < text.length; ++i) {
                    memcpy(text.tokens + i * d, rows + i * w.x_stride, static_cast<size_t>(d) * sizeof(float));
                }
            }
            rows += text.length * w.x_stride;
        }
    });
    const float* vectors = w.means;
    int64_t stride = w.x_stride;
    if (model.config.dense) {
        team.share(model.embedding_padded / DENSE_COLUMNS, [&](Range panels) { dense(model, unit.count, w, panels); });
        vectors = w.vectors, stride = model.embedding_padded;
    }
    team.share(unit.count, [&](Range texts) {
        for (int64_t t = texts.first; t < texts.last; ++t) {
            normalize(vectors + t * stride, model.config.embedding_dim, model.config.normalize, unit.texts[t].sentence);
        }
    });
}

template <class Tiles>
inline void encode(const Model& model, const Unit& unit, char* workspace, Team& team, int slot) {
    Member member(team, slot);
    Carver carver(workspace);
    Workspace<Tiles> w = lay_out<Tiles>(model, unit, team.slots(), slot, carver);
    member.share(unit.rows, [&](Range rows) { embed(model, unit, w, rows); });
    for (int64_t i = 0; i < model.config.num_layers; ++i) {
        const Layer& layer = model.layers[i];
        self_attention(model, layer, unit, w, member);
        const Layer& next =
            model.layers[(i + 1) % model.config.num_layers];  // after the last the first: another unit's
        feed_forward(model, layer, next.qkv, unit, w, member);
    }
    results(model, unit, w, member);
}

template <class Tiles>
constexpr Kernel make_kernel(int64_t unit_rows) {
    Kernel kernel{Tiles::COLUMNS, Tiles::DEPTH,           unit_rows,     0,          0,
                  pack<Tiles>,    workspace_bytes<Tiles>, encode<Tiles>, peak<Tiles>};
    if constexpr (QUANTISED<Tiles>)
        kernel.zero_signed = Tiles::ZERO_SIGNED, kernel.zero_positive = Tiles::ZERO_POSITIVE;
    return kernel;
}

// Of Tiles, the instruction set's own, and FloatTiles. A constant: an initialiser would be code of this instruction
// set, run wherever the library is loaded.
constexpr Isa make_isa(const char* name, const char* (*missing)(), int64_t unit_rows) {
    return Isa{name, missing, make_kernel<Tiles>(unit_rows), make_kernel<FloatTiles>(unit_rows)};
}

}  // namespace

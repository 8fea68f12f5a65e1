// The whole model over one unit of texts, stage by stage: each begins when the one before it is done.
// Needs F, Activation and Tiles (product.h). Every number of a row is computed by one thread in one order.
#pragma once

#include "attention.h"
#include "product.h"
#include "rows.h"

namespace {

using namespace instructor;

struct Workspace {
    int64_t x_stride, qkv_stride, inner_stride;
    float* x;          // [rows, x_stride], the residual stream
    float* qkv;        // [rows, qkv_stride]
    Activation* a;     // [rows, stride of k padded], the input of qkv, o and wi in turn
    float* a_scale;    // [rows]
    float* inner;      // [FEED_FORWARD_ROWS, inner_stride]
    Activation* f;     // [FEED_FORWARD_ROWS, stride of d_ff padded], the input of wo
    float* f_scale;    // [FEED_FORWARD_ROWS]
    HeadScratch head;  // this member's
    float* row;        // this member's: one normed row
    float* means;      // [texts, x_stride], what pooling gives
    float* vectors;    // [texts, embedding_padded], what the Dense makes of them
};

inline int64_t float_stride(int64_t width) {
    constexpr int64_t size = sizeof(float);
    return row_stride(width * size) / size;
}

inline Workspace lay_out(const Model& model, const Unit& unit, int members, int member, Carver& carver) {
    const Layer& layer = model.layers[0];
    const int64_t rows = unit.rows;
    const int64_t widest = layer.qkv.k_padded > layer.o.k_padded ? layer.qkv.k_padded : layer.o.k_padded;
    const int64_t some = rows < FEED_FORWARD_ROWS ? rows : FEED_FORWARD_ROWS;
    Workspace w{};
    w.x_stride = float_stride(layer.wo.n_padded);
    w.qkv_stride = float_stride(layer.qkv.n_padded);
    w.inner_stride = float_stride(layer.wi.n_padded);
    w.x = carver.take<float>(rows * w.x_stride);
    w.qkv = carver.take<float>(rows * w.qkv_stride);
    w.a = carver.take<Activation>((rows + TILE_ROWS) * Tiles::stride(widest));
    w.a_scale = carver.take<float>(rows);
    w.inner = carver.take<float>(some * w.inner_stride);
    w.f = carver.take<Activation>((some + TILE_ROWS) * Tiles::stride(layer.wo.k_padded));
    w.f_scale = carver.take<float>(some);
    w.means = carver.take<float>(unit.count * w.x_stride);
    w.vectors = carver.take<float>(unit.count * model.embedding_padded);
    for (int m = 0; m < members; ++m) {
        const HeadScratch head = head_scratch(unit.longest, model.config.d_kv, carver);
        float* row = carver.take<float>(w.x_stride);
        if (m == member) w.head = head, w.row = row;
    }
    return w;
}

inline int64_t workspace_bytes(const Model& model, const Unit& unit, int members) {
    Carver carver(nullptr);
    lay_out(model, unit, members, 0, carver);
    return carver.used();
}

inline int64_t panels(const Product& w) { return w.n_padded / Tiles::COLUMNS; }

// work(Range, then) for all panels of w. A member that has done its own goes on with its own of `next`.
template <class Work>
inline void share_panels(const Product& w, const Product& next, Member& team, Work work) {
    const int64_t last = team.own(panels(w)).last;
    const int8_t* const first = panel_of(next, team.own(panels(next)).first);
    team.share(panels(w), [&](Range some) { work(some, some.last == last ? first : panel_of(w, some.last)); });
}

inline void embed(const Model& model, const Unit& unit, Workspace& w, Range mine) {
    const int64_t d = model.config.d_model;
    int64_t row = 0;
    for (int64_t t = 0; t < unit.count; ++t) {
        for (int64_t i = 0; i < unit.texts[t].length; ++i, ++row) {
            if (row < mine.first || row >= mine.last) continue;
            const int64_t id = unit.texts[t].ids[i];
            const int8_t* from = model.embedding + id * d;
            const float scale = model.embedding_scale[id];
            float* x = w.x + row * w.x_stride;
            for (int64_t j = 0; j < d; ++j) x[j] = static_cast<float>(from[j]) * scale;
            for (int64_t j = d; j < w.x_stride; ++j) x[j] = 0.0f;
        }
    }
}

inline void normed_rows(const Model& model, const float* gain, Workspace& w, Range mine) {
    const int64_t d = model.config.d_model, padded = model.layers[0].qkv.k_padded;
    for (int64_t row = mine.first; row < mine.last; ++row) {
        rms_norm(w.x + row * w.x_stride, gain, d, model.config.layer_norm_epsilon, w.row);
        w.a_scale[row] = quantize_row(w.row, d, padded, false, Tiles::row(w.a, Tiles::stride(padded), row));
    }
}

inline void self_attention(const Model& model, const Layer& layer, const Unit& unit, Workspace& w, Member& team) {
    team.share(unit.rows, [&](Range rows) { normed_rows(model, layer.attention_norm, w, rows); });
    share_panels(layer.qkv, layer.o, team, [&](Range columns, const int8_t* then) {
        multiply(w.a, unit.rows, layer.qkv, columns, then, [=](int64_t row, int64_t column, F value) {
            store(w.qkv + row * w.qkv_stride + column, mul(value, set(w.a_scale[row])));
        });
    });
    const int64_t heads = model.config.num_heads;
    team.share(unit.count * heads, [&](Range tasks) {
        int64_t row = 0;
        for (int64_t t = 0; t < unit.count; ++t) {
            const int64_t length = unit.texts[t].length;
            for (int64_t head = 0; head < heads; ++head) {
                const int64_t task = t * heads + head;
                if (task < tasks.first || task >= tasks.last || length == 0) continue;
                attention(model, w.qkv + row * w.qkv_stride, w.qkv_stride, length, head, w.head);
            }
            row += length;
        }
    });
    team.share(unit.rows, [&](Range rows) {
        for (int64_t row = rows.first; row < rows.last; ++row) {
            w.a_scale[row] = quantize_row(w.qkv + row * w.qkv_stride, layer.o.k, layer.o.k_padded, false,
                                          Tiles::row(w.a, Tiles::stride(layer.o.k_padded), row));
        }
    });
    share_panels(layer.o, layer.wi, team, [&](Range columns, const int8_t* then) {
        multiply(w.a, unit.rows, layer.o, columns, then, [=](int64_t row, int64_t column, F value) {
            float* x = w.x + row * w.x_stride + column;
            store(x, add(load(x), mul(value, set(w.a_scale[row]))));
        });
    });
}

// act(x wi) of some rows, in `inner`; gated: gelu(x wi) * (x wi_1).
inline void inner_rows(const Layer& layer, bool gated, const Activation* a, const float* a_scale, int64_t count,
                       Workspace& w, Range columns, const int8_t* then) {
    if (!gated) {  // ReLU commutes with a positive scale, so the row scale waits for the second product
        multiply(a, count, layer.wi, columns, then, [=](int64_t row, int64_t column, F value) {
            store(w.inner + row * w.inner_stride + column, max(value, set(0.0f)));
        });
        return;
    }
    multiply(a, count, layer.wi, columns, panel_of(layer.wi_1, columns.first),
             [=](int64_t row, int64_t column, F value) {
                 store(w.inner + row * w.inner_stride + column, gelu(mul(value, set(a_scale[row]))));
             });
    multiply(a, count, layer.wi_1, columns, then, [=](int64_t row, int64_t column, F value) {
        float* inner = w.inner + row * w.inner_stride + column;
        store(inner, mul(load(inner), mul(value, set(a_scale[row]))));
    });
}

// following: the product after this
inline void feed_forward(const Model& model, const Layer& layer, const Product& following, const Unit& unit,
                         Workspace& w, Member& team) {
    team.share(unit.rows, [&](Range rows) { normed_rows(model, layer.feed_forward_norm, w, rows); });
    const bool gated = model.config.gated;
    for (int64_t first = 0; first < unit.rows; first += FEED_FORWARD_ROWS) {
        const int64_t count = unit.rows - first < FEED_FORWARD_ROWS ? unit.rows - first : FEED_FORWARD_ROWS;
        const Activation* a = w.a + first * Tiles::stride(layer.wi.k_padded);
        const float* a_scale = w.a_scale + first;
        share_panels(layer.wi, layer.wo, team, [&](Range columns, const int8_t* then) {
            inner_rows(layer, gated, a, a_scale, count, w, columns, then);
        });
        team.share(count, [&](Range rows) {
            for (int64_t row = rows.first; row < rows.last; ++row) {
                const float scale = quantize_row(w.inner + row * w.inner_stride, layer.wo.k, layer.wo.k_padded, !gated,
                                                 Tiles::row(w.f, Tiles::stride(layer.wo.k_padded), row));
                w.f_scale[row] = gated ? scale : scale * a_scale[row];
            }
        });
        const bool more = first + count < unit.rows;
        share_panels(layer.wo, more ? layer.wi : following, team, [&](Range columns, const int8_t* then) {
            multiply(w.f, count, layer.wo, columns, then, [=](int64_t row, int64_t column, F value) {
                float* x = w.x + (first + row) * w.x_stride + column;
                store(x, add(load(x), mul(value, set(w.f_scale[row]))));
            });
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
inline void dense(const Model& model, int64_t texts, Workspace& w, Range panels) {
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
        store_part(sentence + j, div(load(vector + j), divisor), dim - j < LANES ? dim - j : LANES);
    }
}

inline void results(const Model& model, const Unit& unit, Workspace& w, Member& team) {
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

inline void encode(const Model& model, const Unit& unit, char* workspace, Team& team, int slot) {
    Member member(team, slot);
    Carver carver(workspace);
    Workspace w = lay_out(model, unit, team.slots(), slot, carver);
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

// A constant: an initialiser would be code of this instruction set, run wherever the library is loaded.
constexpr Isa make_isa(const char* name, const char* (*missing)(), int64_t unit_rows) {
    return Isa{name, missing,         Tiles::COLUMNS, Tiles::DEPTH, unit_rows, Tiles::ZERO_SIGNED, Tiles::ZERO_POSITIVE,
               pack, workspace_bytes, encode,         peak};
}

}  // namespace

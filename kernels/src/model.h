// What every instruction set shares: the weights as its tiles want them, the work, and the table of its functions.
// Knows nothing about instructions. No std:: here: this header is compiled once per instruction set, and an inline
// function of the library compiled for AVX-512 could be the copy that the linker keeps for everyone.
#pragma once

#include <stdint.h>

#include "instructor_kernels.h"
#include "team.h"

namespace instructor {

// A weight matrix [k, n] in panels of columns. The place of a number within its panel is the instruction set's own.
struct Product {
    int64_t k = 0, n = 0;
    int64_t k_padded = 0, n_padded = 0;  // zeros up to whole groups and panels
    int8_t* panels = nullptr;            // [n_padded / columns][k_padded * columns]
    float* scales = nullptr;             // [n_padded]
    int32_t* correction = nullptr;       // [n_padded], what the zero point of the activations adds to each product
};

struct Layer {
    const float* attention_norm = nullptr;     // [d_padded], as every norm
    const float* feed_forward_norm = nullptr;
    Product qkv, o, wi, wi_1, wo;              // wi_1 only where gated
};

struct Isa;

struct Model {
    ik_config config;
    const Isa* isa = nullptr;
    const int8_t* embedding = nullptr;  // [vocab_size, d_model], the caller's
    const float* embedding_scale = nullptr;
    const float* bias = nullptr;  // [num_heads, 2 * max_distance + 1]
    const float* final_norm = nullptr;
    const float* dense = nullptr;  // [d_model, embedding_padded]
    Layer* layers = nullptr;
    int64_t d_padded = 0, inner_padded = 0, ff_padded = 0, embedding_padded = 0;  // to whole vectors of LANES
};

// One text of a unit of work, and where its results go.
struct Text {
    const int32_t* ids;
    int64_t length;
    int64_t start;    // first pooled position
    float* sentence;  // [embedding_dim]
    float* tokens;    // [length, d_model] or nullptr
};

// Whole texts that go through all layers together, their tokens one after another.
struct Unit {
    const Text* texts;
    int64_t count;
    int64_t rows;     // tokens of all texts
    int64_t longest;  // text
};

constexpr int64_t LANES = 16;     // floats of a vector, whatever the registers: sums are grouped alike everywhere
constexpr int64_t TILE_ROWS = 32;  // the most rows that a tile reads: buffers of activations have so many to spare
constexpr int64_t FEED_FORWARD_ROWS = 128;  // rows whose inner feed-forward activations exist at a time

struct Isa {
    const char* name;
    bool (*supported)();
    int64_t columns;    // of a panel
    int64_t depth;      // k is padded to a multiple of this
    int64_t unit_rows;  // tokens of a unit, so that its activations stay near the core
    // Zero points of the activations as they are stored: of any sign, and after a ReLU.
    int32_t zero_signed, zero_positive;
    void (*pack)(const int8_t* weight, Product& product, int64_t first_panel, int64_t last_panel);
    int64_t (*workspace_bytes)(const Model& model, int64_t rows, int64_t longest, int members);
    // Every member of the team calls this with its own slot; it returns when the unit is done.
    void (*encode)(const Model& model, const Unit& unit, char* workspace, Team& team, int slot);
    int64_t (*peak)(int64_t repeats);  // multiplications done; the time is the caller's to take
};

inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace instructor

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
    int64_t pass_bytes = 0;              // of activations that a pass over all panels goes back to
    void* panels = nullptr;              // of weights, [n_padded / columns][k_padded * columns]
    // of integers:
    float* scales = nullptr;        // [n_padded]
    int32_t* correction = nullptr;  // [n_padded], what the zero point of the activations adds to each product
};

struct Layer {
    const float* attention_norm = nullptr;  // [d_model, up to whole vectors of LANES], as every norm
    const float* feed_forward_norm = nullptr;
    Product qkv, o, wi, wi_1, wo;  // wi_1 only where gated
};

struct Kernel;
class Kept;

// Seconds that a thread takes: of its caller, to start it, and after that until it begins. Until somebody measured
// them, every thread is worth it.
struct Start {
    double own = 0, late = 0;
};

struct Model {
    ik_config config;
    const Kernel* kernel = nullptr;          // that it was made for
    const void* embedding = nullptr;         // [vocab_size, d_model] int8, or float
    const float* embedding_scale = nullptr;  // [vocab_size], of int8
    const float* bias = nullptr;             // [num_heads, 2 * max_distance + 1]
    const float* final_norm = nullptr;
    const float* dense = nullptr;  // [embedding_padded / DENSE_COLUMNS][d_model][DENSE_COLUMNS], or nullptr
    Layer* layers = nullptr;
    int64_t embedding_padded = 0;  // to whole panels of the Dense, zeros
    Kept* workspaces = nullptr;    // what a call's is taken from and left to
    double rate = 1;               // multiplications a second of one core
    Start start;
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

constexpr int64_t LANES = 16;      // floats of a vector, whatever the registers: sums are grouped alike everywhere
constexpr int64_t TILE_ROWS = 32;  // the most rows that a tile reads: buffers of activations have so many to spare
constexpr int64_t FEED_FORWARD_ROWS = 128;    // rows whose inner feed-forward activations exist at a time
constexpr int64_t MOST_TOKENS = 1 << 18;      // of a text: sums of attention stay within 32 bits
constexpr int64_t DENSE_COLUMNS = 4 * LANES;  // columns of the Dense that are summed together

// The encoder for one type of weights, compiled for one instruction set.
struct Kernel {
    int64_t columns;    // of a panel
    int64_t depth;      // k is padded to a multiple of this
    int64_t unit_rows;  // tokens of a unit, so that its activations stay near the core
    // Zero points of quantised activations as they are stored: of any sign, and after a ReLU.
    int32_t zero_signed, zero_positive;
    // weight: the panel's first column of the first row; rows `stride` apart
    void (*pack)(const void* weight, int64_t stride, Product& product, int64_t panel);
    int64_t (*workspace_bytes)(const Model& model, const Unit& unit, int members);
    // Every member of the team calls this with its own slot; it returns when the unit is done.
    void (*encode)(const Model& model, const Unit& unit, char* workspace, Team& team, int slot);
    int64_t (*peak)(int64_t repeats);  // multiplications done; the time is the caller's to take
};

struct Isa {
    const char* name;
    const char* (*missing)();  // why it cannot be used here; nullptr: it can
    Kernel int8, fp32;

    constexpr const Kernel& kernel(int32_t weight_type) const { return weight_type == IK_FP32 ? fp32 : int8; }
};

constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// From one row to the next, for rows of so many bytes: an odd number of cache lines. Rows that are a power of two apart
// lie in the same few sets of a cache, and a tile's dozen of them throw each other out.
constexpr int64_t row_stride(int64_t bytes) { return (round_up(bytes, 64) / 64 | 1) * 64; }

}  // namespace instructor

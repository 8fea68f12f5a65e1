// Activations times a weight matrix: the loops around an instruction set's tile. Needs F; Tiles is one for integers
// (the instruction set's own) or that for floats (tile_fp32.h):
//   Tiles::Activation, Weight, Sum     int8_t weights and int32_t sums, or all float
//   Tiles::ROWS, COLUMNS, DEPTH        the tile, and what k is padded to
//   Tiles::STEP                        heights of a tile are multiples of this, but for the last rows
//   Tiles::ZERO_SIGNED, ZERO_POSITIVE  zero points of the stored activations, where they are quantised
//   Tiles::place(k, column)            where a weight lies in its panel
//   Tiles::stride(k)                   Activations from one row to the next
//   Tiles::row(a, stride, index)       where a row begins that is written
//   Tiles::put(row, i, F)              writes numbers i ... i + LANES - 1 of a row; they come with SHIFT added
//   Tiles::arrange(row, k)             what happens to a quantised row before it is multiplied
//   Tiles::Session                     lives around calls of run
//   Tiles::STEP_BYTES                  of a panel that a step of the tile's loop reads
//   Tiles::run(rows, a, stride, panel, k, sums, ahead)  Sum [rows, COLUMNS], rows <= ROWS
//   Tiles::INTERLEAVES                 run has one argument more, which it calls steps(rows, k) times meanwhile: where
//                                      products are another unit's, which works on while vectors are turned into floats
#pragma once

#include "model.h"

namespace {

using namespace instructor;

template <class Tiles>
constexpr bool QUANTISED = sizeof(typename Tiles::Weight) == 1;

// Rows that make a tile full: ROWS may be several of them beside each other.
template <class Tiles>
constexpr int64_t FULL_ROWS = Tiles::ROWS < TILE_ROWS ? Tiles::ROWS : TILE_ROWS;

// Activations as a product takes them: quantised with a scale for each row, or floats as they are.
template <class Tiles>
struct Rows {
    static_assert(Tiles::COLUMNS % LANES == 0 && Tiles::STEP <= TILE_ROWS, "buffers are made for these");
    static_assert(Tiles::ROWS % Tiles::STEP == 0, "a height that is rounded up stays within a tile");
    static_assert(!QUANTISED<Tiles> || Tiles::DEPTH % LANES == 0, "rows are quantised by whole vectors");

    typename Tiles::Activation* data;
    int64_t stride;  // of Activations
    float* scales;   // of quantised rows

    typename Tiles::Activation* row(int64_t row) const { return Tiles::row(data, stride, row); }
    Rows from(int64_t row) const { return {this->row(row), stride, scales ? scales + row : nullptr}; }
    F scaled(F products, int64_t row) const {
        if constexpr (QUANTISED<Tiles>) return mul(products, set(scales[row]));
        return products;
    }
};

template <class Tiles>
inline typename Tiles::Weight* panel_of(const Product& w, int64_t panel) {
    return static_cast<typename Tiles::Weight*>(w.panels) + panel * Tiles::COLUMNS * w.k_padded;
}

template <class Tiles>
inline void pack(const void* weight, int64_t stride, Product& product, int64_t panel) {
    using Weight = typename Tiles::Weight;
    Weight* out = panel_of<Tiles>(product, panel);
    const int64_t first = panel * Tiles::COLUMNS;
    const int64_t count = product.n - first < Tiles::COLUMNS ? product.n - first : Tiles::COLUMNS;
    typename Tiles::Sum sums[Tiles::COLUMNS] = {};
    memset(out, 0, static_cast<size_t>(Tiles::COLUMNS * product.k_padded) * sizeof(Weight));
    for (int64_t k = 0; k < product.k; ++k) {
        const Weight* row = static_cast<const Weight*>(weight) + k * stride;
        for (int64_t column = 0; column < count; ++column) {
            out[Tiles::place(k, column)] = row[column];
            sums[column] += row[column];
        }
    }
    if constexpr (QUANTISED<Tiles>) {
        // correction holds the zero point of the activations this product will meet
        for (int64_t column = 0; column < Tiles::COLUMNS; ++column) product.correction[first + column] *= sums[column];
    }
}

// What makes LANES products out of sums: integers less the zero point's, times the column scale. Rows have one, too.
template <class Tiles>
inline auto products(const Product& w, int64_t column) {
    if constexpr (QUANTISED<Tiles>) {
        const int32_t* const correction = w.correction + column;
        const F scale = load(w.scales + column);
        return [=](const int32_t* sums) { return mul(difference(sums, correction), scale); };
    } else {
        return [](const float* sums) { return load(sums); };
    }
}

// Rows of floats that products go to.
struct Target {
    float* data;
    int64_t stride;

    float* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};

// then: the weights that this thread multiplies with next. They are brought from memory meanwhile.
// finish(at, row, F) gets LANES products at a time, to be multiplied by the row's scale, and where in `out` they go.
template <class Tiles, class Finish>
inline void multiply(Rows<Tiles> a, Range rows, const Product& w, Range panels, const void* then, Target out,
                     Finish finish) {
    using Weight = typename Tiles::Weight;
    using Sum = typename Tiles::Sum;
    [[maybe_unused]] const typename Tiles::Session session;
    alignas(64) Sum sums[Tiles::INTERLEAVES ? 2 : 1][Tiles::ROWS * Tiles::COLUMNS];
    struct Part {
        const Sum* sums;
        int64_t row, height, column;
    } last{};  // where interleaved: what was multiplied before, whose sums become floats while others are multiplied
    int64_t turn = 0;
    const auto settle = [&](const Part part, int64_t from, int64_t to) {
        const Finish own = finish;  // of copies the compiler knows that no store changes them
        const Target target = out;
        for (int64_t c = 0; c < Tiles::COLUMNS; c += LANES) {
            const int64_t column = part.column + c;
            const auto scaled = products<Tiles>(w, column);
            for (int64_t r = from; r < to; ++r) {
                own(target.at(part.row + r, column), part.row + r, scaled(part.sums + r * Tiles::COLUMNS + c));
            }
        }
    };
    const int64_t row_bytes = w.k_padded * static_cast<int64_t>(sizeof(typename Tiles::Activation));
    int64_t block = w.pass_bytes / row_bytes / Tiles::ROWS * Tiles::ROWS;
    if (block < 4 * Tiles::ROWS) block = 4 * Tiles::ROWS;
    const int64_t wanted = rows.last - rows.first, blocks = (wanted + block - 1) / block;
    const auto block_begin = [&](int64_t b) {
        return b < blocks ? rows.first + round_up(wanted * b / blocks, Tiles::STEP) : rows.last;
    };
    for (int64_t b = 0; b < blocks; ++b) {
        const int64_t first = block_begin(b), count = block_begin(b + 1) - first;
        const int64_t tiles = (count + Tiles::ROWS - 1) / Tiles::ROWS;
        const int64_t bytes = Tiles::COLUMNS * w.k_padded * static_cast<int64_t>(sizeof(Weight));
        const int64_t part_bytes = bytes / tiles, step_bytes = Tiles::STEP_BYTES / tiles;
        for (int64_t panel = panels.first; panel < panels.last; ++panel) {
            const Weight* const weights = panel_of<Tiles>(w, panel);
            const auto begin = [&](int64_t t) {  // of tiles of nearly equal height
                return t < tiles ? first + round_up(count * t / tiles, Tiles::STEP) : first + count;
            };
            const void* const following = panel + 1 < panels.last ? panel_of<Tiles>(w, panel + 1) : then;
            const char* const next = static_cast<const char*>(following);  // each tile brings a part of it
            for (int64_t t = 0, row = first, end; t < tiles; ++t, row = end) {
                end = begin(t + 1);
                const int64_t height = end - row;
                const Ahead ahead{next + part_bytes * t, step_bytes};
                Sum* const own = sums[Tiles::INTERLEAVES ? turn++ % 2 : 0];
                const Part part{own, row, height, panel * Tiles::COLUMNS};
                for (int64_t r = row; r < end; ++r) {  // or each store would wait for its line
                    for (int64_t c = 0; c < Tiles::COLUMNS; c += LANES) __builtin_prefetch(out.at(r, part.column + c));
                }
                const auto run = [&](auto... more) {
                    Tiles::run(static_cast<int>(height), a.row(row), a.stride, weights, w.k_padded, own, ahead,
                               more...);
                };
                if constexpr (Tiles::INTERLEAVES) {
                    const int64_t steps = Tiles::steps(height, w.k_padded), some = (last.height + steps - 1) / steps;
                    int64_t done = 0;
                    run([&]() __attribute__((noinline)) {  // within the tile's loop both would spill
                        const int64_t from = done, to = from + some;
                        done = to < last.height ? to : last.height;
                        settle(last, from, done);
                    });
                    last = part;
                } else {
                    run();
                    settle(part, 0, height);
                }
            }
        }
    }
    if constexpr (Tiles::INTERLEAVES) settle(last, 0, last.height);
}

// Multiplications of the tile alone, on data that stays in the first-level cache. The activations are small and
// positive: AVX2 has the least work with these.
template <class Tiles>
inline int64_t peak(int64_t repeats) {
    using Activation = typename Tiles::Activation;
    using Weight = typename Tiles::Weight;
    constexpr int64_t K = 512 / sizeof(Weight), STRIDE = Tiles::stride(K);
    constexpr int64_t ROWS = FULL_ROWS<Tiles>;
    // As opaque as in the model: for constants GCC makes another tile, which spills (a third of the speed with VNNI).
    int64_t k = K, stride = STRIDE;
    asm volatile("" : "+r"(k), "+r"(stride));
    alignas(64) Weight weights[K * Tiles::COLUMNS];
    alignas(64) Activation activations[TILE_ROWS * STRIDE];
    alignas(64) typename Tiles::Sum sums[ROWS * Tiles::COLUMNS];
    uint32_t seed = 1;
    for (Weight& weight : weights) weight = static_cast<int8_t>((seed = seed * 1664525u + 1013904223u) >> 24);
    for (Activation& value : activations) value = static_cast<Activation>((seed = seed * 1664525u + 1013904223u) >> 26);
    for (int64_t row = 0; row < TILE_ROWS; ++row) Tiles::arrange(activations + row * STRIDE, K);
    [[maybe_unused]] const typename Tiles::Session session;
    volatile typename Tiles::Sum sink = 0;
    for (int64_t i = 0; i < repeats; ++i) {
        Tiles::run(ROWS, activations, stride, weights, k, sums, Ahead{reinterpret_cast<const char*>(weights), 0});
        sink = sink + sums[i % (ROWS * Tiles::COLUMNS)];
    }
    return repeats * K * Tiles::COLUMNS * ROWS;
}

}  // namespace

// Every machine: plain C++, the reference that the other instruction sets must equal bit for bit.
#include "cpu.h"
#include "simd_scalar.h"
#include "tiles.h"
#include "words_scalar.h"

namespace {

using Activation = int16_t;

struct Tiles : PlainTiles<Activation> {
    static constexpr int64_t ROWS = 4, COLUMNS = 16, DEPTH = 16, STEP_BYTES = 0;
    static constexpr int32_t ZERO_SIGNED = 0, ZERO_POSITIVE = 0;
    static constexpr int64_t place(int64_t k, int64_t column) { return k * COLUMNS + column; }

    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums,
                    Ahead) {
        for (int64_t r = 0; r < rows; ++r) {
            int32_t row[COLUMNS] = {};  // of its own: a write through `sums` might change a weight, for all GCC knows
            for (int64_t i = 0; i < k; ++i) {
                const int32_t x = a[r * stride + i];
                for (int64_t c = 0; c < COLUMNS; ++c) row[c] += x * panel[i * COLUMNS + c];
            }
            memcpy(sums + r * COLUMNS, row, sizeof row);
        }
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_scalar;
constexpr Isa isa_scalar = make_isa("scalar", missing_scalar, 128);

}  // namespace instructor

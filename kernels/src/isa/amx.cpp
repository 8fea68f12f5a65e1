// AMX int8 (Sapphire Rapids and later): 16 x 64 bytes of activations by 64 x 16 weights in one instruction. Two tiles
// of rows by two of columns: each loaded tile is used twice.
#include "simd_avx512.h"

#include "cpu.h"
#include "tiles.h"
#include "words_limbs.h"

namespace {

using Activation = uint8_t;

// Tile registers: 0 to 3 hold sums (rows x columns: 0 1 / 2 3), 4 and 5 activations, 6 and 7 weights.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// GCC's intrinsics do not say that they read or write memory.
inline void fence() { asm volatile("" ::: "memory"); }

// Tile registers are ours while one of these lives; released, a thread switch does not have to save them.
struct TileSession {
    TileSession() {
        const TileConfig config;
        fence();
        _tile_loadconfig(&config);
    }
    ~TileSession() { _tile_release(); }
};

struct Tiles : PlainTiles<Activation> {
    using Session = TileSession;
    static constexpr int64_t ROWS = 128, STEP = 32, COLUMNS = 32, DEPTH = 64;
    static constexpr bool INTERLEAVES = true;
    static constexpr int64_t CHUNK = 768;  // of k, so that a panel's part stays in the first-level cache for all rows
    static constexpr int32_t ZERO_SIGNED = 128, ZERO_POSITIVE = 0;
    static constexpr int64_t BYTES = 16 * 64, STEP_BYTES = 2 * BYTES;  // of a tile, of two
    // blocks of 64 k: two tiles of 16 columns, each [16 groups of four k][16 columns][4]
    static constexpr int64_t place(int64_t k, int64_t column) {
        return k / 64 * (2 * BYTES) + column / 16 * BYTES + k % 64 / 4 * 64 + column % 16 * 4 + k % 4;
    }

    // Sums of 16 rows, or where TALL of 32; where `more` on top of those that are there. Reads and writes whole tiles:
    // rows past the last are buffer to spare, and their sums are ignored.
    template <bool TALL, class Meanwhile>
    [[gnu::noinline]] static void products(const Activation* a, int64_t stride, const int8_t* panel, int64_t k,
                                           bool more, int32_t* sums, Ahead& ahead, Meanwhile& meanwhile) {
        constexpr int64_t SUM_STRIDE = COLUMNS * sizeof(int32_t);
        fence();
        if (more) {
            _tile_loadd(0, sums, SUM_STRIDE);
            _tile_loadd(1, sums + 16, SUM_STRIDE);
        } else {
            _tile_zero(0);
            _tile_zero(1);
        }
        if constexpr (TALL) {
            if (more) {
                _tile_loadd(2, sums + 16 * COLUMNS, SUM_STRIDE);
                _tile_loadd(3, sums + 16 * COLUMNS + 16, SUM_STRIDE);
            } else {
                _tile_zero(2);
                _tile_zero(3);
            }
        }
        for (int64_t i = 0; i < k; i += 64, panel += 2 * BYTES) {
            ahead.fetch_lines();
            meanwhile();
            _tile_loadd(6, panel, 64);
            _tile_stream_loadd(4, a + i, stride);
            _tile_dpbusd(0, 4, 6);
            _tile_loadd(7, panel + BYTES, 64);
            _tile_dpbusd(1, 4, 7);
            if constexpr (TALL) {
                _tile_stream_loadd(5, a + 16 * stride + i, stride);
                _tile_dpbusd(2, 5, 6);
                _tile_dpbusd(3, 5, 7);
            }
        }
        _tile_stored(0, sums, SUM_STRIDE);
        _tile_stored(1, sums + 16, SUM_STRIDE);
        if constexpr (TALL) {
            _tile_stored(2, sums + 16 * COLUMNS, SUM_STRIDE);
            _tile_stored(3, sums + 16 * COLUMNS + 16, SUM_STRIDE);
        }
        fence();
    }

    static int64_t steps(int64_t rows, int64_t k) { return (rows + 31) / 32 * (k / 64); }

    // 32 rows after 32 rows with a chunk of k, then with the next on top.
    struct Nothing {
        void operator()() const {}
    };
    template <class Meanwhile = Nothing>
    static void run(int rows, const Activation* a, int64_t stride, const int8_t* panel, int64_t k, int32_t* sums,
                    Ahead ahead, Meanwhile meanwhile = {}) {
        ahead.step /= (rows + 31) / 32;
        const int64_t chunks = (k + CHUNK - 1) / CHUNK;
        for (int64_t c = 0; c < chunks; ++c) {
            const int64_t first = round_up(k * c / chunks, 64), some = round_up(k * (c + 1) / chunks, 64) - first;
            const int8_t* const weights = panel + first * COLUMNS;
            int64_t row = 0;
            for (; rows - row > 16; row += 32) {
                products<true>(a + row * stride + first, stride, weights, some, c > 0, sums + row * COLUMNS, ahead,
                               meanwhile);
            }
            if (row < rows) {
                products<false>(a + row * stride + first, stride, weights, some, c > 0, sums + row * COLUMNS, ahead,
                                meanwhile);
            }
        }
    }
};

struct WordLayout {
    static constexpr int64_t BLOCK = 64, LOW = 16 * 64;
    static constexpr int64_t place(int64_t k, int64_t lane) { return k / 64 * 2 * LOW + k % 64 / 4 * 64 + lane * 4; }
};

// 16 rows by 16 columns at a time: registers 0 to 3 hold the sums of high by high, high by low, low by high, low by low
// (one register for two would make each product wait for the one before it).
struct Words : LimbWords<WordLayout> {
    using Session = TileSession;
    static constexpr int64_t ROWS = 16, PANELS = 4, DEPTH = 64;

    static void run(int64_t rows, const int16_t* a, int64_t stride, const int16_t* panel, int64_t k, int64_t panels,
                    int32_t* sums) {
        alignas(64) uint32_t parts[4][ROWS * LANES];
        for (int64_t p = 0; p < panels; ++p, sums += LANES) {
            fence();
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
            for (int64_t i = 0; i < k; i += 64, panel += 64 * LANES) {
                _tile_loadd(4, a + i, 2 * stride);
                _tile_loadd(6, panel, 64);
                _tile_dpbssd(0, 4, 6);
                _tile_loadd(7, panel + WordLayout::LOW / 2, 64);
                _tile_dpbssd(1, 4, 7);
                _tile_loadd(5, a + i + 32, 2 * stride);
                _tile_dpbssd(2, 5, 6);
                _tile_dpbssd(3, 5, 7);
            }
            _tile_stored(0, parts[0], 64);
            _tile_stored(1, parts[1], 64);
            _tile_stored(2, parts[2], 64);
            _tile_stored(3, parts[3], 64);
            fence();
            for (int64_t r = 0; r < rows; ++r) {
                uint32_t total[LANES];
                for (int64_t lane = 0; lane < LANES; ++lane) {
                    const int64_t i = r * LANES + lane;
                    total[lane] = (parts[0][i] << 16) + ((parts[1][i] + parts[2][i]) << 8) + parts[3][i];
                }
                memcpy(sums + r * PANELS * LANES, total, sizeof total);
            }
        }
    }
};

}  // namespace

#include "encoder.h"

namespace instructor {

extern const Isa isa_amx;
constexpr Isa isa_amx = make_isa("amx", missing_amx, 384);

}  // namespace instructor

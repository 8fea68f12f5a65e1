// AVX-512, VNNI and AMX in AVX2 and plain C++, forced before the sources of these instruction sets: the arithmetic of
// kernels that this machine cannot run. Only the instructions that they use.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Floats512 {
    __m256 half[2];
};
struct Integers512 {
    __m256i half[2];
};

// VPDPBUSD: sums[n] += sum over i of unsigned a[4 n + i] * signed b[4 n + i]
inline __m256i emulated_dpbusd(__m256i sums, __m256i a, __m256i b) {
    int32_t c[8];
    uint8_t x[32];
    int8_t y[32];
    std::memcpy(c, &sums, 32), std::memcpy(x, &a, 32), std::memcpy(y, &b, 32);
    for (int n = 0; n < 8; ++n) {
        for (int i = 0; i < 4; ++i) c[n] += int32_t{x[4 * n + i]} * int32_t{y[4 * n + i]};
    }
    std::memcpy(&sums, c, 32);
    return sums;
}

// VPDPWSSD: sums[n] += sum over i of signed a[2 n + i] * signed b[2 n + i], of 16 bits each, modulo 2^32
inline __m256i emulated_dpwssd(__m256i sums, __m256i a, __m256i b) {
    uint32_t c[8];
    int16_t x[16], y[16];
    std::memcpy(c, &sums, 32), std::memcpy(x, &a, 32), std::memcpy(y, &b, 32);
    for (int n = 0; n < 8; ++n) {
        for (int i = 0; i < 2; ++i) c[n] += static_cast<uint32_t>(int32_t{x[2 * n + i]} * int32_t{y[2 * n + i]});
    }
    std::memcpy(&sums, c, 32);
    return sums;
}

template <class Op>
inline Floats512 halves(Op op) {
    return {{op(0), op(1)}};
}
template <class Op>
inline Integers512 whole_halves(Op op) {
    return {{op(0), op(1)}};
}

#define FLOATS(name, ...)                                  \
    inline Floats512 e512_##name {                         \
        return halves([&](int i) { return __VA_ARGS__; }); \
    }
#define INTEGERS(name, ...)                                      \
    inline Integers512 e512_##name {                             \
        return whole_halves([&](int i) { return __VA_ARGS__; }); \
    }

FLOATS(loadu_ps(const float* p), _mm256_loadu_ps(p + 8 * i))
FLOATS(set1_ps(float x), (static_cast<void>(i), _mm256_set1_ps(x)))
FLOATS(add_ps(Floats512 a, Floats512 b), _mm256_add_ps(a.half[i], b.half[i]))
FLOATS(sub_ps(Floats512 a, Floats512 b), _mm256_sub_ps(a.half[i], b.half[i]))
FLOATS(mul_ps(Floats512 a, Floats512 b), _mm256_mul_ps(a.half[i], b.half[i]))
FLOATS(div_ps(Floats512 a, Floats512 b), _mm256_div_ps(a.half[i], b.half[i]))
FLOATS(max_ps(Floats512 a, Floats512 b), _mm256_max_ps(a.half[i], b.half[i]))
FLOATS(min_ps(Floats512 a, Floats512 b), _mm256_min_ps(a.half[i], b.half[i]))
FLOATS(fmadd_ps(Floats512 a, Floats512 b, Floats512 c), _mm256_fmadd_ps(a.half[i], b.half[i], c.half[i]))
FLOATS(abs_ps(Floats512 a), _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.half[i]))
FLOATS(cvtepi32_ps(Integers512 a), _mm256_cvtepi32_ps(a.half[i]))
FLOATS(castsi512_ps(Integers512 a), _mm256_castsi256_ps(a.half[i]))
INTEGERS(cvtps_epi32(Floats512 a), _mm256_cvtps_epi32(a.half[i]))
INTEGERS(castps_si512(Floats512 a), _mm256_castps_si256(a.half[i]))
INTEGERS(setzero_si512(), (static_cast<void>(i), _mm256_setzero_si256()))
INTEGERS(set1_epi32(int32_t x), (static_cast<void>(i), _mm256_set1_epi32(x)))
INTEGERS(add_epi32(Integers512 a, Integers512 b), _mm256_add_epi32(a.half[i], b.half[i]))
INTEGERS(sub_epi32(Integers512 a, Integers512 b), _mm256_sub_epi32(a.half[i], b.half[i]))
INTEGERS(slli_epi32(Integers512 a, int count), _mm256_slli_epi32(a.half[i], count))
INTEGERS(loadu_si512(const void* p), _mm256_loadu_si256(static_cast<const __m256i*>(p) + i))
INTEGERS(dpbusd_epi32(Integers512 c, Integers512 a, Integers512 b), emulated_dpbusd(c.half[i], a.half[i], b.half[i]))
INTEGERS(dpwssd_epi32(Integers512 c, Integers512 a, Integers512 b), emulated_dpwssd(c.half[i], a.half[i], b.half[i]))

inline void e512_storeu_ps(float* p, Floats512 x) {
    for (int i = 0; i < 2; ++i) _mm256_storeu_ps(p + 8 * i, x.half[i]);
}
inline void e512_storeu_si512(void* p, Integers512 x) { std::memcpy(p, x.half, sizeof x.half); }
inline __m256 e512_castps512_ps256(Floats512 x) { return x.half[0]; }
inline Floats512 e512_castps_pd(Floats512 x) { return x; }
inline __m256d e512_extractf64x4_pd(Floats512 x, int which) { return _mm256_castps_pd(x.half[which]); }
template <class Packed, class Lower>
inline Packed e512_cvtepi32(Integers512 x) {  // the lower bytes of each
    int32_t from[16];
    Lower to[16];
    std::memcpy(from, x.half, sizeof from);
    for (int i = 0; i < 16; ++i) to[i] = static_cast<Lower>(from[i]);
    Packed packed;
    std::memcpy(&packed, to, sizeof packed);
    return packed;
}

}  // namespace

#undef _mm512_cvtepi32_ps
#define __m512 Floats512
#define __m512i Integers512
#define _mm512_loadu_ps e512_loadu_ps
#define _mm512_storeu_ps e512_storeu_ps
#define _mm512_set1_ps e512_set1_ps
#define _mm512_add_ps e512_add_ps
#define _mm512_sub_ps e512_sub_ps
#define _mm512_mul_ps e512_mul_ps
#define _mm512_div_ps e512_div_ps
#define _mm512_max_ps e512_max_ps
#define _mm512_min_ps e512_min_ps
#define _mm512_fmadd_ps e512_fmadd_ps
#define _mm512_abs_ps e512_abs_ps
#define _mm512_cvtepi32_ps e512_cvtepi32_ps
#define _mm512_castsi512_ps e512_castsi512_ps
#define _mm512_castps_si512 e512_castps_si512
#define _mm512_cvtps_epi32 e512_cvtps_epi32
#define _mm512_setzero_si512 e512_setzero_si512
#define _mm512_set1_epi32 e512_set1_epi32
#define _mm512_add_epi32 e512_add_epi32
#define _mm512_sub_epi32 e512_sub_epi32
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 e512_slli_epi32
#define _mm512_loadu_si512 e512_loadu_si512
#define _mm512_storeu_si512 e512_storeu_si512
#define _mm512_dpbusd_epi32 e512_dpbusd_epi32
#define _mm512_castps512_ps256 e512_castps512_ps256
#define _mm512_castps_pd e512_castps_pd
#undef _mm512_extractf64x4_pd
#define _mm512_extractf64x4_pd e512_extractf64x4_pd
#define _mm512_cvtepi32_epi8 (e512_cvtepi32<__m128i, uint8_t>)
#define _mm512_cvtepi32_epi16 (e512_cvtepi32<__m256i, uint16_t>)
#define _mm512_dpwssd_epi32 e512_dpwssd_epi32
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd
#define _mm256_dpwssd_avx_epi32 emulated_dpwssd

namespace {

// Intel's Software Developer's Manual, volume 1, chapter 18.
struct EmulatedTile {
    int rows = 0, row_bytes = 0;
    uint8_t bytes[16][64] = {};
};

thread_local EmulatedTile tiles[8];
thread_local bool configured = false;

inline EmulatedTile& tile(int index) {
    if (!configured) std::fprintf(stderr, "a tile is used without a configuration\n"), std::abort();
    return tiles[index];
}

inline void emulated_loadconfig(const void* config) {
    const auto* bytes = static_cast<const uint8_t*>(config);
    if (bytes[0] != 1) std::fprintf(stderr, "palette %d\n", bytes[0]), std::abort();
    for (int i = 0; i < 8; ++i) {
        tiles[i] = EmulatedTile();
        tiles[i].row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
        tiles[i].rows = bytes[48 + i];
        if (tiles[i].row_bytes > 64 || tiles[i].rows > 16) std::fprintf(stderr, "a tile too large\n"), std::abort();
    }
    for (int i = 8; i < 16; ++i) {
        if (bytes[48 + i] || bytes[16 + 2 * i] || bytes[17 + 2 * i]) std::fprintf(stderr, "reserved\n"), std::abort();
    }
    configured = true;
}

inline void emulated_loadd(int index, const void* base, int64_t stride) {
    EmulatedTile& t = tile(index);
    for (int r = 0; r < t.rows; ++r) {
        std::memcpy(t.bytes[r], static_cast<const uint8_t*>(base) + r * stride, static_cast<size_t>(t.row_bytes));
    }
}

inline void emulated_stored(int index, void* base, int64_t stride) {
    EmulatedTile& t = tile(index);
    for (int r = 0; r < t.rows; ++r) {
        std::memcpy(static_cast<uint8_t*>(base) + r * stride, t.bytes[r], static_cast<size_t>(t.row_bytes));
    }
}

inline void emulated_zero(int index) { std::memset(tile(index).bytes, 0, sizeof tile(index).bytes); }

// TDPBUSD, TDPBSSD: sums[m][n] += sum over k, i of a[m][4 k + i], of type A, * signed b[k][4 n + i], modulo 2^32
template <class A>
inline void emulated_tile_dpb(int sums, int a, int b) {
    EmulatedTile &c = tile(sums), &x = tile(a), &y = tile(b);
    if (c.rows != x.rows || x.row_bytes / 4 != y.rows || c.row_bytes != y.row_bytes) {
        std::fprintf(stderr, "tiles that do not fit\n"), std::abort();
    }
    for (int m = 0; m < c.rows; ++m) {
        for (int n = 0; n < c.row_bytes / 4; ++n) {
            uint32_t sum;
            std::memcpy(&sum, &c.bytes[m][4 * n], sizeof sum);
            for (int k = 0; k < x.row_bytes / 4; ++k) {
                for (int i = 0; i < 4; ++i) {
                    sum += static_cast<uint32_t>(int32_t{static_cast<A>(x.bytes[m][4 * k + i])} *
                                                 int32_t{static_cast<int8_t>(y.bytes[k][4 * n + i])});
                }
            }
            std::memcpy(&c.bytes[m][4 * n], &sum, sizeof sum);
        }
    }
}

}  // namespace

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbusd
#undef _tile_dpbssd
#define _tile_loadconfig emulated_loadconfig
#define _tile_release() (configured = false)
#define _tile_loadd emulated_loadd
#define _tile_stream_loadd emulated_loadd
#define _tile_stored emulated_stored
#define _tile_zero emulated_zero
#define _tile_dpbusd emulated_tile_dpb<uint8_t>
#define _tile_dpbssd emulated_tile_dpb<int8_t>

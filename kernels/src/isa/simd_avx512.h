// Vectors of 16 floats in one AVX-512 register.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

// The tile of fp32, rows by vectors: 24 of 32 registers hold its sums.
constexpr int FLOAT_ROWS = 12, FLOAT_VECTORS = 2;

struct F {
    __m512 all;
};

inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x.all); }
inline F set(float x) { return {_mm512_set1_ps(x)}; }
inline F add(F a, F b) { return {_mm512_add_ps(a.all, b.all)}; }
inline F sub(F a, F b) { return {_mm512_sub_ps(a.all, b.all)}; }
inline F mul(F a, F b) { return {_mm512_mul_ps(a.all, b.all)}; }
inline F div(F a, F b) { return {_mm512_div_ps(a.all, b.all)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.all, b.all, c.all)}; }
inline F max(F a, F b) { return {_mm512_max_ps(a.all, b.all)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.all, b.all)}; }
inline F abs(F a) { return {_mm512_abs_ps(a.all)}; }
inline F raised(F x, F n) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(n.all), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.all), exponent))};
}
inline F difference(const int32_t* a, const int32_t* b) {
    return {_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(a), _mm512_loadu_si512(b)))};
}
inline F converted(const int32_t* p) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))}; }
inline __m256 upper(__m512 x) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)); }
inline float sum(F x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.all), upper(x.all));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(F x) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.all), upper(x.all));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
// 32-bit sums of integer products in one register.
struct Integers {
    using V = __m512i;
    static V load(const void* p) { return _mm512_loadu_si512(p); }
    static void store(int32_t* p, V x) { _mm512_storeu_si512(p, x); }
    static V all(int32_t x) { return _mm512_set1_epi32(x); }
};
inline void store_lowest(uint8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(x.all)));
}
inline void store_lowest(int16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_castps_si512(x.all)));
}

}  // namespace

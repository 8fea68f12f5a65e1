// Vectors of 16 floats in two AVX registers.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

// The tile of fp32, rows by vectors: 12 of 16 registers hold its sums.
constexpr int FLOAT_ROWS = 6, FLOAT_VECTORS = 1;

struct F {
    __m256 low, high;
};

inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F x) {
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
}
inline F set(float x) {
    const __m256 all = _mm256_set1_ps(x);
    return {all, all};
}
inline F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline F sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline F mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline F div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)}; }
inline F max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline F abs(F a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline __m256 raised(__m256 x, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
inline F raised(F x, F n) { return {raised(x.low, n.low), raised(x.high, n.high)}; }
inline __m256 difference8(const int32_t* a, const int32_t* b) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
    const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(x, y));
}
inline F difference(const int32_t* a, const int32_t* b) { return {difference8(a, b), difference8(a + 8, b + 8)}; }
inline __m256 converted8(const int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F converted(const int32_t* p) { return {converted8(p), converted8(p + 8)}; }
inline float sum(F x) {
    const __m256 eight = _mm256_add_ps(x.low, x.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(F x) {
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
// 32-bit sums of integer products in one register.
struct Integers {
    using V = __m256i;
    static V load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
    static void store(int32_t* p, V x) { _mm256_storeu_si256(reinterpret_cast<V*>(p), x); }
    static V all(int32_t x) { return _mm256_set1_epi32(x); }
};
template <int BITS>
inline __m256i lowest(F x) {
    const __m256i mask = _mm256_set1_epi32((1 << BITS) - 1);
    const __m256i low = _mm256_and_si256(_mm256_castps_si256(x.low), mask);
    const __m256i high = _mm256_and_si256(_mm256_castps_si256(x.high), mask);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);  // the pack works within halves
}
inline void store_lowest(int16_t* p, F x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lowest<16>(x)); }
inline void store_lowest(uint8_t* p, F x) {
    const __m256i words = lowest<8>(x);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

}  // namespace

// Vectors of 16 floats in plain C++: the arithmetic that the other instruction sets must match bit for bit.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace {

// The tile of fp32, rows by vectors.
constexpr int FLOAT_ROWS = 4, FLOAT_VECTORS = 1;

struct F {
    float lane[16];
};

template <class Op>
inline F each(Op op) {
    F result;
    for (int i = 0; i < 16; ++i) result.lane[i] = op(i);
    return result;
}

inline F load(const float* p) {
    return each([&](int i) { return p[i]; });
}
inline void store(float* p, F x) { memcpy(p, x.lane, sizeof x.lane); }
inline F set(float x) {
    return each([&](int) { return x; });
}
inline F add(F a, F b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F sub(F a, F b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F mul(F a, F b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F div(F a, F b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c, rounded once.
inline float fused(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
    return __builtin_fmaf(a, b, c);
#else
    // Not every C library's fmaf rounds once. The product of two floats is exact in a double; what the sum loses
    // (Knuth's TwoSum) makes its last bit odd, and so it is rounded to a float as the exact sum would be (Boldo and
    // Melquiond 2008).
    const double product = static_cast<double>(a) * b, sum = product + c;
    const double part = sum - product, lost = (product - (sum - part)) + (c - part);
    int64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((lost < 0 || lost > 0) && !(bits & 1)) bits += (lost > 0) == (sum > 0) ? 1 : -1;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return static_cast<float>(odd);
#endif
}
inline F fma(F a, F b, F c) {
    return each([&](int i) { return fused(a.lane[i], b.lane[i], c.lane[i]); });
}
inline F max(F a, F b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F min(F a, F b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline F abs(F a) {
    return each([&](int i) { return fabsf(a.lane[i]); });
}
inline F raised(F x, F n) {  // x * 2^n: n whole, after SHIFT was added; x and the result not subnormal
    return each([&](int i) {
        uint32_t bits, exponent;
        memcpy(&bits, &x.lane[i], sizeof bits);
        memcpy(&exponent, &n.lane[i], sizeof exponent);
        bits += exponent << 23;
        float result;
        memcpy(&result, &bits, sizeof result);
        return result;
    });
}
inline F difference(const int32_t* a, const int32_t* b) {
    return each([&](int i) { return static_cast<float>(a[i] - b[i]); });
}
inline F converted(const int32_t* p) {
    return each([&](int i) { return static_cast<float>(p[i]); });
}
inline float sum(F x) {
    for (int width = 8; width; width /= 2) {
        for (int i = 0; i < width; ++i) x.lane[i] += x.lane[i + width];
    }
    return x.lane[0];
}
inline float largest(F x) {
    for (int width = 8; width; width /= 2) {
        for (int i = 0; i < width; ++i) x.lane[i] = x.lane[i] > x.lane[i + width] ? x.lane[i] : x.lane[i + width];
    }
    return x.lane[0];
}
// The lowest bits of each: of a whole number to which SHIFT was added, that number.
inline void store_lowest(int16_t* p, F x) {
    uint32_t bits[16];
    memcpy(bits, x.lane, sizeof bits);
    for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(bits[i]);
}

}  // namespace

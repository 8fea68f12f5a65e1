// What happens to one row (token): RMS norm, quantisation, activation functions. Needs F. Sums are grouped by lanes of
// 16 and in one order, so that every instruction set gives the same bits.
#pragma once

#include <string.h>

#include "model.h"

namespace {

using namespace instructor;

constexpr float TINY = 1e-30f;  // as the exporter's: a row of zeros is quantised to zeros

inline float root(float x) { return __builtin_sqrtf(x); }

// A small number to which this was added is rounded to a whole one, ties to even, and lies in the lowest bits.
constexpr float SHIFT = 12582912.0f;  // 1.5 * 2^23
constexpr float LOG2_E = 1.44269504088896341f;

// e^x by Cephes' expf: a polynomial on |x| <= ln(2) / 2 and a power of two. x is clamped to where that is normal.
inline F exponential(F x) {
    x = max(min(x, set(88.0f)), set(-87.33f));
    const F shifted = add(mul(x, set(LOG2_E)), set(SHIFT)), n = sub(shifted, set(SHIFT));
    F r = fma(n, set(-0.693359375f), x);
    r = fma(n, set(2.12194440e-4f), r);
    F p = set(1.9875691500e-4f);
    p = fma(p, r, set(1.3981999507e-3f));
    p = fma(p, r, set(8.3334519073e-3f));
    p = fma(p, r, set(4.1665795894e-2f));
    p = fma(p, r, set(1.6666665459e-1f));
    p = fma(p, r, set(5.0000001201e-1f));
    return raised(add(fma(p, mul(r, r), r), set(1.0f)), shifted);
}

// 2^x, x <= 0, to 1e-7 of it: Chebyshev's best polynomial of degree 5 on |x| <= 1/2 (of degree 4, 3e-6, would do for
// weights of 15 bits; with outliers it cost 4e-4 of a cosine), and a power of two. 2^-100 is the least, so that no
// product with it is subnormal, which would be slow.
inline F power_of_two(F x) {
    x = max(x, set(-100.0f));
    const F shifted = add(x, set(SHIFT)), r = sub(x, sub(shifted, set(SHIFT)));
    F p = set(0.0013276459649205208f);
    p = fma(p, r, set(0.009675541892647743f));
    p = fma(p, r, set(0.05550713464617729f));
    p = fma(p, r, set(0.24022120237350464f));
    p = fma(p, r, set(0.6931469440460205f));
    p = fma(p, r, set(1.0000001192092896f));
    return raised(p, shifted);
}

// T5 v1.1's gelu_new, 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), as x / (1 + e^-2u).
inline F gelu(F x) {
    const F u = mul(fma(mul(mul(x, x), x), set(0.044715f), x), set(0.7978845608028654f));
    return div(x, add(set(1.0f), exponential(mul(u, set(-2.0f)))));
}

// A vector of which only the first `count` numbers are the row's; the rest is 0.
inline F load_part(const float* p, int64_t count) {
    float whole[LANES] = {};
    memcpy(whole, p, static_cast<size_t>(count) * sizeof(float));
    return load(whole);
}

// The first `count` numbers, or all of them.
inline void store_part(float* p, F x, int64_t count) {
    if (count >= LANES) return store(p, x);
    float whole[LANES];
    store(whole, x);
    memcpy(p, whole, static_cast<size_t>(count) * sizeof(float));
}

// out = x / sqrt(mean(x^2) + epsilon) * gain; rows of n numbers, zeros up to whole vectors.
inline void rms_norm(const float* x, const float* gain, int64_t n, float epsilon, float* out) {
    F squares = set(0.0f);
    for (int64_t i = 0; i < n; i += LANES) {
        const F v = load(x + i);
        squares = fma(v, v, squares);
    }
    const F factor = set(1.0f / root(sum(squares) / static_cast<float>(n) + epsilon));
    for (int64_t i = 0; i < n; i += LANES) store(out + i, mul(mul(load(x + i), factor), load(gain + i)));
}

// round(x * levels / max|x|) + zero, and the scale that turns it back; zeros up to `padded`, arranged for the tiles.
template <class Tiles>
inline float quantize_row(const float* x, int64_t n, int64_t padded, bool positive, typename Tiles::Activation* out) {
    const int64_t whole = n / LANES * LANES;
    const F rest = load_part(x + whole, n - whole);
    F highest[4] = {abs(rest), abs(rest), abs(rest), abs(rest)};  // one would wait for each of its maxima
    int64_t searched = 0;
    for (; searched + 4 * LANES <= whole; searched += 4 * LANES) {
        for (int i = 0; i < 4; ++i) highest[i] = max(highest[i], abs(load(x + searched + i * LANES)));
    }
    for (; searched < whole; searched += LANES) highest[0] = max(highest[0], abs(load(x + searched)));
    const float measured = largest(max(max(highest[0], highest[1]), max(highest[2], highest[3])));
    const float reach = measured > TINY ? measured : TINY;
    const float levels = positive ? 255.0f : 127.0f;
    // No number is further from 0 than `levels` and a rounding. SHIFT makes it whole; as zero points are even, ties go
    // where they went without.
    const F steps = set(levels / reach);
    const F shift = set(SHIFT + static_cast<float>(positive ? Tiles::ZERO_POSITIVE : Tiles::ZERO_SIGNED));
    const auto quantized = [&](F some) { return add(mul(some, steps), shift); };
    for (int64_t i = 0; i < whole; i += LANES) Tiles::put(out, i, quantized(load(x + i)));
    if (n > whole) Tiles::put(out, whole, quantized(rest));
    for (int64_t i = round_up(n, LANES); i < padded; i += LANES) Tiles::put(out, i, set(SHIFT));
    Tiles::arrange(out, padded);
    return reach * static_cast<float>(positive ? 1.0 / 255 : 1.0 / 127);
}

}  // namespace

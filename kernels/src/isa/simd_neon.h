// Vectors of 16 floats in four NEON registers.
#pragma once

#include <arm_neon.h>
#include <stdint.h>

namespace {

// The tile of fp32, rows by vectors: 24 of 32 registers hold its sums.
constexpr int FLOAT_ROWS = 6, FLOAT_VECTORS = 1;

struct F {
    float32x4_t part[4];
};

template <class Op>
inline F each(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
}

inline F load(const float* p) {
    return each([&](int i) { return vld1q_f32(p + 4 * i); });
}
inline void store(float* p, F x) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.part[i]);
}
inline F set(float x) {
    return each([&](int) { return vdupq_n_f32(x); });
}
inline F add(F a, F b) {
    return each([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
}
inline F sub(F a, F b) {
    return each([&](int i) { return vsubq_f32(a.part[i], b.part[i]); });
}
inline F mul(F a, F b) {
    return each([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
inline F div(F a, F b) {
    return each([&](int i) { return vdivq_f32(a.part[i], b.part[i]); });
}
inline F fma(F a, F b, F c) {
    return each([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
inline F max(F a, F b) {
    return each([&](int i) { return vmaxq_f32(a.part[i], b.part[i]); });
}
inline F min(F a, F b) {
    return each([&](int i) { return vminq_f32(a.part[i], b.part[i]); });
}
inline F abs(F a) {
    return each([&](int i) { return vabsq_f32(a.part[i]); });
}
inline F raised(F x, F n) {
    return each([&](int i) {
        const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(n.part[i]), 23);
        return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x.part[i]), exponent));
    });
}
inline F difference(const int32_t* a, const int32_t* b) {
    return each([&](int i) { return vcvtq_f32_s32(vsubq_s32(vld1q_s32(a + 4 * i), vld1q_s32(b + 4 * i))); });
}
inline F converted(const int32_t* p) {
    return each([&](int i) { return vcvtq_f32_s32(vld1q_s32(p + 4 * i)); });
}
inline float sum(F x) {
    const float32x4_t low = vaddq_f32(x.part[0], x.part[2]), high = vaddq_f32(x.part[1], x.part[3]);
    const float32x4_t four = vaddq_f32(low, high);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float largest(F x) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.part[0], x.part[1]), vmaxq_f32(x.part[2], x.part[3])));
}
inline int16x8_t lowest(F x, int half) {
    const int32x4_t low = vreinterpretq_s32_f32(x.part[2 * half]), high = vreinterpretq_s32_f32(x.part[2 * half + 1]);
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}
inline void store_lowest(int16_t* p, F x) {
    for (int half = 0; half < 2; ++half) vst1q_s16(p + 8 * half, lowest(x, half));
}
inline int8x8_t lowest_bytes(F x, int half) { return vmovn_s16(lowest(x, half)); }
inline void store_lowest(int8_t* p, F x) {
    for (int half = 0; half < 2; ++half) vst1_s8(p + 8 * half, lowest_bytes(x, half));
}
// Sums of words, of those of their bytes: high by high, high by low and low by high, low by low.
inline int32x4_t words(int32x4_t high, int32x4_t middle, int32x4_t low) {
    return vaddq_s32(vaddq_s32(vshlq_n_s32(high, 16), vshlq_n_s32(middle, 8)), low);
}

}  // namespace

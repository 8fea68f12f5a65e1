// Two numbers of each column at once, into 32 bits: AVX-512 with VNNI.
#pragma once

#include "simd_avx512.h"

namespace {

struct WordRegister {
    using V = __m512i;
    static constexpr int ROWS = 12, PANELS = 2;
    static V load(const int16_t* p) { return _mm512_loadu_si512(p); }
    static void store(int32_t* p, V x) { _mm512_storeu_si512(p, x); }
    static V all(int32_t x) { return _mm512_set1_epi32(x); }
    static V dot(V sums, V x, V w) { return _mm512_dpwssd_epi32(sums, x, w); }
};

}  // namespace

#include "words_x86.h"

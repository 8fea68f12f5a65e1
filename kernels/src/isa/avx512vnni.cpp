// AVX-512 with VNNI (Cascade Lake and later, Zen 4): registers twice as wide and twice as many as AVX-VNNI's.
#include "cpu.h"
#include "words_avx512.h"

namespace {

struct Register {
    using V = __m512i;
    static constexpr int ROWS = 12;
    static V load(const int8_t* p) { return _mm512_loadu_si512(p); }
    static void store(int32_t* p, V x) { _mm512_storeu_si512(p, x); }
    static V all(int32_t x) { return _mm512_set1_epi32(x); }
    static V dot(V sums, V x, V w) { return _mm512_dpbusd_epi32(sums, x, w); }
};

}  // namespace

#include "tile_vnni.h"

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx512vnni;
constexpr Isa isa_avx512vnni = make_isa("avx512vnni", missing_avx512vnni, 384);

}  // namespace instructor

// AVX-512 with VNNI (Cascade Lake and later, Zen 4): registers twice as wide and twice as many as AVX-VNNI's.
#include "cpu.h"
#include "simd_avx512.h"

namespace {

struct Register : Integers {
    static constexpr int ROWS = 12;
    static V dot(V sums, V x, V w) { return _mm512_dpbusd_epi32(sums, x, w); }
};

struct WordRegister : Integers {
    static constexpr int ROWS = 12, PANELS = 2;
    static V dot(V sums, V x, V w) { return _mm512_dpwssd_epi32(sums, x, w); }
};

}  // namespace

#include "tile_vnni.h"
#include "words_x86.h"

#include "encoder.h"

namespace instructor {

extern const Isa isa_avx512vnni;
constexpr Isa isa_avx512vnni = make_isa("avx512vnni", missing_avx512vnni, 384);

}  // namespace instructor

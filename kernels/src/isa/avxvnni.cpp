// AVX2 with AVX-VNNI (Alder Lake and later, Zen 5).
#include "cpu.h"
#include "simd_avx2.h"

namespace {

struct Register : Integers {
    static constexpr int ROWS = 6;
    static V dot(V sums, V x, V w) { return _mm256_dpbusd_avx_epi32(sums, x, w); }
};

struct WordRegister : Integers {
    static constexpr int ROWS = 6, PANELS = 1;
    static V dot(V sums, V x, V w) { return _mm256_dpwssd_avx_epi32(sums, x, w); }
};

}  // namespace

#include "tile_vnni.h"
#include "words_x86.h"

#include "encoder.h"

namespace instructor {

extern const Isa isa_avxvnni;
constexpr Isa isa_avxvnni = make_isa("avxvnni", missing_avxvnni, 256);

}  // namespace instructor

// AVX2 with AVX-VNNI (Alder Lake and later, Zen 5).
#include "cpu.h"
#include "simd_avx2.h"

namespace {

struct Register {
    using V = __m256i;
    static constexpr int ROWS = 6;
    static V load(const int8_t* p) { return _mm256_load_si256(reinterpret_cast<const V*>(p)); }
    static void store(int32_t* p, V x) { _mm256_store_si256(reinterpret_cast<V*>(p), x); }
    static V all(int32_t x) { return _mm256_set1_epi32(x); }
    static V dot(V sums, V x, V w) { return _mm256_dpbusd_avx_epi32(sums, x, w); }
};

struct WordRegister {
    using V = __m256i;
    static constexpr int ROWS = 6, PANELS = 1;
    static V load(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const V*>(p)); }
    static void store(int32_t* p, V x) { _mm256_storeu_si256(reinterpret_cast<V*>(p), x); }
    static V all(int32_t x) { return _mm256_set1_epi32(x); }
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

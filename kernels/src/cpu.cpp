#include "cpu.h"

#include <stddef.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <errno.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#endif

namespace instructor {

#if defined(__x86_64__)

namespace {

constexpr unsigned YMM = 0x6, ZMM = 0xE0, TILES = 0x60000;  // of XCR0

struct Registers {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers leaf(unsigned number, unsigned subleaf = 0) {
    Registers r;
    __get_cpuid_count(number, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}

bool has(unsigned bits, int bit) { return bits >> bit & 1; }

// The registers that the system saves (XCR0). Not __builtin_cpu_supports: that is a library's, and Zig brings none.
bool saves(unsigned states) {
    if (!has(leaf(1).ecx, 27)) return false;  // OSXSAVE: xgetbv is there
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
#if defined(__APPLE__)
    if (has(leaf(7).ebx, 16)) low |= ZMM;  // macOS saves AVX-512's from a thread's first use of them on
#endif
    return (low & states) == states;
}

}  // namespace

const char* missing_avx2() {
    const bool both = has(leaf(7).ebx, 5) && has(leaf(1).ecx, 12) && saves(YMM);
    return both ? nullptr : "the processor has no AVX2 and FMA";
}

const char* missing_avxvnni() {
    if (missing_avx2()) return missing_avx2();
    return has(leaf(7, 1).eax, 4) ? nullptr : "the processor has no AVX-VNNI";
}

const char* missing_avx512vnni() {
    if (missing_avx2()) return missing_avx2();
    const Registers r = leaf(7);
    return has(r.ebx, 16) && has(r.ebx, 30) && has(r.ebx, 31) && has(r.ecx, 11) && saves(ZMM)  // F, BW, VL, VNNI
               ? nullptr
               : "the processor has no AVX-512 with VNNI";
}

const char* missing_amx() {
#if defined(__linux__)
    constexpr long ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
    if (missing_avx512vnni()) return missing_avx512vnni();
    const unsigned edx = leaf(7).edx;
    if (!has(edx, 24) || !has(edx, 25)) return "the processor has no AMX";  // AMX-TILE, AMX-INT8
    if (!saves(TILES)) return "the system does not save AMX tiles";
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0) return nullptr;
    return errno == ENOSPC ? "Linux refused AMX tiles: a thread has an alternate signal stack too small for them"
                           : "Linux refused AMX tiles to this process";
#else
    return "AMX is used on Linux only";
#endif
}

#elif defined(__aarch64__)

namespace {

#if defined(__APPLE__)
bool feature(const char* name) {  // known from macOS 12 on
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value;
}
bool has_dotprod() { return feature("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return feature("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__linux__)
bool has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }  // HWCAP_ASIMDDP
bool has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }    // HWCAP2_I8MM
#elif defined(_WIN32)
// PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE; a Windows that does not know them
// says no.
bool has_dotprod() { return IsProcessorFeaturePresent(43) != 0; }
bool has_i8mm() { return IsProcessorFeaturePresent(66) != 0; }
#else
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

}  // namespace

const char* missing_dotprod() { return has_dotprod() ? nullptr : "the processor has no dot products"; }
const char* missing_i8mm() {
    if (missing_dotprod()) return missing_dotprod();
    return has_i8mm() ? nullptr : "the processor has no int8 matrix products";
}

#endif

int64_t second_level_cache() {
    constexpr int64_t USUAL = 512 * 1024;
    int64_t found = 0;
#if defined(__x86_64__)
    found = static_cast<int64_t>(leaf(0x80000006).ecx >> 16) * 1024;
#elif defined(_SC_LEVEL2_CACHE_SIZE)
    found = sysconf(_SC_LEVEL2_CACHE_SIZE);
#elif defined(__APPLE__)
    size_t size = sizeof found;
    if (sysctlbyname("hw.perflevel0.l2cachesize", &found, &size, nullptr, 0) != 0) found = 0;
#endif
    return found > 0 ? found : USUAL;
}

}  // namespace instructor

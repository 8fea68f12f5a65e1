#include "team.h"

#include <thread>

namespace instructor {

namespace {

constexpr int SPINS = 4000;  // some 50 us on x86, where a pause takes tens of cycles

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

uint32_t stage_of(uint64_t next) { return static_cast<uint32_t>(next >> 32); }

}  // namespace

int64_t Team::take(uint32_t stage, int64_t pieces) {
    uint64_t next = __atomic_load_n(&next_, __ATOMIC_ACQUIRE);
    while (stage_of(next) == stage && static_cast<int64_t>(next & 0xffffffff) < pieces) {
        if (__atomic_compare_exchange_n(&next_, &next, next + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            return static_cast<int64_t>(next & 0xffffffff);
        }
    }
    return -1;
}

void Team::finish(uint32_t stage, int64_t pieces) {
    if (__atomic_add_fetch(&finished_, 1, __ATOMIC_ACQ_REL) < pieces) return;
    __atomic_store_n(&finished_, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&next_, static_cast<uint64_t>(stage + 1) << 32, __ATOMIC_RELEASE);
}

void Team::wait(uint32_t stage) const {
    for (int spins = 0; stage_of(__atomic_load_n(&next_, __ATOMIC_ACQUIRE)) == stage; ++spins) {
        if (spins < SPINS) {
            pause();
        } else {
            std::this_thread::yield();
        }
    }
}

}  // namespace instructor

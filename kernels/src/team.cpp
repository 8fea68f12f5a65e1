#include "team.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace instructor {

namespace {

// A stage of a small model lasts some microseconds, to sleep and be woken costs some tens: worth spinning for, but not
// for longer than it costs, as a container's quota runs meanwhile.
constexpr std::chrono::microseconds SPINNING{50};
constexpr int PAUSES = 32;  // between two looks at the clock

void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");  // some tens of cycles, as x86's pause; `yield` is over at once
#endif
}

uint32_t stage_of(uint64_t next) { return static_cast<uint32_t>(next >> 32); }

}  // namespace

struct Team::Bed {
    std::mutex mutex;
    std::condition_variable morning;
    int sleepers = 0;
};

Team::Team(int size, int slots) : size_(size), slots_(slots), bed_(slots > 1 ? new Bed : nullptr) {}

Team::~Team() { delete bed_; }

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
    // In one order with a sleeper's note and its last look at the stage: it sees the new one, or is seen here.
    __atomic_store_n(&next_, static_cast<uint64_t>(stage + 1) << 32, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&bed_->sleepers, __ATOMIC_SEQ_CST) == 0) return;
    const std::lock_guard<std::mutex> lock(bed_->mutex);
    bed_->morning.notify_all();
}

void Team::wait(uint32_t stage) {
    const auto over = [&] { return stage_of(__atomic_load_n(&next_, __ATOMIC_SEQ_CST)) != stage; };
    const auto end = std::chrono::steady_clock::now() + SPINNING;
    do {
        for (int i = 0; i < PAUSES; ++i) {
            if (over()) return;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock<std::mutex> lock(bed_->mutex);
    __atomic_add_fetch(&bed_->sleepers, 1, __ATOMIC_SEQ_CST);
    bed_->morning.wait(lock, over);
    __atomic_sub_fetch(&bed_->sleepers, 1, __ATOMIC_SEQ_CST);
}

}  // namespace instructor

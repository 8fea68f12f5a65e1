#include "team.h"

#include <condition_variable>
#include <mutex>
#include <vector>

#include "threads.h"

namespace instructor {

namespace {

uint32_t stage_of(uint64_t next) { return static_cast<uint32_t>(next >> 32); }

}  // namespace

struct Team::Shared {
    // The stage that last took of a share and, in the lower half, how many pieces that has taken. Nobody resets it:
    // what an earlier stage took counts as nothing, and no share of a stage that is over still stands at an earlier
    // one.
    struct alignas(64) Share {
        uint64_t taken = 0;
    };

    explicit Shared(int size) : shares(size) {}

    std::vector<Share> shares;
    std::mutex bed;
    std::condition_variable morning;
    int sleepers = 0;
};

Team::Team(int size, int slots) : size_(size), slots_(slots), shared_(slots > 1 ? new Shared(size) : nullptr) {}

Team::~Team() { delete shared_; }

int64_t Team::take(uint32_t stage, int64_t pieces, int slot) {
    for (int i = 0; i < size_; ++i) {
        const int owner = (slot + i) % size_;
        const int64_t first = pieces * owner / size_, count = pieces * (owner + 1) / size_ - first;
        uint64_t* const word = &shared_->shares[owner].taken;
        uint64_t found = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        while (stage_of(found) <= stage) {
            const int64_t taken = stage_of(found) < stage ? 0 : static_cast<int64_t>(found & 0xffffffff);
            if (taken >= count) break;
            const uint64_t more = static_cast<uint64_t>(stage) << 32 | static_cast<uint64_t>(taken + 1);
            if (__atomic_compare_exchange_n(word, &found, more, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
                return first + taken;
            }
        }
    }
    return -1;
}

void Team::finish(uint32_t stage, int64_t pieces) {
    if (__atomic_add_fetch(&finished_, 1, __ATOMIC_ACQ_REL) < pieces) return;
    __atomic_store_n(&finished_, 0, __ATOMIC_RELAXED);
    // In one order with a sleeper's note and its last look at the stage: it sees the new one, or is seen here.
    __atomic_store_n(&stage_, stage + 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&shared_->sleepers, __ATOMIC_SEQ_CST) == 0) return;
    const std::lock_guard<std::mutex> lock(shared_->bed);
    shared_->morning.notify_all();
}

void Team::wait(uint32_t stage) {
    const auto over = [&] { return __atomic_load_n(&stage_, __ATOMIC_SEQ_CST) != stage; };
    if (spin_until(over)) return;  // a stage of a small model lasts some microseconds
    std::unique_lock<std::mutex> lock(shared_->bed);
    __atomic_add_fetch(&shared_->sleepers, 1, __ATOMIC_SEQ_CST);
    shared_->morning.wait(lock, over);
    __atomic_sub_fetch(&shared_->sleepers, 1, __ATOMIC_SEQ_CST);
}

}  // namespace instructor

// Threads that live as long as one call: nothing to wake, nothing that spins at rest, nothing that a fork leaves behind.
#pragma once

#include <system_error>
#include <thread>
#include <vector>

namespace instructor {

// work(member, members) on up to `threads` threads, this one among them; `work` must not throw.
// They inherit this thread's affinity. Where the system gives fewer threads, fewer do the work.
template <class Work>
void in_parallel(int threads, Work work) {
    if (threads <= 1) return work(0, 1);
    std::vector<std::thread> others;
    others.reserve(static_cast<size_t>(threads) - 1);
    // The count is known once all have started: each waits for it.
    int members = 0;
    const auto start = [&members, &work](int member) {
        int known;
        while ((known = __atomic_load_n(&members, __ATOMIC_ACQUIRE)) == 0) std::this_thread::yield();
        work(member, known);
    };
    try {
        for (int member = 1; member < threads; ++member) others.emplace_back(start, member);
    } catch (const std::system_error&) {  // no more threads to be had
    }
    const int started = static_cast<int>(others.size()) + 1;
    __atomic_store_n(&members, started, __ATOMIC_RELEASE);
    work(0, started);
    for (std::thread& thread : others) thread.join();
}

}  // namespace instructor

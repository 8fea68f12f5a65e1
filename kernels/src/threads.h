// Threads for one call: nothing to wake, nothing that spins at rest, nothing that a fork leaves behind.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace instructor {

// work(member) on up to `threads` threads, this one (member 0) among them; `work` must not throw.
// They inherit this thread's affinity. `work` has to get done by those who come: where the system gives fewer threads,
// fewer do it, and one that comes when this one has finished goes home, without being waited for.
template <class Work>
void in_parallel(int threads, Work work) {
    struct Call {
        std::mutex mutex;
        std::condition_variable left;
        int inside = 0;
        bool over = false;
    };
    const auto call = std::make_shared<Call>();  // outlives this function where a thread comes late
    try {
        for (int member = 1; member < threads; ++member) {
            std::thread([call, &work, member] {
                {
                    const std::lock_guard<std::mutex> lock(call->mutex);
                    if (call->over) return;
                    ++call->inside;
                }
                work(member);
                const std::lock_guard<std::mutex> lock(call->mutex);
                if (--call->inside == 0) call->left.notify_one();
            }).detach();
        }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no more threads, or no memory for one, to be had
    }
    work(0);
    std::unique_lock<std::mutex> lock(call->mutex);
    call->over = true;
    call->left.wait(lock, [&] { return call->inside == 0; });
}

}  // namespace instructor

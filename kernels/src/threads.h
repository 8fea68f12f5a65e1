// Threads for one call: nothing to wake, nothing that spins at rest, nothing that a fork leaves behind.
#pragma once

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace instructor {

// The processors that the calling thread may use but the one it is on: where the threads of its call belong. Systems
// that pack threads together, so that other processors can sleep, leave a new one where its creator runs: with nothing
// to do for milliseconds, which is as long as a query takes.
class Elsewhere {
public:
#if defined(__linux__)
    Elsewhere() {
        const int here = sched_getcpu();
        if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof others_, &others_) != 0) return;
        CPU_CLR(here, &others_);
        exists_ = CPU_COUNT(&others_) > 0;
    }
    // A thread that may have ended would be taken for the calling one.
    void send(std::thread& living) const {
        if (exists_) pthread_setaffinity_np(living.native_handle(), sizeof others_, &others_);
    }

private:
    cpu_set_t others_;
    bool exists_ = false;
#else
    void send(std::thread&) const {}
#endif
};

// work(member) on up to `threads` threads, this one (member 0) among them; `work` must not throw.
// They keep within this thread's affinity. `work` has to get done by those who come: where the system gives fewer
// threads, fewer do it, and one that comes when this one has finished goes home, without being waited for.
template <class Work>
void in_parallel(int threads, Work work) {
    struct Call {
        std::mutex mutex;
        std::condition_variable left;
        int inside = 0;
        bool over = false;
    };
    const auto call = std::make_shared<Call>();  // outlives this function where a thread comes late
    const Elsewhere elsewhere;
    try {
        for (int member = 1; member < threads; ++member) {
            const std::lock_guard<std::mutex> until_sent(call->mutex);
            std::thread thread([call, &work, member] {
                {
                    const std::lock_guard<std::mutex> lock(call->mutex);
                    if (call->over) return;
                    ++call->inside;
                }
                work(member);
                const std::lock_guard<std::mutex> lock(call->mutex);
                if (--call->inside == 0) call->left.notify_one();
            });
            elsewhere.send(thread);
            thread.detach();
        }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no more threads, or no memory for one, to be had
    }
    work(0);
    std::unique_lock<std::mutex> lock(call->mutex);
    call->over = true;
    call->left.wait(lock, [&] { return call->inside == 0; });
}

}  // namespace instructor

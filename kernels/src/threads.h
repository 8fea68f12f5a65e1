// Threads for one call: nothing to wake, nothing that spins at rest, nothing that a fork leaves behind.
#pragma once

#include <atomic>
#include <chrono>
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

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");  // some tens of cycles, as x86's pause; `yield` is over at once
#endif
}

// Whether over() came true within the time for which waiting awake is cheaper than to sleep and be woken, which costs
// some tens of microseconds. No longer, as a container's quota runs meanwhile.
template <class Over>
bool spin_until(Over over) {
    constexpr std::chrono::microseconds SPINNING{50};
    constexpr int PAUSES = 32;  // between two looks at the clock
    const auto end = std::chrono::steady_clock::now() + SPINNING;
    do {
        for (int i = 0; i < PAUSES; ++i) {
            if (over()) return true;
            pause();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

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
    if (threads <= 1) return work(0);
    constexpr int OVER = 1 << 30;  // added to `inside` by the caller, when it has done its part
    struct Call {
        std::mutex mutex;
        std::condition_variable left;
        std::atomic<int> inside{0};
    };
    const auto call = std::make_shared<Call>();  // outlives this function where a thread comes late
    const Elsewhere elsewhere;
    try {
        for (int member = 1; member < threads; ++member) {
            const std::lock_guard<std::mutex> until_sent(call->mutex);
            std::thread thread([call, &work, member] {
                {
                    const std::lock_guard<std::mutex> sent(call->mutex);
                }
                int inside = call->inside;
                do {
                    if (inside >= OVER) return;
                } while (!call->inside.compare_exchange_weak(inside, inside + 1));
                work(member);
                if (--call->inside != OVER) return;
                const std::lock_guard<std::mutex> lock(call->mutex);  // the caller sleeps, or has not begun to look
                call->left.notify_one();
            });
            elsewhere.send(thread);
            thread.detach();
        }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no more threads, or no memory for one, to be had
    }
    work(0);
    call->inside += OVER;
    const auto alone = [&] { return call->inside == OVER; };
    if (spin_until(alone)) return;
    std::unique_lock<std::mutex> lock(call->mutex);
    call->left.wait(lock, alone);
}

}  // namespace instructor

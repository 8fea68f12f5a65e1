#include "this_machine.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "dispatch.h"
#include "team.h"
#include "threads.h"

using namespace instructor;

extern "C" int64_t __real__ZN10instructor4Team4takeEjli(Team* team, uint32_t stage, int64_t pieces, int slot);

namespace {

std::atomic<int> phase{0};

// Seconds from one core's write to the other's, there and back being two of them.
double measure_line() {
    constexpr int TURNS = 1000;
    double least = 1e9;
    for (int round = 0; round < 30; ++round) {
        phase = 0;
        std::thread other([] {
            for (int i = 0; i < TURNS; ++i) {
                while (phase.load() != 2 * i + 1) {
                }
                phase.store(2 * i + 2);
            }
        });
        const auto begin = Clock::now();
        for (int i = 0; i < TURNS; ++i) {
            while (phase.load() != 2 * i) {
            }
            phase.store(2 * i + 1);
        }
        other.join();
        least = std::min(least, since(begin) / (2.0 * TURNS));
    }
    return least;
}

// Bytes a second of what the other core has just written, by lines of which many are under way.
double measure_sharing() {
    constexpr int64_t BYTES = 256 << 10, ROUNDS = 200;
    std::vector<int64_t> data(BYTES / 8);
    double least = 1e9;
    phase = 0;
    std::thread other([&] {
        for (int i = 0; i < ROUNDS; ++i) {
            while (phase.load() != 2 * i) {
            }
            for (int64_t& value : data) value += i;
            phase.store(2 * i + 1);
        }
    });
    volatile int64_t sink = 0;
    for (int i = 0; i < ROUNDS; ++i) {
        while (phase.load() != 2 * i + 1) {
        }
        const auto begin = Clock::now();
        sink = sink + std::accumulate(data.begin(), data.end(), int64_t{0});
        least = std::min(least, since(begin));
        phase.store(2 * i + 2);
    }
    other.join();
    return BYTES / least;
}

// Seconds for each share that a member looks at in vain, each last written by another core.
double measure_scan() {
    constexpr int SIZE = 128, ROUNDS = 200;
    Team team(SIZE, SIZE);
    double least = 1e9;
    phase = 0;
    std::thread other([&] {
        for (int i = 0; i < ROUNDS; ++i) {
            while (phase.load() != 2 * i) {
            }
            for (int slot = 0; slot < SIZE; ++slot) {
                __real__ZN10instructor4Team4takeEjli(&team, static_cast<uint32_t>(i), SIZE, slot);
            }
            phase.store(2 * i + 1);
        }
    });
    for (int i = 0; i < ROUNDS; ++i) {
        while (phase.load() != 2 * i + 1) {
        }
        const auto begin = Clock::now();
        __real__ZN10instructor4Team4takeEjli(&team, static_cast<uint32_t>(i), SIZE, 0);
        least = std::min(least, since(begin) / SIZE);
        phase.store(2 * i + 2);
    }
    other.join();
    return least;
}

// What in_parallel spends: to start a thread, until it runs, and from the last work's end to the return.
void measure_start(double& start, double& late, double& end) {
    std::vector<double> starts, lates, ends;
    for (int round = 0; round < 200; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        const auto begin = Clock::now();
        double own = 0, other = 0, done[2] = {0, 0};
        in_parallel(2, [&](int member) {
            (member == 0 ? own : other) = since(begin);
            while (since(begin) < 300e-6) {
            }
            done[member] = since(begin);
        });
        ends.push_back(since(begin) - std::max(done[0], done[1]));
        starts.push_back(own);
        if (other > 0) lates.push_back(std::max(0.0, other - own));
    }
    start = tenth(starts), late = lates.empty() ? 0 : tenth(lates), end = tenth(ends);
}

double measure_wake() {
    std::vector<double> taken;
    for (int round = 0; round < 100; ++round) {
        std::mutex mutex;
        std::condition_variable morning;
        bool up = false;
        Clock::time_point called;
        double woke = 0;
        std::thread sleeper([&] {
            std::unique_lock<std::mutex> lock(mutex);
            morning.wait(lock, [&] { return up; });
            woke = since(called);
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        {
            const std::lock_guard<std::mutex> lock(mutex);
            up = true;
            called = Clock::now();
            morning.notify_all();
        }
        sleeper.join();
        taken.push_back(woke);
    }
    return tenth(taken);
}

// Bytes a second that so many threads read of the model's weights together, brought ahead as the tiles do.
double measure_bandwidth(const Model& model, int threads) {
    std::vector<std::pair<const char*, int64_t>> parts;
    int64_t total = 0;
    for (int32_t i = 0; i < model.config.num_layers; ++i) {
        const Layer& layer = model.layers[i];
        for (const Product* p : {&layer.qkv, &layer.o, &layer.wi, &layer.wo}) {
            parts.emplace_back(reinterpret_cast<const char*>(p->panels), p->k_padded * p->n_padded);
            total += p->k_padded * p->n_padded;
        }
    }
    std::vector<double> taken;
    for (int round = 0; round < 41; ++round) {
        std::atomic<int> came{0};
        const auto begin = Clock::now();
        in_parallel(threads, [&](int member) {
            ++came;
            using Vector = int64_t __attribute__((vector_size(16)));
            Vector sums[4] = {};
            for (const auto& [at, bytes] : parts) {
                const int64_t first = bytes / threads * member, last = bytes / threads * (member + 1);
                for (int64_t i = first; i < last; i += 64) {
                    __builtin_prefetch(at + i + 8192, 0, 2);
                    const auto* line = reinterpret_cast<const Vector*>(at + i);
                    for (int k = 0; k < 4; ++k) sums[k] += line[k];
                }
            }
            volatile int64_t sink = sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
            (void)sink;
        });
        const double seconds = since(begin);
        if (came == threads || round == 0) taken.push_back(seconds);
    }
    return static_cast<double>(total) / tenth(taken);
}

}  // namespace

void print_this_machine(const Model& model) {
    double start = 0, late = 0, end = 0;
    measure_start(start, late, end);
    std::printf(
        "{\"rate\": %g, \"core_bandwidth\": %g, \"cluster_bandwidth\": %g, \"share_bandwidth\": %g, "
        "\"line\": %g, \"scan\": %g, \"start\": %g, \"late\": %g, \"end\": %g, \"wake\": %g}\n",
        model.rate, measure_bandwidth(model, 1), measure_bandwidth(model, 2), measure_sharing(), measure_line(),
        measure_scan(), start, late, end, measure_wake());
}

#include "run.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <queue>

#include "owned_model.h"
#include "threads.h"

namespace instructor {

namespace {

constexpr double LONG_ENOUGH = 100e-6;             // seconds, for a clock and for what the first repeats cost
constexpr int STARTS = 7;                          // of threads: some happen to take long
constexpr std::chrono::microseconds BETWEEN{300};  // starts: a processor that has just been left is woken sooner
constexpr double TOO_LATE = 250e-6;  // seconds; where there is no processor for a thread now, it is not waited for

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Threads that get `multiplications` done soonest. t of them take T / t + t * own + late, the work shared and each
// started by the same caller, one after the other: least at the root of T / own, if not on the caller alone.
int worth_starting(const Model& model, double multiplications, int threads) {
    const double alone = multiplications / model.rate;
    const int most = static_cast<int>(std::max(1.0, std::min<double>(threads, std::sqrt(alone / model.start.own))));
    return alone / most + most * model.start.own + model.start.late < alone ? most : 1;
}

double cost(const Model& model, int64_t length) {
    const ik_config& c = model.config;
    const double inner = static_cast<double>(c.num_heads) * c.d_kv, d = c.d_model;
    const double products = 4 * d * inner + (c.gated ? 3 : 2) * d * c.d_ff;
    // attention multiplies in fp32, at half the speed of AVX2's products (a quarter of VNNI's)
    return static_cast<double>(length) * c.num_layers * (products + 4 * inner * static_cast<double>(length));
}

struct Plan {
    std::vector<Text> texts;  // of the units, one after another
    std::vector<Unit> units;  // biggest first
};

// Whole texts into units of like cost: as many as fit a core's cache, and a multiple of the threads where there are
// texts enough. The longest text goes first, each into the unit with the least to do.
Plan plan_units(const Model& model, std::vector<Text> texts, int threads) {
    std::stable_sort(texts.begin(), texts.end(), [](const Text& a, const Text& b) { return a.length > b.length; });
    int64_t rows = 0;
    for (const Text& text : texts) rows += text.length;
    int64_t wanted = std::max<int64_t>(1, (rows + model.kernel->unit_rows - 1) / model.kernel->unit_rows);
    wanted = std::min<int64_t>(round_up(wanted, threads), static_cast<int64_t>(texts.size()));

    using Load = std::pair<double, int64_t>;  // of a unit
    std::priority_queue<Load, std::vector<Load>, std::greater<Load>> least;
    for (int64_t unit = 0; unit < wanted; ++unit) least.emplace(0.0, unit);
    std::vector<std::vector<Text>> chosen(static_cast<size_t>(wanted));
    std::vector<double> costs(static_cast<size_t>(wanted));
    for (const Text& text : texts) {
        const auto [load, unit] = least.top();
        least.pop();
        chosen[unit].push_back(text);
        costs[unit] = load + cost(model, text.length);
        least.emplace(costs[unit], unit);
    }
    std::vector<size_t> order(chosen.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });

    Plan plan;
    plan.texts.reserve(texts.size());  // units point into it
    for (size_t index : order) {
        Unit unit{plan.texts.data() + plan.texts.size(), static_cast<int64_t>(chosen[index].size()), 0, 0};
        for (const Text& text : chosen[index]) {
            plan.texts.push_back(text);
            unit.rows += text.length;
            unit.longest = std::max(unit.longest, text.length);
        }
        plan.units.push_back(unit);
    }
    return plan;
}

// The team that a member begins with, and how many begin with it.
int team_of(int threads, int teams, int member) { return member * teams / threads; }
int team_size(int threads, int teams, int team) {
    int size = 0;
    for (int member = 0; member < threads; ++member) size += team_of(threads, teams, member) == team;
    return size;
}

}  // namespace

double measure_rate(const Kernel& kernel) {
    for (int64_t repeats = 1;; repeats *= 4) {
        const auto begin = std::chrono::steady_clock::now();
        const int64_t multiplications = kernel.peak(repeats);
        const double spent = seconds_since(begin);
        if (spent > LONG_ENOUGH) return static_cast<double>(multiplications) / spent;
    }
}

Start measure_start() {
    std::array<double, STARTS> own{}, late{};
    for (int i = 0; i < STARTS; ++i) {
        std::this_thread::sleep_for(BETWEEN);
        const auto begin = std::chrono::steady_clock::now();
        std::atomic<double> came{0};
        in_parallel(2, [&](int member) {
            if (member != 0) return came.store(seconds_since(begin));
            own[i] = seconds_since(begin);
            while (came == 0 && seconds_since(begin) < TOO_LATE) pause();
        });
        late[i] = came == 0 ? TOO_LATE : std::max(0.0, came - own[i]);
    }
    std::sort(own.begin(), own.end());
    std::sort(late.begin(), late.end());
    // A thread that comes late holds nobody up, one that is never started helps nobody for as long as the model lives:
    // not the median, as most are late where a virtual machine's other processors were asleep, or taken for a while.
    return {own[STARTS / 2], late[STARTS / 4]};
}

void run(const Model& model, std::vector<Text> texts, int threads) {
    double total = 0;
    for (const Text& text : texts) total += cost(model, text.length);
    threads = worth_starting(model, total, threads);
    const Plan plan = plan_units(model, std::move(texts), threads);

    // The biggest units, those left over when every thread has as many of its own as the others, go to teams. A thread
    // begins with its own team and then helps the others.
    const int units = static_cast<int>(plan.units.size()), shared = units % threads;
    std::vector<std::unique_ptr<Team>> teams(shared);
    for (int i = 0; i < shared; ++i) teams[i] = std::make_unique<Team>(team_size(threads, shared, i), threads);

    int64_t alone_bytes = 0;
    for (int i = shared; i < units; ++i) {
        alone_bytes = std::max(alone_bytes, model.kernel->workspace_bytes(model, plan.units[i], 1));
    }
    int64_t bytes = 0;
    std::vector<int64_t> begins;
    for (int i = 0; i < threads; ++i) {
        const int64_t own = i < shared ? model.kernel->workspace_bytes(model, plan.units[i], threads) : 0;
        begins.push_back(bytes);
        bytes += round_up(std::max(own, alone_bytes), 64);
    }
    std::unique_ptr<Block> block = model.workspaces->take(bytes);
    const auto workspace = [&](int member) { return block->begin + begins[member]; };

    std::atomic<int> next{shared};
    in_parallel(threads, [&](int member) {
        for (int i = 0; i < shared; ++i) {
            const int team = (team_of(threads, shared, member) + i) % shared;
            model.kernel->encode(model, plan.units[team], workspace(team), *teams[team], member);
        }
        Team alone(1, 1);  // all shared units are done: their workspaces are free
        for (int i; (i = next.fetch_add(1)) < units;) {
            model.kernel->encode(model, plan.units[i], workspace(member), alone, 0);
        }
    });
    model.workspaces->leave(std::move(block));
}

}  // namespace instructor

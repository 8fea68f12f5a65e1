// The kernels' own schedule on cores that are not there. run.cpp's plan, encoder.h's stages and team.cpp's rules are
// the real ones, called as always; but their members are fibers on one thread, and the clock is this program's: a piece
// takes what it took when it was measured, memory and other cores what the request says. Three ways to run:
//   real      threads and time as they are, for comparison
//   measure   one member does every piece of every team, once with weights from memory, then with weights at hand
//   play      no piece is computed: its cost passes
// Requests come line by line on stdin; each is answered with a line of JSON. benchmarks/cores/__main__.py asks.
#include <time.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "owned_model.h"
#include "random_model.h"
#include "run.h"
#include "this_machine.h"
#include "threads.h"

namespace instructor {
template <class Work>
void in_simulated(int threads, Work work);
}

// run.cpp once more, beside the real one, with threads that are not real.
#define in_parallel in_simulated
#define measure_rate measure_rate_again
#define measure_start measure_start_again
#define run run_simulated
#include "run.cpp"
#undef in_parallel
#undef measure_rate
#undef measure_start
#undef run

using namespace instructor;

namespace {

// Others use the machine too. A run counts where its threads had their cores to themselves, as its processor time
// tells: they spin where they wait.
constexpr double QUIET = 0.95;

double median(std::vector<float> values) {
    const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

double processor_seconds() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// What a request says of the machine; seconds, bytes, bytes a second. The names are those of the request.
struct Machine {
    double sockets = 1, cluster = 8;  // cluster: cores that share a way to memory
    double core_bandwidth = 1e12;     // of memory, one core alone
    double cluster_bandwidth = 1e12, socket_bandwidth = 1e12, link_bandwidth = 1e12;  // link: between sockets
    double remote = 0.5;            // of the weights lie in the other sockets' memory
    double cache = 0;               // of a core, for weights that it had in the call before
    double share_bandwidth = 1e12;  // of activations that another core has written
    double line = 0, far_line = 0;  // a cache line from another core, of this socket and of another
    double scan = 0, far_scan = 0;  // the same, of many that do not wait for each other
    double start = 0, late = 0,
           end = 0;  // a thread's: what the caller spends on it, when it runs after that, and its goodbye
    double wake = 0, patience = 50e-6;  // of one that has waited for so long that it sleeps
};

enum class Mode { REAL, MEASURE, PLAY } mode = Mode::REAL;
Machine machine;
Model model;  // as loaded, with an encode of ours

// ---- What a unit's stages read, in the order of encoder.h ----

struct Stage {
    const char* name;
    int64_t weights;     // bytes of all pieces together
    int64_t whole;       // of activations that each member reads
    int64_t divided;     // of those that each piece reads its part of
    const void* panels;  // where the weights lie: a cache that holds a part of them knows it by this
};

std::vector<Stage> stages_of(const Unit& unit) {
    const ik_config& c = model.config;
    const int64_t rows = unit.rows, d = c.d_model, inner = int64_t{c.num_heads} * c.d_kv, size = sizeof(float);
    std::vector<Stage> stages{{"embed", 0, 0, 0, nullptr}};
    const auto bytes = [](const Product& p) { return p.k_padded * p.n_padded; };
    for (int32_t i = 0; i < c.num_layers; ++i) {
        const Layer& layer = model.layers[i];
        stages.push_back({"norm", 0, 0, rows * d * size, nullptr});
        stages.push_back({"qkv", bytes(layer.qkv), rows * d, 0, layer.qkv.panels});
        stages.push_back({"attention", 0, 0, rows * 3 * inner * size, nullptr});
        stages.push_back({"quantise", 0, 0, rows * inner * size, nullptr});
        stages.push_back({"o", bytes(layer.o), rows * inner, rows * d * size, layer.o.panels});
        stages.push_back({"norm", 0, 0, rows * d * size, nullptr});
        for (int64_t first = 0; first < rows; first += FEED_FORWARD_ROWS) {
            const int64_t count = std::min(FEED_FORWARD_ROWS, rows - first);
            stages.push_back({"wi", bytes(layer.wi) * (1 + c.gated), count * d, 0, layer.wi.panels});
            stages.push_back({"quantise inner", 0, 0, count * c.d_ff * size, nullptr});
            stages.push_back({"wo", bytes(layer.wo), count * c.d_ff, count * d * size, layer.wo.panels});
        }
    }
    stages.push_back({"norm", 0, 0, rows * d * size, nullptr});
    stages.push_back({"pool", 0, 0, rows * d * size, nullptr});
    if (c.dense) stages.push_back({"dense", model.embedding_padded * d * size, unit.count * d * size, 0, model.dense});
    stages.push_back({"normalise", 0, 0, unit.count * c.embedding_dim * size, nullptr});
    return stages;
}

// ---- What each piece took, of each unit, for each size of a team ----

struct Samples {
    std::vector<float> taken;
    // Of all, as a whole run's is compared with: medians add up to a run's, the fastest tenths to less than any takes.
    double median = 0;
};
struct Piece {
    Samples from_memory, at_hand;  // weights from memory, brought ahead as far as the tiles do; weights at hand
};
struct Costs {
    std::vector<std::vector<Piece>> pieces;  // [stage][piece]
};

std::map<std::string, Costs> known;
std::vector<Costs*> fresh;  // measured by this call
constexpr int REPEATS = 2;  // after the first

std::string key_of(const Unit& unit, int size) {
    std::string key = std::to_string(size);
    for (int64_t t = 0; t < unit.count; ++t) key += " " + std::to_string(unit.texts[t].length);
    return key;
}

struct Measured {
    Costs* costs = nullptr;
    int64_t piece = -1;
    int repeats = 0;
    Clock::time_point begin;
} measured;

// ---- Members as fibers, in the order of their own clocks ----

struct Fiber {
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    double now = 0;
    int member = 0;
    bool waiting = false, done = false;
    // a core's cache: parts of weights, the last used first
    std::list<std::pair<const void*, int64_t>> order;
    std::map<std::pair<const void*, int64_t>, std::pair<decltype(order)::iterator, int64_t>> held;
    int64_t held_bytes = 0;
};

struct Shared {  // what is simulated of a team
    Costs* costs;
    std::vector<Stage> stages;
    uint32_t stage = 0;
    int64_t finished = 0;
    double line_free = 0;  // the counter of finished pieces: one member at a time
    int line_socket = 0;
    std::vector<double> ends;
    std::vector<Fiber*> waiting;
    std::map<std::pair<int, uint32_t>, bool> read;  // a member's stage, whose activations it has read
};

constexpr size_t STACK = 256 << 10;
std::vector<std::unique_ptr<Fiber>> fibers;  // those of a call
std::vector<std::unique_ptr<Fiber>> before;  // those of the call before: what their caches hold
Fiber* current = nullptr;
ucontext_t scheduler;
std::function<void()> fiber_work;
std::map<const Team*, Shared> teams;
double ended = 0;
std::map<std::string, double> spent;  // of member 0 by stage, and what it waited
struct Channel {
    double free = 0;
};
std::vector<Channel> clusters, sockets;
Channel between;

int socket_of(int member) {
    return static_cast<int>(member * static_cast<int64_t>(machine.sockets) / static_cast<int64_t>(fibers.size()));
}

Fiber* earliest() {
    Fiber* first = nullptr;
    for (const auto& fiber : fibers) {
        if (!fiber->done && !fiber->waiting && (!first || fiber->now < first->now)) first = fiber.get();
    }
    return first;
}

void turn() {  // until nobody is earlier
    if (earliest() == current) return;
    swapcontext(&current->context, &scheduler);
}

void fiber_main() {
    fiber_work();
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

double streamed(int64_t bytes) {  // when they are there
    const double now = current->now, size = static_cast<double>(bytes);
    double end = now + size / machine.core_bandwidth;
    const auto reserve = [&](Channel& channel, double amount, double bandwidth) {
        channel.free = std::max(channel.free, now) + amount / bandwidth;
        end = std::max(end, channel.free);
    };
    const int socket = socket_of(current->member);
    reserve(clusters[current->member / static_cast<int64_t>(machine.cluster)], size, machine.cluster_bandwidth);
    const double away = machine.sockets > 1 ? machine.remote : 0;
    if (away > 0) {
        reserve(between, size * away, machine.link_bandwidth);
        for (int other = 0; other < static_cast<int>(machine.sockets); ++other) {
            const double part = other == socket ? 1 - away : away / (machine.sockets - 1);
            reserve(sockets[other], size * part, machine.socket_bandwidth);
        }
    } else {
        reserve(sockets[socket], size, machine.socket_bandwidth);
    }
    return end;
}

// Whether this core's cache still has a part of some weights; it has it now.
bool cached(const void* part, int64_t bytes, int64_t index) {
    const std::pair<const void*, int64_t> key{part, index};
    const auto found = current->held.find(key);
    const bool hit = found != current->held.end();
    if (hit) {
        current->order.erase(found->second.first);
        current->held_bytes -= found->second.second;
        current->held.erase(found);
    }
    if (static_cast<double>(bytes) > machine.cache) return false;
    current->order.push_front(key);
    current->held[key] = {current->order.begin(), bytes};
    current->held_bytes += bytes;
    while (static_cast<double>(current->held_bytes) > machine.cache) {
        const auto last = current->held.find(current->order.back());
        current->held_bytes -= last->second.second;
        current->held.erase(last);
        current->order.pop_back();
    }
    return hit;
}

void work_on(Shared& shared, const Team& team, uint32_t stage, int64_t piece, int64_t pieces) {
    const Stage& what = shared.stages.at(stage);
    const double begin = current->now;
    const Piece& costs = shared.costs->pieces.at(stage).at(piece);
    double end = begin + costs.at_hand.median;
    if (what.weights > 0) {
        const int64_t bytes = what.weights / pieces;
        // a piece of one cut is not one of another
        if (!cached(what.panels, bytes, piece * 100003 + pieces)) {
            end = std::max(begin + costs.from_memory.median, streamed(bytes));
        }
    }
    if (team.size() > 1) {
        bool& read = shared.read[{current->member, stage}];
        const int64_t bytes = (read ? 0 : what.whole) + what.divided / pieces;
        read = true;
        end += static_cast<double>(bytes) / machine.share_bandwidth;
    }
    current->now = end;
    if (current->member == 0) spent[what.name] += end - begin;
}

void finish_one(Shared& shared, const Team& team, uint32_t stage, int64_t pieces) {
    turn();
    if (team.size() > 1) {
        const int socket = socket_of(current->member);
        const double cost = socket == shared.line_socket ? machine.line : machine.far_line;
        shared.line_free = std::max(shared.line_free, current->now) + cost;
        shared.line_socket = socket;
        current->now = shared.line_free;
    }
    if (++shared.finished < pieces) return;
    shared.finished = 0;
    shared.stage = stage + 1;
    shared.ends.resize(stage + 1, 0);
    shared.ends[stage] = current->now;
    for (Fiber* fiber : shared.waiting) {
        const double slept = shared.ends[stage] - fiber->now > machine.patience ? machine.wake : 0;
        const double seen = socket_of(fiber->member) == socket_of(current->member) ? machine.line : machine.far_line;
        if (fiber->member == 0) spent["waiting"] += shared.ends[stage] - fiber->now + seen + slept;
        fiber->now = shared.ends[stage] + seen + slept;
        fiber->waiting = false;
    }
    shared.waiting.clear();
}

}  // namespace

// ---- Between the kernels and their Team ----

#define TEAM(name, rest) _ZN10instructor4Team##name##rest

extern "C" {

int64_t __real__ZN10instructor4Team4takeEjli(Team* team, uint32_t stage, int64_t pieces, int slot);
void __real__ZN10instructor4Team6finishEjl(Team* team, uint32_t stage, int64_t pieces);
void __real__ZN10instructor4Team4waitEj(Team* team, uint32_t stage);

int64_t __wrap__ZN10instructor4Team4takeEjli(Team* team, uint32_t stage, int64_t pieces, int slot) {
    if (mode == Mode::REAL) return __real__ZN10instructor4Team4takeEjli(team, stage, pieces, slot);
    if (mode == Mode::MEASURE) {
        if (measured.repeats > 0) {
            --measured.repeats;
        } else {
            measured.piece = __real__ZN10instructor4Team4takeEjli(team, stage, pieces, slot);
            measured.repeats = REPEATS;
            if (measured.piece < 0) measured.repeats = 0;
        }
        measured.begin = Clock::now();
        return measured.piece;
    }
    Shared& shared = teams.at(team);
    for (;;) {  // play: what Member::share does between take and take
        turn();
        const int64_t piece = __real__ZN10instructor4Team4takeEjli(team, stage, pieces, slot);
        const int size = team->size();
        if (size > 1) {  // a share's line was looked at by others or is another's; they come one beside another
            int64_t looked = size;
            if (piece >= 0) {
                const auto owner = static_cast<int64_t>(piece < 0 ? 0 : ((piece + 1) * size - 1) / pieces);
                looked = 1 + (owner - slot % size + size) % size;
            }
            const bool far = machine.sockets > 1;
            current->now += (far ? machine.far_line : machine.line);
            if (looked > 1) current->now += static_cast<double>(looked - 1) * (far ? machine.far_scan : machine.scan);
            if (current->member == 0) spent["taking"] += machine.line + static_cast<double>(looked - 1) * machine.scan;
        }
        if (piece < 0) return -1;
        work_on(shared, *team, stage, piece, pieces);
        finish_one(shared, *team, stage, pieces);
    }
}

void __wrap__ZN10instructor4Team6finishEjl(Team* team, uint32_t stage, int64_t pieces) {
    if (mode != Mode::MEASURE) return __real__ZN10instructor4Team6finishEjl(team, stage, pieces);
    const double taken = since(measured.begin);
    auto& costs = measured.costs->pieces;
    if (costs.size() <= stage) costs.resize(stage + 1);
    costs[stage].resize(static_cast<size_t>(pieces));
    Piece& piece = costs[stage].at(static_cast<size_t>(measured.piece));
    (measured.repeats < REPEATS ? piece.at_hand : piece.from_memory).taken.push_back(static_cast<float>(taken));
}

void __wrap__ZN10instructor4Team4waitEj(Team* team, uint32_t stage) {
    if (mode == Mode::REAL) return __real__ZN10instructor4Team4waitEj(team, stage);
    if (mode == Mode::MEASURE) return;
    Shared& shared = teams.at(team);
    if (shared.stage > stage) {
        current->now = std::max(current->now, shared.ends[stage]);
        return;
    }
    shared.waiting.push_back(current);
    current->waiting = true;
    swapcontext(&current->context, &scheduler);
}

}  // extern "C"

namespace {

const Kernel* real = nullptr;

// In place of the instruction set's own. A unit that a thread does alone goes through the same hooks, as a team's whose
// other members never come.
void encode(const Model& asked, const Unit& unit, char* workspace, Team& team, int slot) {
    if (mode == Mode::REAL) return real->encode(asked, unit, workspace, team, slot);
    Team nobody_else(1, 2);
    Team& used = team.slots() == 1 ? nobody_else : team;
    Costs& costs = known[key_of(unit, used.size())];
    if (mode == Mode::MEASURE) {
        if (std::find(fresh.begin(), fresh.end(), &costs) != fresh.end()) return;
        measured = Measured{&costs, -1, 0, {}};
        real->encode(asked, unit, workspace, used, slot);
        fresh.push_back(&costs);
        return;
    }
    turn();
    if (!teams.count(&used)) teams.emplace(&used, Shared{&costs, stages_of(unit), 0, 0, 0, 0, {}, {}, {}});
    real->encode(asked, unit, workspace, used, slot);
    if (&used == &nobody_else) teams.erase(&nobody_else);
    turn();  // the next unit is for the first who is done
}

}  // namespace

namespace instructor {

template <class Work>
void in_simulated(int threads, Work work) {
    if (mode == Mode::MEASURE) return work(0);
    before = std::move(fibers);
    fibers.clear();
    teams.clear();
    clusters.assign(static_cast<size_t>(threads / machine.cluster) + 1, {});
    sockets.assign(static_cast<size_t>(machine.sockets), {});
    between = {};
    fiber_work = [&] { work(current->member); };
    for (int member = 0; member < threads; ++member) {
        fibers.push_back(std::make_unique<Fiber>());
        Fiber& fiber = *fibers.back();
        fiber.member = member;
        fiber.now = member == 0 ? machine.start * (threads - 1) : machine.start * member + machine.late;
        if (static_cast<size_t>(member) < before.size()) {
            fiber.order.swap(before[member]->order);
            fiber.held.swap(before[member]->held);
            fiber.held_bytes = before[member]->held_bytes;
        }
        fiber.stack = std::make_unique<char[]>(STACK);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        makecontext(&fiber.context, fiber_main, 0);
    }
    while ((current = earliest())) swapcontext(&scheduler, &current->context);
    ended = 0;
    for (const auto& fiber : fibers) ended = std::max(ended, fiber->now);
    if (threads > 1) ended += machine.end;
}

}  // namespace instructor

namespace {

// ---- Requests ----

struct Call {
    std::vector<int32_t> ids;
    std::vector<float> sentences;
    std::vector<int64_t> lengths;

    std::vector<Text> texts() {
        std::vector<Text> found;
        int64_t first = 0;
        for (size_t i = 0; i < lengths.size(); ++i) {
            found.push_back({ids.data() + first, lengths[i], std::min<int64_t>(3, lengths[i]),
                             sentences.data() + i * model.config.embedding_dim, nullptr});
            first += lengths[i];
        }
        return found;
    }
};

Call read_call(std::istringstream& line) {
    Call call;
    for (int64_t length; line >> length;) call.lengths.push_back(length);
    std::mt19937 random(1);
    std::uniform_int_distribution<int32_t> id(0, model.config.vocab_size - 1);
    for (int64_t i = std::accumulate(call.lengths.begin(), call.lengths.end(), int64_t{0}); i > 0; --i) {
        call.ids.push_back(id(random));
    }
    call.sentences.resize(call.lengths.size() * model.config.embedding_dim);
    return call;
}

void set(const std::string& name, double value) {
    const std::map<std::string, double*> fields{{"sockets", &machine.sockets},
                                                {"cluster", &machine.cluster},
                                                {"core_bandwidth", &machine.core_bandwidth},
                                                {"cluster_bandwidth", &machine.cluster_bandwidth},
                                                {"socket_bandwidth", &machine.socket_bandwidth},
                                                {"link_bandwidth", &machine.link_bandwidth},
                                                {"remote", &machine.remote},
                                                {"cache", &machine.cache},
                                                {"share_bandwidth", &machine.share_bandwidth},
                                                {"line", &machine.line},
                                                {"far_line", &machine.far_line},
                                                {"scan", &machine.scan},
                                                {"far_scan", &machine.far_scan},
                                                {"start", &machine.start},
                                                {"late", &machine.late},
                                                {"end", &machine.end},
                                                {"wake", &machine.wake},
                                                {"rate", &model.rate}};
    if (!fields.count(name)) std::fprintf(stderr, "no such number: %s\n", name.c_str()), std::exit(1);
    *fields.at(name) = value;
}

// real <threads> <seconds> <lengths ...>: seconds of each quiet run of those that begin within so many
void answer_real(std::istringstream& line) {
    int threads = 1;
    double seconds = 0;
    line >> threads >> seconds;
    Call call = read_call(line);
    const auto first = Clock::now();
    const char* comma = "";
    std::printf("[");
    do {
        std::vector<Text> texts = call.texts();
        const double used = processor_seconds();
        const auto begin = Clock::now();
        run(model, std::move(texts), threads);
        const double taken = since(begin);
        if (processor_seconds() - used > QUIET * threads * taken) {
            std::printf("%s%g", comma, taken), comma = ", ";
        } else {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));  // who has slept is let run for longer
        }
    } while (since(first) < seconds);
    std::printf("]\n");
}

// measure <threads> <seconds> <lengths ...>: every piece, as often as so many seconds allow, and once at least
void answer_measure(std::istringstream& line) {
    int threads = 1;
    double seconds = 0;
    line >> threads >> seconds;
    Call call = read_call(line);
    mode = Mode::MEASURE;
    const auto begin = Clock::now();
    do {
        fresh.clear();
        run_simulated(model, call.texts(), threads);
    } while (since(begin) < seconds);
    mode = Mode::REAL;
    std::printf("{}\n");
}

// play <threads> <lengths ...>: seconds, as simulated of pieces that were measured
void answer_play(std::istringstream& line) {
    int threads = 1;
    line >> threads;
    Call call = read_call(line);
    for (auto& [key, costs] : known) {
        for (auto& stage : costs.pieces) {
            for (Piece& piece : stage) {
                for (Samples* samples : {&piece.from_memory, &piece.at_hand}) samples->median = median(samples->taken);
            }
        }
    }
    mode = Mode::PLAY;
    fibers.clear();
    run_simulated(model, call.texts(), threads);  // what caches keep of a call before
    spent.clear();
    run_simulated(model, call.texts(), threads);
    mode = Mode::REAL;
    std::printf("{\"seconds\": %.9f, \"threads\": %zu, \"spent\": {", ended, fibers.size());
    const char* comma = "";
    for (const auto& [name, seconds] : spent) std::printf("%s\"%s\": %.3g", comma, name.c_str(), seconds), comma = ", ";
    std::printf("}}\n");
}

// machine <name> <value> ...
void answer_machine(std::istringstream& line) {
    machine = Machine{};
    std::string name;
    for (double value; line >> name >> value;) set(name, value);
    model.start = {machine.start, machine.late};
    std::printf("{}\n");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 12) {
        std::fprintf(stderr,
                     "usage: schedule ISA D_MODEL D_FF D_KV HEADS LAYERS VOCABULARY DIMENSION DISTANCE GATED DENSE\n");
        return 2;
    }
    const auto number = [&](int i) { return std::atoi(argv[i]); };
    const ik_config c{number(2), number(3),  number(4),  number(5), number(6), number(7), number(8),
                      number(9), number(10), number(11), 1,         0,         1e-6f};
    int index = 0;
    while (isa_at(index) && std::strcmp(isa_at(index)->name, argv[1]) != 0) ++index;
    if (!isa_at(index) || isa_at(index)->missing()) return std::fprintf(stderr, "no %s here\n", argv[1]), 2;
    const Isa& isa = *isa_at(index);
    real = &isa.kernel(c.weight_type);
    Kernel ours = *real;
    ours.encode = encode;
    std::unique_ptr<OwnedModel> owned;
    {
        std::mt19937 random(1);
        const RandomModel made(c, random);
        owned = make_model(c, made.tensors.data(), static_cast<int64_t>(made.tensors.size()), isa, 2);
    }
    model = owned->model;
    model.kernel = &ours;
    model.rate = measure_rate(*real);
    model.start = measure_start();
    const std::map<std::string, void (*)(std::istringstream&)> answers{
        {"this", [](std::istringstream&) { print_this_machine(model); }},
        {"real", answer_real},
        {"measure", answer_measure},
        {"play", answer_play},
        {"machine", answer_machine}};
    for (std::string text; std::getline(std::cin, text);) {
        std::istringstream line(text);
        std::string name;
        line >> name;
        if (!answers.count(name)) return std::fprintf(stderr, "no such request: %s\n", name.c_str()), 2;
        answers.at(name)(line);
        std::fflush(stdout);
    }
    return 0;
}

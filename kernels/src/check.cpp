// Before an instruction set is trusted on a machine: small models of fixed random weights, with ReLU and gated, run
// through it and through scalar code. Widths are no multiples of anything. The long text has more rows than a block and
// than a feed-forward chunk, and a team that shares them; the short ones have each height of a tile, of products and of
// attention, which all are functions of their own. Those of fp32 are small: scalar code may have no instruction for
// their fused additions.
#include "check.h"

#include <cstring>
#include <memory>
#include <vector>

#include "dispatch.h"
#include "owned_model.h"
#include "run.h"

namespace instructor {

namespace {

struct Case {
    const char* name;
    ik_config config;
    std::vector<int64_t> lengths;
    int threads;
    bool alone;  // each text in a run of its own
};

constexpr int64_t PASS_BYTES = 1;  // as few rows a block as there can be

class Numbers {  // a linear congruential generator (Knuth's MMIX)
public:
    float real(float size) { return size * (static_cast<float>(next() & 0xFFFFFF) / 0x800000 - 1.0f); }
    int8_t weight() { return static_cast<int8_t>(static_cast<int>(next() % 255) - 127); }
    int32_t below(int32_t end) { return static_cast<int32_t>(next() % static_cast<uint32_t>(end)); }

private:
    uint32_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state_ >> 33);
    }
    uint64_t state_ = 2026;
};

struct Example {
    ik_config config;
    std::vector<std::vector<int8_t>> weights;
    std::vector<std::vector<float>> floats;
    std::vector<ik_tensor> tensors;

    explicit Example(const ik_config& chosen) : config(chosen) {
        Numbers numbers;
        const int32_t d = config.d_model, inner = config.num_heads * config.d_kv;
        matrix(numbers, config.vocab_size, d, config.vocab_size, 0.02f);
        reals(numbers, config.num_heads * (2 * config.max_distance + 1), 2.0f);
        reals(numbers, d, 1.0f);
        reals(numbers, d * config.embedding_dim, 0.1f);
        for (int32_t layer = 0; layer < config.num_layers; ++layer) {
            reals(numbers, d, 1.0f);
            product(numbers, d, 3 * inner);
            product(numbers, inner, d);
            reals(numbers, d, 1.0f);
            for (int i = 0; i < 1 + config.gated; ++i) product(numbers, d, config.d_ff);
            product(numbers, config.d_ff, d);
        }
    }

private:
    void product(Numbers& numbers, int32_t k, int32_t n) { matrix(numbers, k, n, n, 0.002f); }
    void matrix(Numbers& numbers, int32_t k, int32_t n, int32_t scales, float size) {
        if (config.weight_type == IK_FP32) return reals(numbers, k * n, 100 * size);
        weight(numbers, k * n);
        reals(numbers, scales, size);
    }
    void weight(Numbers& numbers, int32_t count) {
        weights.emplace_back(count);
        for (int8_t& value : weights.back()) value = numbers.weight();
        tensors.push_back({weights.back().data(), count, 0});
    }
    void reals(Numbers& numbers, int32_t count, float size) {
        floats.emplace_back(count);
        for (float& value : floats.back()) value = numbers.real(size);
        tensors.push_back({floats.back().data(), count * static_cast<int64_t>(sizeof(float)), 0});
    }
};

std::vector<float> outputs(const Case& chosen, const Example& example, const Isa& isa) {
    const ik_config& c = example.config;
    const auto model = make_model(c, example.tensors.data(), static_cast<int64_t>(example.tensors.size()), isa,
                                  chosen.threads, PASS_BYTES);
    int64_t tokens = 0;
    for (int64_t length : chosen.lengths) tokens += length;
    const int64_t sentences = static_cast<int64_t>(chosen.lengths.size());
    std::vector<float> found(static_cast<size_t>(sentences * c.embedding_dim + tokens * c.d_model));
    std::vector<int32_t> ids(static_cast<size_t>(tokens));
    Numbers numbers;
    for (int32_t& id : ids) id = numbers.below(c.vocab_size);
    std::vector<Text> texts;
    int64_t first = 0;
    for (int64_t length : chosen.lengths) {
        float* sentence = found.data() + static_cast<int64_t>(texts.size()) * c.embedding_dim;
        float* rows = found.data() + sentences * c.embedding_dim + first * c.d_model;
        texts.push_back({ids.data() + first, length, length / 3, sentence, rows});
        first += length;
    }
    if (chosen.alone) {
        for (const Text& text : texts) run(model->model, {text}, chosen.threads);
    } else {
        run(model->model, std::move(texts), chosen.threads);
    }
    return found;
}

}  // namespace

bool self_check(const Isa& isa, std::string& message) {
    const Case cases[] = {
        {"ReLU", {72, 200, 24, 3, 2, 50, 40, 20, 0, 1, 1, IK_INT8, 1e-6f}, {1, 37, 16, 0, 5}, 1, false},
        {"gated", {72, 200, 24, 3, 2, 50, 40, 20, 1, 1, 1, IK_INT8, 1e-6f}, {1, 37, 16, 0, 5}, 1, false},
        {"deep", {16, 840, 8, 1, 1, 50, 70, 20, 0, 1, 1, IK_INT8, 1e-6f}, {37}, 1, false},
        {"long", {40, 72, 8, 2, 1, 50, 70, 20, 0, 1, 1, IK_INT8, 1e-6f}, {165}, 3, false},
        {"short",
         {40, 72, 8, 2, 1, 50, 70, 20, 1, 1, 1, IK_INT8, 1e-6f},
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
         1,
         true},
        {"fp32 long", {24, 56, 8, 1, 1, 50, 40, 20, 0, 1, 1, IK_FP32, 1e-6f}, {133}, 3, false},
        {"fp32 short",
         {24, 40, 8, 2, 1, 50, 40, 20, 1, 1, 1, IK_FP32, 1e-6f},
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
         1,
         true},
    };
    for (const Case& chosen : cases) {
        const Example example(chosen.config);
        const std::vector<float> expected = outputs(chosen, example, *scalar()), found = outputs(chosen, example, isa);
        for (size_t i = 0; i < expected.size(); ++i) {
            // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): 0 and -0 differ here, and a NaN is itself
            if (std::memcmp(&expected[i], &found[i], sizeof(float)) != 0) {
                message = std::string(isa.name) + ": number " + std::to_string(i) + " of the self-check's " +
                          chosen.name + " model is " + std::to_string(found[i]) + ", scalar code has " +
                          std::to_string(expected[i]) + ".";
                return false;
            }
        }
    }
    return true;
}

}  // namespace instructor

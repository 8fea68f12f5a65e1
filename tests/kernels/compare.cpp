// Every instruction set of the build that this processor has against scalar code, bit for bit, on random shapes: texts
// together on one thread, in another order on several, and each alone.
//
// usage: compare ROUNDS SEED; prints a line for each instruction set, exit code 1 where a bit differs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>

#include "random_model.h"

namespace {

char message[512];

void must(int code, const char* what) {
    if (code != IK_OK) std::fprintf(stderr, "%s: code %d, %s\n", what, code, message), std::exit(1);
}

struct Results {
    std::vector<float> sentences, tokens;
};

class Loaded {
public:
    Loaded(const RandomModel& model, int isa, int threads) : config_(model.config) {
        must(ik_model_create(&model.config, model.tensors.data(), static_cast<int64_t>(model.tensors.size()), isa,
                             threads, &model_, message, sizeof message),
             "create");
    }
    ~Loaded() { ik_model_free(model_); }
    Loaded(const Loaded&) = delete;

    Results encode(const RandomTexts& texts, const std::vector<int64_t>& rows, int threads) const {
        int64_t total = 0;
        for (int64_t row : rows) total += texts.offsets[row + 1] - texts.offsets[row];
        Results results{std::vector<float>(rows.size() * config_.embedding_dim),
                        std::vector<float>(total * config_.d_model)};
        const ik_tokens view = texts.view();
        must(ik_encode(model_, &view, rows.data(), static_cast<int64_t>(rows.size()), threads, results.sentences.data(),
                       static_cast<int64_t>(results.sentences.size()), results.tokens.data(),
                       static_cast<int64_t>(results.tokens.size()), message, sizeof message),
             "encode");
        return results;
    }

private:
    ik_config config_;
    ik_model* model_ = nullptr;
};

bool same(const float* a, const float* b, int64_t count) {
    return count == 0 || std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0;
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
    std::mt19937 random(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
    const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    const auto to = [&](int most) { return between(1, most); };
    const auto flag = [&] { return between(0, 1); };
    const int scalar = ik_isa_count() - 1;
    int failures = 0;
    for (int isa = 0; isa < ik_isa_count(); ++isa) {
        if (ik_isa_missing(isa)) {
            std::printf("%s: %s\n", ik_isa_name(isa), ik_isa_missing(isa));
            continue;
        }
        must(ik_self_check(isa, message, sizeof message), "self-check");
        for (int round = 0; round < rounds; ++round) {
            // every few rounds, on a narrow model, a text of up to 2,048 tokens or products over up to 2,600 numbers
            const bool lengthy = round % 8 == 7, deep = round % 8 == 3, narrow = lengthy || deep;
            const int width = narrow ? 24 : 140, head = narrow ? 8 : 72;
            ik_config c{
                to(width), to(deep ? 2600 : 2 * width), to(head), to(3), to(2), to(60), to(70), to(130), flag(), flag(),
                flag(),    between(IK_INT8, IK_FP32),   1e-6f};
            if (!c.dense) c.embedding_dim = c.d_model;
            const RandomModel model(c, random);
            std::vector<int64_t> lengths(static_cast<size_t>(between(0, 9)));
            for (int64_t& length : lengths) length = between(0, 3) ? between(1, 40) : between(0, 200);
            if (lengthy) lengths.push_back(between(1, 2048));
            const RandomTexts texts(lengths, c.vocab_size, random);
            std::vector<int64_t> rows(lengths.size());
            std::iota(rows.begin(), rows.end(), 0);

            const Results expected = Loaded(model, scalar, 1).encode(texts, rows, 1);
            const Loaded tested(model, isa, between(1, 3));
            const Results together = tested.encode(texts, rows, 1);
            bool right = same(together.sentences.data(), expected.sentences.data(), expected.sentences.size()) &&
                         same(together.tokens.data(), expected.tokens.data(), expected.tokens.size());
            std::shuffle(rows.begin(), rows.end(), random);
            const Results shuffled = tested.encode(texts, rows, between(2, 5));
            const float* tokens = shuffled.tokens.data();
            for (size_t i = 0; i < rows.size(); ++i) {
                const int64_t row = rows[i], count = lengths[row] * c.d_model;
                const Results alone = tested.encode(texts, {row}, between(1, 3));
                const float* sentence = expected.sentences.data() + row * c.embedding_dim;
                right = right && same(shuffled.sentences.data() + i * c.embedding_dim, sentence, c.embedding_dim) &&
                        same(alone.sentences.data(), sentence, c.embedding_dim) &&
                        same(tokens, expected.tokens.data() + texts.offsets[row] * c.d_model, count) &&
                        same(alone.tokens.data(), tokens, count);
                tokens += count;
            }
            for (float value : expected.tokens) right = right && value == value;
            if (!right) {
                ++failures;
                std::printf(
                    "%s: differs, round %d: d_model %d d_ff %d d_kv %d heads %d layers %d gated %d dense %d "
                    "weight_type %d\n",
                    ik_isa_name(isa), round, c.d_model, c.d_ff, c.d_kv, c.num_heads, c.num_layers, c.gated, c.dense,
                    c.weight_type);
            }
        }
        std::printf("%s: %d rounds\n", ik_isa_name(isa), rounds);
    }
    return failures ? 1 : 0;
}

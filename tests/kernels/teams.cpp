// Teams larger than the machine: every instruction set that this processor has, on random shapes, with up to 64 threads
// for a text or two. A library's caller gets so many only for much work; here every thread is worth its start.
//
// usage: teams ROUNDS SEED; prints a line for each instruction set, exit code 1 where a bit is not that of one thread.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dispatch.h"
#include "owned_model.h"
#include "random_model.h"
#include "run.h"

using namespace instructor;

namespace {

struct Results {
    std::vector<float> sentences, tokens;

    bool operator==(const Results& other) const {
        return same(sentences, other.sentences) && same(tokens, other.tokens);
    }

private:
    static bool same(const std::vector<float>& a, const std::vector<float>& b) {
        return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    }
};

Results encode(const Model& model, const RandomTexts& texts, int threads) {
    const ik_config& c = model.config;
    Results results{std::vector<float>(static_cast<size_t>(texts.count() * c.embedding_dim)),
                    std::vector<float>(texts.ids.size() * static_cast<size_t>(c.d_model))};
    std::vector<Text> rows;
    for (int64_t i = 0; i < texts.count(); ++i) {
        const int64_t first = texts.offsets[i];
        rows.push_back({texts.ids.data() + first, texts.offsets[i + 1] - first, texts.starts[i],
                        results.sentences.data() + i * c.embedding_dim, results.tokens.data() + first * c.d_model});
    }
    run(model, rows, threads);
    return results;
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
    std::mt19937 random(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
    const auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    int failures = 0;
    for (int index = 0; const Isa* isa = isa_at(index); ++index) {
        if (isa->missing()) continue;
        for (int round = 0; round < rounds; ++round) {
            ik_config c{between(1, 140),
                        between(1, 280),
                        between(1, 72),
                        between(1, 3),
                        between(1, 2),
                        60,
                        between(1, 70),
                        40,
                        between(0, 1),
                        between(0, 1),
                        1,
                        0,
                        1e-6f};
            if (!c.dense) c.embedding_dim = c.d_model;
            const RandomModel made(c, random);
            const auto owned = make_model(c, made.tensors.data(), static_cast<int64_t>(made.tensors.size()), *isa, 2);
            std::vector<int64_t> lengths(static_cast<size_t>(between(1, 2)));
            for (int64_t& length : lengths) length = between(0, 3) ? between(1, 90) : between(100, 400);
            const RandomTexts texts(lengths, c.vocab_size, random);
            const Results alone = encode(owned->model, texts, 1);
            for (int threads : {2, between(3, 31), between(32, 63), 64}) {
                if (encode(owned->model, texts, threads) == alone) continue;
                ++failures;
                std::printf("%s: differs, round %d, %d threads: d_model %d d_ff %d d_kv %d heads %d gated %d\n",
                            isa->name, round, threads, c.d_model, c.d_ff, c.d_kv, c.num_heads, c.gated);
            }
        }
        std::printf("%s: %d rounds\n", isa->name, rounds);
    }
    return failures ? 1 : 0;
}

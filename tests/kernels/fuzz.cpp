// Bad arguments on the C interface: each call is right but for a few things that chance has spoilt, and must give
// IK_OK or an error code with a sentence. Meant to be built with sanitizers, which see what a code does not.
//
// usage: fuzz SECONDS SEED; prints how many calls were taken and refused.
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "random_model.h"

namespace {

std::mt19937 source(1);

int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(source); }
bool chance(int one_in) { return between(1, one_in) == 1; }

int64_t odd() {
    static const int64_t odd[] = {-1,        0,         1,         2,         3,         17,    -INT32_MAX, INT64_MAX,
                                  INT64_MIN, INT32_MAX, 1LL << 31, 1LL << 32, 1LL << 62, 65536, 65537};
    return odd[between(0, sizeof odd / sizeof *odd - 1)];
}

int64_t taken = 0, refused = 0;

void judge(const char* call, int code, const char* message) {
    if (code < IK_OK || code > IK_INTERNAL || (code == IK_OK) != (message[0] == '\0') || code == IK_INTERNAL) {
        std::fprintf(stderr, "%s: code %d with %s\n", call, code, message);
        std::exit(1);
    }
    ++(code == IK_OK ? taken : refused);
}

void create() {
    const auto to = [](int64_t most) { return static_cast<int32_t>(between(1, most)); };
    ik_config c{to(20), to(40), to(9), to(3), 1, 20, to(20), 5, chance(2), 1, 1, to(3) - 1, 1e-6f};
    RandomModel model(c, source);
    int32_t* const fields = &c.d_model;
    if (chance(2)) fields[between(0, 11)] = static_cast<int32_t>(odd());
    if (chance(8)) c.layer_norm_epsilon = chance(2) ? 0.0f / 0.0f : -1.0f;
    if (chance(3)) model.tensors[between(0, model.tensors.size() - 1)].bytes = odd();
    if (chance(6)) model.tensors[between(0, model.tensors.size() - 1)].data = nullptr;
    if (chance(6)) {
        ik_tensor& tensor = model.tensors[between(0, model.tensors.size() - 1)];
        tensor.data = static_cast<const char*>(tensor.data) + 1;  // not aligned; int8 is one byte shorter than it says
        if (tensor.bytes > 0) tensor.bytes -= 1;
    }
    const int64_t count = chance(4) ? between(-1, model.tensors.size()) : model.tensors.size();
    const int isa = static_cast<int>(chance(6) ? odd() : between(0, ik_isa_count() - 1));
    const int threads = static_cast<int>(chance(6) ? odd() : between(1, 3));
    char message[64] = "";
    ik_model* made = nullptr;
    const int code = ik_model_create(chance(20) ? nullptr : &c, chance(20) ? nullptr : model.tensors.data(), count, isa,
                                     threads > 64 && threads <= 1024 ? 64 : threads, chance(20) ? nullptr : &made,
                                     message, sizeof message);
    judge("create", code, message);
    ik_model_free(made);
}

void encode(const ik_model* model, const ik_config& c) {
    std::vector<int64_t> lengths(static_cast<size_t>(between(0, 5)));
    for (int64_t& length : lengths) length = between(0, 30);
    RandomTexts texts(lengths, c.vocab_size, source);
    std::vector<int64_t> rows;
    int64_t total = 0;
    for (int64_t i = 0; texts.count() && i < between(0, 6); ++i) {
        rows.push_back(between(0, texts.count() - 1));
        total += lengths[rows.back()];
    }
    if (!rows.empty() && chance(4)) rows[between(0, rows.size() - 1)] = odd();
    if (chance(4)) texts.offsets[between(0, texts.offsets.size() - 1)] = odd();
    if (!texts.starts.empty() && chance(4)) texts.starts[between(0, texts.starts.size() - 1)] = odd();
    if (!texts.ids.empty() && chance(4)) texts.ids[between(0, texts.ids.size() - 1)] = static_cast<int32_t>(odd());
    ik_tokens view = texts.view();
    if (chance(12)) view.ids = nullptr;
    if (chance(12)) view.offsets = nullptr;
    if (chance(12)) view.starts = nullptr;
    // what is claimed may be less than there is, never more: that no callee can see
    if (chance(6)) view.texts = between(-1, view.texts);
    if (chance(6)) view.ids_count = between(-1, view.ids_count);
    std::vector<float> sentences(rows.size() * static_cast<size_t>(c.embedding_dim));
    std::vector<float> tokens(static_cast<size_t>(total * c.d_model));
    int64_t sentence_count = static_cast<int64_t>(sentences.size()), token_count = static_cast<int64_t>(tokens.size());
    if (chance(8)) sentence_count = between(-1, sentence_count);
    if (chance(8)) token_count = between(-1, token_count);
    int64_t row_count = static_cast<int64_t>(rows.size());
    if (chance(8)) row_count = between(-1, row_count);
    char message[64] = "";
    const int code = ik_encode(
        chance(20) ? nullptr : model, chance(20) ? nullptr : &view, chance(20) ? nullptr : rows.data(), row_count,
        static_cast<int>(chance(8) ? between(-2, 1) : between(1, 4)), chance(20) ? nullptr : sentences.data(),
        sentence_count, chance(3) ? nullptr : tokens.data(), token_count, message, sizeof message);
    judge("encode", code, message);
}

}  // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
    source.seed(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
    ik_config c{20, 40, 6, 2, 2, 25, 12, 5, 0, 1, 1, IK_INT8, 1e-6f};
    std::vector<ik_model*> models;
    for (int i = 0; i < 2 * ik_isa_count(); ++i) {
        const int isa = i / 2;
        c.weight_type = i % 2 ? IK_FP32 : IK_INT8;
        const RandomModel weights(c, source);
        ik_model* model = nullptr;
        char message[64] = "";
        const int code = ik_model_create(&c, weights.tensors.data(), static_cast<int64_t>(weights.tensors.size()), isa,
                                         1, &model, message, sizeof message);
        judge("create", code, message);
        if (model) models.push_back(model);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
        create();
        for (int i = 0; i < 8; ++i) encode(models[between(0, models.size() - 1)], c);
    }
    for (ik_model* model : models) ik_model_free(model);
    std::printf("%lld calls taken, %lld refused\n", static_cast<long long>(taken), static_cast<long long>(refused));
    return taken && refused ? 0 : 1;
}

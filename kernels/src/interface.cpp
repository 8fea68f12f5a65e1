// The C interface: every argument checked, every exception turned into a code and a sentence.
#include "instructor_kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "dispatch.h"
#include "owned_model.h"
#include "run.h"
#include "threads.h"

using namespace instructor;

struct ik_model {
    std::unique_ptr<OwnedModel> owned;
};

namespace {

constexpr int MOST_THREADS = 1024;

// Cut to what the caller has room for. No string is made here: it could throw.
int say(char* message, size_t size, int code, const char* said) {
    if (message && size) {
        const size_t length = std::min(std::strlen(said), size - 1);
        std::memcpy(message, said, length);
        message[length] = '\0';
    }
    return code;
}

// Of a processor or system that lacks an instruction set.
struct Unsupported : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class Work>
int guarded(char* message, size_t size, Work work) {
    try {
        work();
    } catch (const Invalid& error) {
        return say(message, size, IK_INVALID, error.what());
    } catch (const Unsupported& error) {
        return say(message, size, IK_UNSUPPORTED, error.what());
    } catch (const std::bad_alloc&) {
        return say(message, size, IK_OUT_OF_MEMORY, "out of memory.");
    } catch (const std::exception& error) {
        return say(message, size, IK_INTERNAL, error.what());
    }
    return say(message, size, IK_OK, "");
}

void expect(bool holds, const char* otherwise) {
    if (!holds) throw Invalid(otherwise);
}

const Isa& usable(int index) {
    const Isa* isa = isa_at(index);
    expect(isa, "no such instruction set.");
    if (const char* why = isa->missing()) throw Unsupported(std::string(isa->name) + ": " + why + ".");
    return *isa;
}

// The chosen texts, with every offset and id checked, and where their results go.
std::vector<Text> chosen_texts(const Model& model, const ik_tokens& t, const int64_t* rows, int64_t row_count,
                               float* sentences, float* tokens, int64_t token_count) {
    const ik_config& c = model.config;
    std::vector<Text> texts;
    texts.reserve(static_cast<size_t>(row_count));
    int64_t total = 0;
    for (int64_t i = 0; i < row_count; ++i) {
        const int64_t row = rows[i];
        if (row < 0 || row >= t.texts) {
            throw Invalid("row " + std::to_string(row) + ": there are " + std::to_string(t.texts) + " texts.");
        }
        const int64_t first = t.offsets[row], last = t.offsets[row + 1];
        if (first < 0 || last < first || last > t.ids_count) {
            throw Invalid("text " + std::to_string(row) + " is from " + std::to_string(first) + " to " +
                          std::to_string(last) + " of " + std::to_string(t.ids_count) + " ids.");
        }
        if (t.starts[row] < 0) throw Invalid("text " + std::to_string(row) + " starts below 0.");
        const int64_t length = last - first;
        const int32_t* const ids = t.ids + first;  // NOLINT(clang-analyzer-core.NullPointerArithm): null + 0 at most
        for (int64_t k = 0; k < length; ++k) {
            if (ids[k] < 0 || ids[k] >= c.vocab_size) {
                throw Invalid("token id " + std::to_string(ids[k]) + " of text " + std::to_string(row) +
                              ": the model has " + std::to_string(c.vocab_size) + ".");
            }
        }
        if (length > MOST_TOKENS) {
            throw Invalid("text " + std::to_string(row) + " has " + std::to_string(length) + " tokens, at most " +
                          std::to_string(MOST_TOKENS) + " fit.");
        }
        total += length;  // no overflow: row_count is bounded below 2^31
        if (tokens) expect(total <= token_count / c.d_model, "token_embeddings is too small.");
        float* own = tokens ? tokens + (total - length) * c.d_model : nullptr;
        texts.push_back({ids, length, t.starts[row], sentences + i * c.embedding_dim, own});
    }
    if (tokens) expect(total * c.d_model == token_count, "token_embeddings is too large.");
    return texts;
}

}  // namespace

int ik_abi(void) { return IK_ABI; }

int ik_isa_count(void) { return isa_count(); }

const char* ik_isa_name(int isa) { return isa_at(isa) ? isa_at(isa)->name : nullptr; }

const char* ik_isa_missing(int isa) { return isa_at(isa) ? isa_at(isa)->missing() : "no such instruction set"; }

int ik_self_check(int isa, char* message, size_t message_size) {
    return guarded(message, message_size, [&] {
        std::string found;
        if (!self_check(usable(isa), found)) throw std::runtime_error(found);
    });
}

int ik_model_create(const ik_config* config, const ik_tensor* tensors, int64_t tensor_count, int isa, int threads,
                    ik_model** model, char* message, size_t message_size) {
    return guarded(message, message_size, [&] {
        expect(model, "model is null.");
        *model = nullptr;
        expect(config && tensors && tensor_count >= 0, "config or tensors is null.");
        expect(threads >= 1 && threads <= MOST_THREADS, "threads must be from 1 to 1024.");
        auto made = std::make_unique<ik_model>();
        made->owned = make_model(*config, tensors, tensor_count, usable(isa), threads);
        made->owned->model.rate = measure_rate(*made->owned->model.kernel);
        made->owned->model.start = measure_start();
        *model = made.release();
    });
}

void ik_model_free(ik_model* model) { delete model; }

int ik_encode(const ik_model* model, const ik_tokens* tokens, const int64_t* rows, int64_t row_count, int threads,
              float* sentence_embeddings, int64_t sentence_count, float* token_embeddings, int64_t token_count,
              char* message, size_t message_size) {
    return guarded(message, message_size, [&] {
        expect(model && tokens, "model or tokens is null.");
        expect(threads >= 1 && threads <= MOST_THREADS, "threads must be from 1 to 1024.");
        expect(row_count >= 0 && row_count <= INT32_MAX, "row_count must be from 0 to 2^31 - 1.");
        expect(tokens->texts >= 0 && tokens->ids_count >= 0, "a count is negative.");
        const Model& m = model->owned->model;
        expect(sentence_count == row_count * m.config.embedding_dim,
               "sentence_count must be row_count * embedding_dim.");
        if (row_count == 0) return;
        expect(rows && sentence_embeddings && tokens->offsets && tokens->starts, "an array is null.");
        expect(tokens->ids || tokens->ids_count == 0, "ids is null.");
        run(m, chosen_texts(m, *tokens, rows, row_count, sentence_embeddings, token_embeddings, token_count), threads);
    });
}

int ik_measure_peak(int isa, int weight_type, int threads, double seconds, double* operations_per_second, char* message,
                    size_t message_size) {
    return guarded(message, message_size, [&] {
        expect(operations_per_second && threads >= 1 && threads <= MOST_THREADS, "a bad argument.");
        expect(weight_type >= IK_INT8 && weight_type <= IK_FP32, "no such type of weights.");
        expect(seconds > 0 && seconds <= 60, "seconds must be from 0 to 60.");
        const Kernel& chosen = usable(isa).kernel(weight_type);
        std::atomic<int64_t> multiplications{0};
        using Clock = std::chrono::steady_clock;
        const auto begin = Clock::now();
        const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
        in_parallel(threads, [&](int) {
            while (Clock::now() < end) multiplications += chosen.peak(10000);
        });
        const double spent = std::chrono::duration<double>(Clock::now() - begin).count();
        *operations_per_second = 2.0 * static_cast<double>(multiplications) / spent;
    });
}

#include "owned_model.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "threads.h"

namespace instructor {

namespace {

// Sums of products stay within 32 bits up to this many: 255 * 127 * 65,536 < 2^31.
constexpr int32_t MOST_SUMMED = 1 << 16;

struct Limit {
    const char* name;
    int32_t value, most;
};

void check(const ik_config& c) {
    const Limit limits[] = {
        {"d_model", c.d_model, MOST_SUMMED},   {"d_ff", c.d_ff, MOST_SUMMED},
        {"d_kv", c.d_kv, 1 << 12},             {"num_heads", c.num_heads, 1 << 12},
        {"num_layers", c.num_layers, 1 << 9},  {"vocab_size", c.vocab_size, 1 << 22},
        {"embedding_dim", c.embedding_dim, 1 << 16}, {"max_distance", c.max_distance, 1 << 20},
    };
    for (const Limit& limit : limits) {
        if (limit.value < 1 || limit.value > limit.most) {
            throw Invalid(std::string(limit.name) + " is " + std::to_string(limit.value) + "; expected 1 to " +
                          std::to_string(limit.most) + ".");
        }
    }
    if (static_cast<int64_t>(c.num_heads) * c.d_kv > MOST_SUMMED) {
        throw Invalid("num_heads * d_kv is above " + std::to_string(MOST_SUMMED) + ".");
    }
    if (!c.dense && c.embedding_dim != c.d_model) throw Invalid("without a Dense, embedding_dim must be d_model.");
    if (!(c.layer_norm_epsilon > 0 && c.layer_norm_epsilon < 1)) {
        throw Invalid("layer_norm_epsilon must be between 0 and 1.");
    }
}

// Hands out the caller's tensors one after another, each of a known size.
class Reader {
public:
    Reader(const ik_tensor* tensors, int64_t count) : tensors_(tensors), count_(count) {}

    template <class T>
    const T* take(int64_t numbers, const char* what) {
        if (next_ >= count_) throw Invalid("tensor " + std::to_string(next_) + " (" + what + ") is missing.");
        const ik_tensor& tensor = tensors_[next_++];
        const int64_t bytes = numbers * static_cast<int64_t>(sizeof(T));
        if (!tensor.data || tensor.bytes != bytes || reinterpret_cast<uintptr_t>(tensor.data) % alignof(T)) {
            throw Invalid("tensor " + std::to_string(next_ - 1) + " (" + what + "): " + std::to_string(tensor.bytes) +
                          " bytes, expected " + std::to_string(bytes) + ", aligned to its numbers.");
        }
        return static_cast<const T*>(tensor.data);
    }

    void finish() const {
        if (next_ != count_) {
            throw Invalid(std::to_string(count_) + " tensors, expected " + std::to_string(next_) + ".");
        }
    }

private:
    const ik_tensor* tensors_;
    int64_t count_;
    int64_t next_ = 0;
};

class Builder {
public:
    Builder(OwnedModel& owned, const Isa& isa, int threads) : owned_(owned), isa_(isa), threads_(threads) {}

    // rows of `width` floats, each padded with zeros to whole vectors
    const float* padded(const float* from, int64_t rows, int64_t width) {
        const int64_t stride = round_up(width, LANES);
        float* copy = zeros<float>(rows * stride);
        for (int64_t row = 0; row < rows; ++row) {
            std::memcpy(copy + row * stride, from + row * width, static_cast<size_t>(width) * sizeof(float));
        }
        return copy;
    }

    Product product(Reader& reader, int64_t k, int64_t n, const char* what, bool positive = false) {
        const int8_t* weight = reader.take<int8_t>(k * n, what);
        const float* scales = reader.take<float>(n, what);
        Product product;
        product.k = k, product.n = n;
        product.k_padded = round_up(round_up(k, LANES), isa_.depth);  // rows are quantised by whole vectors
        product.n_padded = round_up(n, isa_.columns);
        owned_.memory.push_back(allocate(product.k_padded * product.n_padded));  // written whole by pack
        product.panels = reinterpret_cast<int8_t*>(owned_.memory.back().get());
        product.scales = zeros<float>(product.n_padded);
        std::memcpy(product.scales, scales, static_cast<size_t>(n) * sizeof(float));
        product.correction = zeros<int32_t>(product.n_padded);
        const int32_t zero = positive ? isa_.zero_positive : isa_.zero_signed;
        for (int64_t i = 0; i < product.n_padded; ++i) product.correction[i] = zero;
        const int64_t panels = product.n_padded / isa_.columns;
        Team team(threads_, threads_);
        in_parallel(threads_, [&](int slot) {
            Member(team, slot).share(panels, [&](Range some) { isa_.pack(weight, product, some.first, some.last); });
        });
        return product;
    }

private:
    template <class T>
    T* zeros(int64_t count) {
        const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
        owned_.memory.push_back(allocate(bytes));
        std::memset(owned_.memory.back().get(), 0, static_cast<size_t>(bytes));
        return reinterpret_cast<T*>(owned_.memory.back().get());
    }

    OwnedModel& owned_;
    const Isa& isa_;
    int threads_;
};

}  // namespace

void Free::operator()(void* memory) const { std::free(memory); }

Memory allocate(int64_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, static_cast<size_t>(bytes > 0 ? round_up(bytes, 64) : 64))) throw std::bad_alloc();
    return Memory(static_cast<char*>(memory));
}

std::unique_ptr<OwnedModel> make_model(const ik_config& c, const ik_tensor* tensors, int64_t count, const Isa& isa,
                                       int threads) {
    check(c);
    auto owned = std::make_unique<OwnedModel>();
    Builder builder(*owned, isa, threads);
    Reader reader(tensors, count);
    Model& model = owned->model;
    const int64_t d = c.d_model, inner = static_cast<int64_t>(c.num_heads) * c.d_kv;
    model.config = c;
    model.isa = &isa;
    model.embedding = reader.take<int8_t>(c.vocab_size * d, "embedding");
    model.embedding_scale = reader.take<float>(c.vocab_size, "embedding scale");
    const int64_t distances = 2 * static_cast<int64_t>(c.max_distance) + 1;
    model.bias = builder.padded(reader.take<float>(c.num_heads * distances, "position bias"), 1, c.num_heads * distances);
    model.final_norm = builder.padded(reader.take<float>(d, "final norm"), 1, d);
    model.embedding_padded = round_up(c.embedding_dim, LANES);
    if (c.dense) model.dense = builder.padded(reader.take<float>(d * c.embedding_dim, "Dense"), d, c.embedding_dim);
    for (int32_t i = 0; i < c.num_layers; ++i) {
        Layer layer;
        layer.attention_norm = builder.padded(reader.take<float>(d, "attention norm"), 1, d);
        layer.qkv = builder.product(reader, d, 3 * inner, "qkv");
        layer.o = builder.product(reader, inner, d, "o");
        layer.feed_forward_norm = builder.padded(reader.take<float>(d, "feed-forward norm"), 1, d);
        layer.wi = builder.product(reader, d, c.d_ff, "wi");
        if (c.gated) layer.wi_1 = builder.product(reader, d, c.d_ff, "wi_1");
        layer.wo = builder.product(reader, c.d_ff, d, "wo", !c.gated);
        owned->layers.push_back(layer);
    }
    reader.finish();
    model.layers = owned->layers.data();
    return owned;
}

}  // namespace instructor

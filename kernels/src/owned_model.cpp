#include "owned_model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "blocks.h"
#include "cpu.h"
#include "threads.h"

namespace instructor {

namespace {

// Sums of products stay within 32 bits up to this many: 255 * 128 * 65,536 < 2^31.
constexpr int32_t MOST_SUMMED = 1 << 16;
constexpr int64_t KEPT = 8 << 20;  // bytes of workspace kept between calls; of a large model an eighth of its weights

struct Limit {
    const char* name;
    int32_t value, most;
};

void check(const ik_config& c) {
    const Limit limits[] = {
        {"d_model", c.d_model, MOST_SUMMED},
        {"d_ff", c.d_ff, MOST_SUMMED},
        {"d_kv", c.d_kv, 1 << 12},
        {"num_heads", c.num_heads, 1 << 12},
        {"num_layers", c.num_layers, 1 << 9},
        {"vocab_size", c.vocab_size, 1 << 22},
        {"embedding_dim", c.embedding_dim, 1 << 16},
        {"max_distance", c.max_distance, 1 << 20},
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
    if (c.weight_type < IK_INT8 || c.weight_type > IK_FP32) {
        throw Invalid("weight_type is " + std::to_string(c.weight_type) + "; expected 0 to 2.");
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

    // Numbers that may be compared and rounded alike everywhere: instruction sets disagree about NaN.
    const float* take_floats(int64_t numbers, const char* what) {
        const float* floats = take<float>(numbers, what);
        for (int64_t i = 0; i < numbers; ++i) {
            if (!std::isfinite(floats[i])) {
                throw Invalid("tensor " + std::to_string(next_ - 1) + " (" + what + "): number " + std::to_string(i) +
                              " is not finite.");
            }
        }
        return floats;
    }

    // What was taken so far was read for the last time: files that are mapped would stay in memory beside the copy.
    void done() {
#if defined(__linux__)
        for (; done_ < next_; ++done_) {
            const ik_tensor& tensor = tensors_[done_];
            if (!tensor.mapped) continue;
            char* const data = static_cast<char*>(const_cast<void*>(tensor.data));
            const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
            const auto before =
                static_cast<int64_t>(-reinterpret_cast<uintptr_t>(data) % page);  // its first whole page
            if (before < tensor.bytes) {
                const auto whole = static_cast<uintptr_t>(tensor.bytes - before) / page * page;
                madvise(data + before, whole, MADV_DONTNEED);
            }
        }
#endif
    }

    // Of the matrix [n, blocks, block_size / 2] that comes next: what the bytes of a column say.
    int64_t block_size(int64_t k, int64_t n, const char* what) const {
        for (int64_t size = 16; next_ < count_ && size <= 256; size *= 2) {
            const int64_t blocks = (k + size - 1) / size;
            if (tensors_[next_].bytes == n * blocks * size / 2 && next_ + 1 < count_ &&
                tensors_[next_ + 1].bytes == n * blocks * static_cast<int64_t>(sizeof(uint16_t))) {
                return size;
            }
        }
        throw Invalid("tensor " + std::to_string(next_) + " (" + what + "): no int4 matrix of " + std::to_string(n) +
                      " columns of " + std::to_string(k) + " in blocks of 16 to 256, with its scales.");
    }

    void finish() const {
        if (next_ != count_) {
            throw Invalid(std::to_string(count_) + " tensors, expected " + std::to_string(next_) + ".");
        }
    }

private:
    const ik_tensor* tensors_;
    int64_t count_;
    int64_t next_ = 0, done_ = 0;
};

struct Making {
    int32_t weight_type;
    int threads;
    int64_t pass_bytes;
};

class Builder {
public:
    Builder(OwnedModel& owned, Reader& reader, const Kernel& kernel, const Making& making)
        : owned_(owned), reader_(reader), kernel_(kernel), making_(making) {}

    int64_t weight_bytes = 0;  // so far

    const int8_t* bytes(int64_t count, const char* what) {
        const int8_t* from = reader_.take<int8_t>(count, what);
        int8_t* copy = memory<int8_t>(count);
        std::memcpy(copy, from, static_cast<size_t>(count));
        reader_.done();
        return copy;
    }

    // padded with zeros to whole vectors
    const float* floats(int64_t count, const char* what) {
        const float* from = reader_.take_floats(count, what);
        float* copy = zeros<float>(round_up(count, LANES));
        std::memcpy(copy, from, static_cast<size_t>(count) * sizeof(float));
        reader_.done();
        return copy;
    }

    // [d, dim] in panels of columns, each [d, DENSE_COLUMNS]
    const float* dense(int64_t d, int64_t dim, const char* what) {
        const float* from = reader_.take_floats(d * dim, what);
        float* copy = zeros<float>(d * round_up(dim, DENSE_COLUMNS));
        for (int64_t first = 0; first < dim; first += DENSE_COLUMNS) {
            const int64_t count = std::min(DENSE_COLUMNS, dim - first);
            for (int64_t row = 0; row < d; ++row) {
                std::memcpy(copy + first * d + row * DENSE_COLUMNS, from + row * dim + first,
                            static_cast<size_t>(count) * sizeof(float));
            }
        }
        return copy;
    }

    Product product(int64_t k, int64_t n, const char* what, bool positive = false) {
        Product packed = pack(k, n, what, positive);
        reader_.done();
        return packed;
    }

private:
    Product pack(int64_t k, int64_t n, const char* what, bool positive) {
        Product product = empty_product(k, n);
        const int64_t panels = product.n_padded / kernel_.columns;
        if (making_.weight_type == IK_FP32) {
            product.panels = memory<float>(product.k_padded * product.n_padded);  // written whole by pack
            const float* weight = reader_.take_floats(k * n, what);
            share(panels, [&](int64_t panel) { kernel_.pack(weight + panel * kernel_.columns, n, product, panel); });
            return product;
        }
        product.panels = memory<int8_t>(product.k_padded * product.n_padded);
        product.scales = zeros<float>(product.n_padded);
        product.correction = memory<int32_t>(product.n_padded);
        std::fill_n(product.correction, product.n_padded, positive ? kernel_.zero_positive : kernel_.zero_signed);
        if (making_.weight_type == IK_INT8) {
            const int8_t* weight = reader_.take<int8_t>(k * n, what);
            std::memcpy(product.scales, reader_.take_floats(n, what), static_cast<size_t>(n) * sizeof(float));
            share(panels, [&](int64_t panel) { kernel_.pack(weight + panel * kernel_.columns, n, product, panel); });
            return product;
        }
        const int64_t block_size = reader_.block_size(k, n, what), blocks = (k + block_size - 1) / block_size;
        const uint8_t* nibbles = reader_.take<uint8_t>(n * blocks * block_size / 2, what);
        const uint16_t* block_scales = reader_.take<uint16_t>(n * blocks, what);
        for (int64_t i = 0; i < n * blocks; ++i) {
            if (!is_finite_half(block_scales[i])) throw Invalid(std::string(what) + ": a scale is not finite.");
        }
        share(panels, [&](int64_t panel) {
            const int64_t first = panel * kernel_.columns, count = std::min(kernel_.columns, n - first);
            const Memory expanded = allocate(k * count);
            int8_t* weight = reinterpret_cast<int8_t*>(expanded.get());
            for (int64_t column = 0; column < count; ++column) {
                const int64_t place = (first + column) * blocks;
                product.scales[first + column] = expand_column(nibbles + place * block_size / 2, block_scales + place,
                                                               block_size, k, weight + column, count);
            }
            kernel_.pack(weight, count, product, panel);
        });
        return product;
    }

    Product empty_product(int64_t k, int64_t n) const {
        Product product;
        product.k = k, product.n = n;
        product.k_padded = round_up(k, kernel_.depth);
        product.n_padded = round_up(n, kernel_.columns);
        product.pass_bytes = making_.pass_bytes;
        return product;
    }

    // work(i) for all of 0 ... total, on all threads
    template <class Work>
    void share(int64_t total, Work work) {
        Team team(making_.threads, making_.threads);
        std::atomic<bool> failed{false};  // an exception must not leave a thread
        in_parallel(making_.threads, [&](int slot) {
            Member(team, slot).share(total, [&](Range some) {
                try {
                    for (int64_t i = some.first; i < some.last; ++i) work(i);
                } catch (const std::bad_alloc&) {
                    failed = true;
                }
            });
        });
        if (failed) throw std::bad_alloc();
    }

    template <class T>
    T* memory(int64_t count) {
        const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
        owned_.memory.push_back(allocate(bytes));
        weight_bytes += bytes;
        return reinterpret_cast<T*>(owned_.memory.back().get());
    }

    template <class T>
    T* zeros(int64_t count) {
        T* numbers = memory<T>(count);
        std::memset(numbers, 0, static_cast<size_t>(count) * sizeof(T));
        return numbers;
    }

    OwnedModel& owned_;
    Reader& reader_;
    const Kernel& kernel_;
    const Making& making_;
};

}  // namespace

void Free::operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }

Memory allocate(int64_t bytes) {
    const size_t whole = static_cast<size_t>(bytes > 0 ? round_up(bytes, 64) : 64);
    return Memory(static_cast<char*>(::operator new(whole, std::align_val_t{64})));
}

Block::Block(int64_t size) : bytes(size) {
    // Activations lie far apart, row by row: with huge pages fewer addresses are looked up. Nothing past `size` becomes
    // resident for them.
    constexpr int64_t HUGE_PAGE = 2 << 20;
    const bool huge = bytes >= HUGE_PAGE;
    memory = allocate(huge ? bytes + HUGE_PAGE : bytes);
    begin = memory.get();
    if (huge) begin += -reinterpret_cast<uintptr_t>(begin) % HUGE_PAGE;
#if defined(__linux__)
    if (huge) madvise(begin, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // where there are none, it is as it was
#endif
}

std::unique_ptr<Block> Kept::take(int64_t bytes) {
    std::unique_ptr<Block> block(bytes > most ? nullptr : left_.exchange(nullptr));  // more is not kept: it stays
    if (!block || block->bytes < bytes) {
        block.reset();  // before there is another
        block.reset(new Block(bytes));
    }
    return block;
}

void Kept::leave(std::unique_ptr<Block> block) {
    if (block->bytes <= most) delete left_.exchange(block.release());
}

std::unique_ptr<OwnedModel> make_model(const ik_config& c, const ik_tensor* tensors, int64_t count, const Isa& isa,
                                       int threads, int64_t pass_bytes) {
    check(c);
    auto owned = std::make_unique<OwnedModel>();
    Reader reader(tensors, count);
    const Making making{c.weight_type, threads, pass_bytes > 0 ? pass_bytes : second_level_cache() * 3 / 8};
    const Kernel& kernel = isa.kernel(c.weight_type);
    Builder builder(*owned, reader, kernel, making);
    Model& model = owned->model;
    const int64_t d = c.d_model, inner = static_cast<int64_t>(c.num_heads) * c.d_kv;
    model.config = c;
    model.kernel = &kernel;
    if (c.weight_type == IK_FP32) {
        model.embedding = builder.floats(c.vocab_size * d, "embedding");
    } else {
        model.embedding = builder.bytes(c.vocab_size * d, "embedding");
        model.embedding_scale = builder.floats(c.vocab_size, "embedding scale");
    }
    model.bias = builder.floats(c.num_heads * (2 * static_cast<int64_t>(c.max_distance) + 1), "position bias");
    model.final_norm = builder.floats(d, "final norm");
    if (c.dense) {
        model.dense = builder.dense(d, c.embedding_dim, "Dense");
        model.embedding_padded = round_up(c.embedding_dim, DENSE_COLUMNS);
    }
    for (int32_t i = 0; i < c.num_layers; ++i) {
        Layer layer;
        layer.attention_norm = builder.floats(d, "attention norm");
        layer.qkv = builder.product(d, 3 * inner, "qkv");
        layer.o = builder.product(inner, d, "o");
        layer.feed_forward_norm = builder.floats(d, "feed-forward norm");
        layer.wi = builder.product(d, c.d_ff, "wi");
        if (c.gated) layer.wi_1 = builder.product(d, c.d_ff, "wi_1");
        layer.wo = builder.product(c.d_ff, d, "wo", !c.gated);
        owned->layers.push_back(layer);
    }
    reader.finish();
    owned->workspaces.most = std::max(KEPT, builder.weight_bytes / 8);
    model.workspaces = &owned->workspaces;
    model.layers = owned->layers.data();
    return owned;
}

}  // namespace instructor

// A model and the memory behind it: made from checked tensors, shared by every call.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "model.h"

namespace instructor {

// An argument that cannot be used; the sentence is for the caller.
struct Invalid : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Free {
    void operator()(void* memory) const;
};
using Memory = std::unique_ptr<char, Free>;

// Uninitialised bytes, aligned to a cache line. Throws std::bad_alloc.
Memory allocate(int64_t bytes);

struct Block {
    explicit Block(int64_t bytes);  // uninitialised; throws std::bad_alloc
    int64_t bytes;
    Memory memory;
    char* begin;
};

// What one call leaves to the next: an allocator may give memory back to the system in between, and then every page of
// it costs a fault, which for a small model is more than the work. One block, and no lock that a fork could leave held.
class Kept {
public:
    ~Kept() { delete left_.load(); }
    std::unique_ptr<Block> take(int64_t bytes);  // at least so many; throws std::bad_alloc
    void leave(std::unique_ptr<Block> block);
    int64_t most = 0;  // bytes that are kept

private:
    std::atomic<Block*> left_{nullptr};
};

struct OwnedModel {
    Model model;
    std::vector<Layer> layers;
    std::vector<Memory> memory;
    Kept workspaces;
};

// Throws Invalid where a number of the configuration, the size of a tensor or a float is wrong.
// pass_bytes: see Product; 0: as much as a core's second-level cache holds well.
std::unique_ptr<OwnedModel> make_model(const ik_config& config, const ik_tensor* tensors, int64_t count, const Isa& isa,
                                       int threads, int64_t pass_bytes = 0);

}  // namespace instructor

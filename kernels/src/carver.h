#pragma once

#include <stdint.h>

#include "model.h"

namespace {

using namespace instructor;

// Hands out aligned pieces of one allocation; from a null base it only counts them.
class Carver {
public:
    explicit Carver(char* base) : base_(base) {}
    template <class T>
    T* take(int64_t count) {
        T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        used_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
        return piece;
    }
    int64_t used() const { return used_; }

private:
    char* base_;
    int64_t used_ = 0;
};

}  // namespace

// Threads that work on one unit together, stage by stage.
#pragma once

#include <stdint.h>

namespace instructor {

struct Range {
    int64_t first, last;
};

class Team {
public:
    explicit Team(int size) : size_(size) {}

    int size() const { return size_; }

    // The share of `member` in `total` things.
    Range share(int64_t total, int member) const { return {total * member / size_, total * (member + 1) / size_}; }

    // Wait until every member is here. Spins for the microseconds that a stage's imbalance takes, then yields.
    void sync() {
        if (size_ > 1) wait();
    }

private:
    void wait();

    const int size_;
    alignas(64) int arrived_ = 0;
    alignas(64) unsigned phase_ = 0;
};

}  // namespace instructor

// Threads that work on one unit together, stage by stage. A stage waits for its work and not for any thread: one that
// the system has not let run yet, or has taken the core from, leaves what it has not begun to the others.
#pragma once

#include <stdint.h>

namespace instructor {

struct Range {
    int64_t first, last;
};

class Team {
public:
    // size: members there is work for; slots: members there may be, each with scratch of its own.
    Team(int size, int slots);
    ~Team();
    Team(const Team&) = delete;

    int size() const { return size_; }
    int slots() const { return slots_; }

private:
    friend class Member;
    struct Bed;  // where those sleep who have waited long

    // The next piece of a stage, or -1: all are taken, or the stage is over.
    int64_t take(uint32_t stage, int64_t pieces);
    void finish(uint32_t stage, int64_t pieces);
    void wait(uint32_t stage);  // until it is over

    const int size_, slots_;
    Bed* const bed_;                 // nullptr for a team of one
    alignas(64) uint64_t next_ = 0;  // stage and, in the lower half, its next piece
    alignas(64) int64_t finished_ = 0;
};

// One thread's way through the stages, which are the same for every member.
class Member {
public:
    explicit Member(Team& team) : team_(team) {}

    // work(Range) for all of 0 ... total, in pieces; returns when the team has done all of them.
    template <class Work>
    void share(int64_t total, Work work) {
        if (team_.slots() == 1) return work(Range{0, total});
        const int64_t most = PIECES * team_.size(), pieces = total < most ? total : most;
        if (pieces == 0) return;
        for (int64_t piece; (piece = team_.take(stage_, pieces)) >= 0;) {
            work(Range{total * piece / pieces, total * (piece + 1) / pieces});
            team_.finish(stage_, pieces);
        }
        team_.wait(stage_++);
    }

private:
    static constexpr int64_t PIECES = 2;  // of a stage, for each member

    Team& team_;
    uint32_t stage_ = 0;
};

}  // namespace instructor

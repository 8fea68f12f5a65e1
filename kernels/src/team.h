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
    struct Shared;  // what is taken of each member's share, and where those sleep who have waited long

    // The next piece of a stage, of the slot's own share first, or -1: all are taken, or the stage is over.
    int64_t take(uint32_t stage, int64_t pieces, int slot);
    void finish(uint32_t stage, int64_t pieces);
    void wait(uint32_t stage);  // until it is over

    const int size_, slots_;
    Shared* const shared_;  // nullptr for a team of one
    alignas(64) uint32_t stage_ = 0;
    alignas(64) int64_t finished_ = 0;
};

// One thread's way through the stages, which are the same for every member.
class Member {
public:
    Member(Team& team, int slot) : team_(team), slot_(slot) {}

    // work(Range) for all of 0 ... total, in pieces; returns when the team has done all of them. A member begins with
    // pieces that follow each other, the same in each call: a core's cache keeps its slice of the weights.
    template <class Work>
    void share(int64_t total, Work work) {
        if (team_.slots() == 1) return work(Range{0, total});
        const int64_t pieces = pieces_of(total);
        if (pieces == 0) return;
        for (int64_t piece; (piece = team_.take(stage_, pieces, slot_)) >= 0;) {
            work(Range{total * piece / pieces, total * (piece + 1) / pieces});
            team_.finish(stage_, pieces);
        }
        team_.wait(stage_++);
    }

    // What of 0 ... total this member begins with, where nobody else takes of it.
    Range own(int64_t total) const {
        if (team_.slots() == 1 || total == 0) return Range{0, total};
        const int64_t size = team_.size(), owner = slot_ % size, pieces = pieces_of(total);
        return Range{total * (pieces * owner / size) / pieces, total * (pieces * (owner + 1) / size) / pieces};
    }

    // Into how many parts, `most` at most, each of `total` tasks is to be cut: one, where every member gets one whole.
    int64_t parts(int64_t total, int64_t most) const {
        const int64_t parts = total > 0 ? team_.size() / total : 1;
        return parts > most ? (most > 1 ? most : 1) : (parts > 1 ? parts : 1);
    }

private:
    static constexpr int64_t PIECES = 2;  // of a stage, for each member

    int64_t pieces_of(int64_t total) const {
        const int64_t most = PIECES * team_.size();
        return total < most ? total : most;
    }

    Team& team_;
    const int slot_;
    uint32_t stage_ = 0;
};

}  // namespace instructor

// What the simulation needs to know of a machine, measured on this one.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "model.h"

using Clock = std::chrono::steady_clock;

inline double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Others use the machine too: the fastest tenth of some samples is hardly disturbed.
template <class T>
double tenth(std::vector<T> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 10];
}

// A line of JSON: seconds, bytes a second.
void print_this_machine(const instructor::Model& model);

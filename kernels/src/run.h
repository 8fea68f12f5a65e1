// Texts -> units of work -> threads.
#pragma once

#include <vector>

#include "model.h"

namespace instructor {

// Multiplications a second of one core, as far as other work on the machine lets it be seen: a model's rate.
double measure_rate(const Kernel& kernel);

// What a thread costs here: 10 us on one machine, 40 on another.
Start measure_start();

// Throws std::bad_alloc, before anything is computed.
void run(const Model& model, std::vector<Text> texts, int threads);

}  // namespace instructor

// Texts -> units of work -> threads.
#pragma once

#include <vector>

#include "model.h"

namespace instructor {

// Throws std::bad_alloc; results are then incomplete.
void run(const Model& model, std::vector<Text> texts, int threads);

}  // namespace instructor

#pragma once

#include <string>

#include "model.h"

namespace instructor {

// Whether `isa` gives the bits of scalar on a small fixed model; otherwise `message` says what differs.
bool self_check(const Isa& isa, std::string& message);

}  // namespace instructor

#pragma once

#include <string>

#include "model.h"

namespace instructor {

// Whether `isa` gives the bits of scalar on small fixed models; otherwise `message` says what differs.
bool self_check(const Isa& isa, std::string& message);

}  // namespace instructor

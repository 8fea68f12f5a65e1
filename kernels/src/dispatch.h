#pragma once

#include "model.h"

namespace instructor {

int isa_count();
const Isa* isa_at(int index);  // nullptr past the end
const Isa* scalar();

}  // namespace instructor

// What this processor and its system have: for each instruction set a sentence that says why it cannot be used here,
// or nullptr. One function each, so that a test can build with others.
#pragma once

#include <stdint.h>

namespace instructor {

const char* missing_avx2();
const char* missing_avxvnni();
const char* missing_avx512vnni();
const char* missing_amx();  // also asks Linux for the permission to use tiles, which its processes start without
const char* missing_dotprod();
const char* missing_i8mm();
inline const char* missing_scalar() { return nullptr; }

// Bytes of a core's second-level cache, or of what most have where the system does not tell.
int64_t second_level_cache();

}  // namespace instructor

// Of the emulated build: every instruction set is there. Only for machines that have at least AVX2.
#include "cpu.h"

namespace instructor {

const char* missing_avx2() { return nullptr; }
const char* missing_avxvnni() { return nullptr; }
const char* missing_avx512vnni() { return nullptr; }
const char* missing_amx() { return nullptr; }

int64_t second_level_cache() { return 512 * 1024; }

}  // namespace instructor

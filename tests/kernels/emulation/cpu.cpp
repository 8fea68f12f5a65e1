// Of the emulated build: every instruction set is there. Only for machines that have at least AVX2.
#include "cpu.h"

namespace instructor {

bool has_avx2() { return true; }
bool has_avxvnni() { return true; }
bool has_avx512vnni() { return true; }
bool has_amx() { return true; }

}  // namespace instructor

// The instruction sets of this build, best first.
#include "dispatch.h"

namespace instructor {

#define IK_ISA(name) extern const Isa isa_##name;
#include "isa/isas.inc"
#undef IK_ISA

namespace {

#define IK_ISA(name) &isa_##name,
const Isa* const ISAS[] = {
#include "isa/isas.inc"
};
#undef IK_ISA

}  // namespace

int isa_count() { return static_cast<int>(sizeof ISAS / sizeof *ISAS); }

const Isa* isa_at(int index) { return index >= 0 && index < isa_count() ? ISAS[index] : nullptr; }

const Isa* scalar() { return ISAS[isa_count() - 1]; }

}  // namespace instructor

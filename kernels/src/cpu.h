// What this processor and its system have. One function each, so that a test can build with others.
#pragma once

namespace instructor {

bool has_avx2();
bool has_avxvnni();
bool has_avx512vnni();
bool has_amx();  // also asks Linux for the permission to use tiles, which its processes start without
bool has_dotprod();
bool has_i8mm();

}  // namespace instructor

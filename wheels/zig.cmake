# Cross-compiles with Zig's Clang, which has headers and C libraries of every system below: CMake's toolchain file.
#   ZIG                the program
#   INSTRUCTOR_TARGET  Zig's name of the target: x86_64-linux-gnu.2.17, aarch64-macos.12.0, x86_64-windows-gnu
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG INSTRUCTOR_TARGET)

string(REGEX MATCH "^([a-z0-9_]+)-([a-z]+)" matched ${INSTRUCTOR_TARGET})
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
if(CMAKE_MATCH_2 STREQUAL "linux")
  set(CMAKE_SYSTEM_NAME Linux)
elseif(CMAKE_MATCH_2 STREQUAL "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(CMAKE_MATCH_2 STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  message(FATAL_ERROR "INSTRUCTOR_TARGET: found ${INSTRUCTOR_TARGET}, expected one of Linux, macOS or Windows")
endif()

set(CMAKE_CXX_COMPILER ${ZIG} c++ -target ${INSTRUCTOR_TARGET})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Two builds are the same bytes: no symbols, which name folders, and no identity of a build.
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s)  # of macOS

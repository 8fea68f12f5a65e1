"""The kernels compiled and run as programs: each instruction set against scalar code, and bad arguments.

compare.cpp demands the same bits on random shapes, teams.cpp with up to 64 threads; fuzz.cpp demands error codes.
Sanitizers watch them. What this machine cannot run is emulated (x86) or run by qemu (Arm), and clang-tidy reads all of
it, each file with the flags it is compiled with. Each test skips visibly where its tools are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each compiles the kernels

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
CROSS_COMPILER, QEMU = "aarch64-linux-gnu-g++", "qemu-aarch64"
ARM = ("CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=aarch64", f"CMAKE_CXX_COMPILER={CROSS_COMPILER}")
CLANG_TIDY = str(Path(sys.executable).with_name("clang-tidy"))
QUICKLY = "CMAKE_CXX_FLAGS=-O0"  # compiled, where speed is not the question
SANITIZE_THREADS = "-O0 -g -fsanitize=thread"
SANITIZE = "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all"


def build(
    folder: Path, *options: str, programs: tuple[str, ...] = ("compare", "teams"), sources: Path = KERNELS
) -> Path:
    """Compile the test programs into `folder`."""
    configure(folder, f"INSTRUCTOR_KERNELS_TESTS={HERE}", *options, sources=sources)
    run("ninja", "-C", str(folder), *programs)
    return folder


def configure(folder: Path, *options: str, sources: Path = KERNELS) -> None:
    needs("cmake", "ninja", "c++")
    run("cmake", "-S", str(sources), "-B", str(folder), "-G", "Ninja", *(f"-D{option}" for option in options))


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")


def tidied(folder: Path, *options: str, sources: Path = KERNELS, names: tuple[str, ...] = ("",)) -> str:
    """What clang-tidy says of the source files of a build whose paths contain one of `names`: "" where nothing."""
    needs(CLANG_TIDY)
    configure(folder, "CMAKE_EXPORT_COMPILE_COMMANDS=ON", *options, sources=sources)
    files = [entry["file"] for entry in json.loads((folder / "compile_commands.json").read_text())]
    chosen = [file for file in files if any(name in file for name in names)]
    assert chosen
    options = ("--quiet", "--extra-arg=-Wno-ignored-optimization-argument")  # some flags are GCC's alone
    command = [CLANG_TIDY, *options, f"--config-file={KERNELS.parent / '.clang-tidy'}", "-p", str(folder), *chosen]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def check_initializers(folder: Path) -> None:
    """No code runs when the library is loaded: the processor may not have it, and nobody could catch what it throws."""
    objects = sorted(folder.glob("CMakeFiles/instructor_kernels_objects.dir/src/**/*.o"))
    assert objects
    for path in objects:
        assert ".init_array" not in run("readelf", "--sections", "--wide", str(path)), path.name


def needs_avx2() -> None:
    if os.uname().machine != "x86_64" or "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs AVX2")


def compared(output: str) -> set[str]:
    """The instruction sets that compare.cpp or teams.cpp has compared."""
    return {line.partition(":")[0] for line in output.splitlines() if line.endswith("rounds")}


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("sanitized"),
        f"CMAKE_CXX_FLAGS={SANITIZE}",
        "CMAKE_BUILD_TYPE=None",
        programs=("compare", "fuzz", "teams"),
    )


def test_this_machine_under_sanitizers(sanitized: Path) -> None:
    for program, rounds in (("compare", "8"), ("teams", "4")):
        assert "scalar" in compared(run(str(sanitized / program), rounds, "1"))


def test_teams_of_64_under_the_thread_sanitizer(tmp_path: Path) -> None:
    folder = build(tmp_path, f"CMAKE_CXX_FLAGS={SANITIZE_THREADS}", "CMAKE_BUILD_TYPE=None", programs=("teams",))
    assert "scalar" in compared(run(str(folder / "teams"), "3", "1"))


def test_bad_arguments_are_error_codes(sanitized: Path) -> None:
    output = run(str(sanitized / "fuzz"), "5", "1")
    assert "refused" in output


def test_x86_emulated(tmp_path: Path) -> None:
    needs_avx2()
    folder = build(
        tmp_path, f"INSTRUCTOR_KERNELS_EMULATION={HERE / 'emulation'}", "CMAKE_CXX_FLAGS=-O1", "CMAKE_BUILD_TYPE=None"
    )
    check_initializers(folder)
    for program, rounds in (("compare", "8"), ("teams", "4")):
        assert compared(run(str(folder / program), rounds, "2")) == {"amx", "avx512vnni", "avxvnni", "avx2", "scalar"}


@pytest.mark.parametrize(("weight_bytes", "model"), [(1, "short"), (4, "fp32 long")])
def test_the_self_check_meets_a_tile_that_is_wrong_at_one_height(tmp_path: Path, weight_bytes: int, model: str) -> None:
    needs_avx2()
    sources = Path(shutil.copytree(KERNELS, tmp_path / "kernels"))
    tiles = sources / "src/tiles.h"
    right = "Tiles::template tile<HEIGHT>(a, stride, panel, k, sums, ahead);"
    assert right in tiles.read_text()
    tiles.write_text(
        tiles.read_text().replace(right, f"{right} if (HEIGHT == 2 && sizeof *panel == {weight_bytes}) ++sums[0];")
    )
    folder = build(tmp_path / "build", QUICKLY, "CMAKE_BUILD_TYPE=None", programs=("compare",), sources=sources)
    done = subprocess.run([str(folder / "compare"), "0", "1"], capture_output=True, text=True)
    assert f"of the self-check's {model} model" in done.stderr


def test_arm_in_qemu(tmp_path: Path) -> None:
    needs(CROSS_COMPILER, QEMU)
    folder = build(tmp_path, *ARM, "CMAKE_EXE_LINKER_FLAGS=-static")
    check_initializers(folder)
    for program, rounds in (("compare", "4"), ("teams", "2")):
        output = run(QEMU, "-cpu", "max", str(folder / program), rounds, "3")
        assert compared(output) == {"i8mm", "dotprod", "scalar"}


def test_clang_tidy_finds_nothing(tmp_path: Path) -> None:
    assert tidied(tmp_path) == ""


def test_clang_tidy_finds_nothing_in_the_code_for_arm(tmp_path: Path) -> None:
    needs(CROSS_COMPILER)
    assert tidied(tmp_path, *ARM, names=("/isa/", "/cpu.cpp")) == ""


def test_clang_tidy_meets_a_mistake_in_a_header(tmp_path: Path) -> None:
    sources = Path(shutil.copytree(KERNELS, tmp_path / "kernels"))
    header = sources / "src/tiles.h"
    header.write_text(header.read_text() + "inline double half(int a) { return a / 2; }\n")
    assert "bugprone-integer-division" in tidied(tmp_path / "build", sources=sources, names=("/isa/scalar.cpp",))

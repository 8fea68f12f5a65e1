"""The kernels' sources -> assembly -> its inner loops. Knows nothing of processors or costs."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ARM_COMPILER = "aarch64-linux-gnu-g++"
ARM = ("CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=aarch64", f"CMAKE_CXX_COMPILER={ARM_COMPILER}")

_LABEL = re.compile(r"^([.\w$]+):")
_BRANCH = re.compile(
    r"^(?:j\w+|b|b\.\w+|b(?:eq|ne|lt|le|gt|ge|lo|ls|hi|hs|cc|cs|mi|pl)|cbn?z|tbn?z)\s(?:.*[\s,])?(\.\w+)$"
)


@dataclass(frozen=True)
class Loop:
    """An inner loop: from its first instruction to the branch back."""

    function: str
    instructions: tuple[str, ...]

    def count(self, name: str) -> int:
        """Instructions of this name."""
        return sum(opcode(instruction) == name for instruction in self.instructions)

    @property
    def stack(self) -> int:
        """Instructions that touch the stack, for what the registers had no room for."""
        return sum(bool(re.search(r"\(%rsp\)|\[sp[,\]]", instruction)) for instruction in self.instructions)


def opcode(instruction: str) -> str:
    return instruction.removeprefix("{vex}").split(maxsplit=1)[0]


def tool(name: str) -> str:
    """Where a program is.

    Raises:
        FileNotFoundError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed.")
    return path


@functools.cache
def compile_isa(kernels: Path, isa: str, options: tuple[str, ...] = ()) -> str:
    """The assembly of src/isa/<isa>.cpp, with the flags that the build gives it.

    Args:
        options: of CMake, beside the build's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        defines = [f"-D{option}" for option in ("CMAKE_EXPORT_COMPILE_COMMANDS=ON", *options)]
        _run(tool("cmake"), "-S", str(kernels), "-B", folder, "-G", "Ninja", *defines)
        commands = json.loads((Path(folder) / "compile_commands.json").read_text(encoding="utf-8"))
        found = [entry["command"] for entry in commands if Path(entry["file"]).stem == isa]
        if len(found) != 1:
            raise ValueError(f"{kernels}: a build for this processor has no instruction set {isa}.")
        command = shlex.split(found[0])
        place = command.index("-o")
        return _run(*command[:place], *command[place + 2 :], "-S", "-o", "-")


def loops(assembly: str, holds: str = "") -> list[Loop]:
    """The innermost loops with an instruction called `holds`, in their order; loops within are taken for one turn."""
    return [loop for name, body, labels in functions(assembly) for loop in _innermost(name, body, labels, holds)]


def functions(assembly: str) -> Iterator[tuple[str, list[str], dict[str, int]]]:
    """Name, instructions, and the places of labels among them."""
    name = ""
    body: list[str] = []
    labels: dict[str, int] = {}
    for line in assembly.splitlines():
        if label := _LABEL.match(line):
            if label[1].startswith(".L"):
                labels[label[1]] = len(body)
            else:
                yield name, body, labels
                name, body, labels = label[1], [], {}
            continue
        instruction = " ".join(line.split("//")[0].split())
        if instruction and not instruction.startswith((".", "#")):
            body.append(instruction)
    yield name, body, labels


def _innermost(name: str, body: list[str], labels: dict[str, int], holds: str) -> list[Loop]:
    found: list[tuple[int, int]] = []
    for place, instruction in enumerate(body):
        branch = _BRANCH.match(instruction)
        begin = labels.get(branch[1], place + 1) if branch else place + 1
        held = any(not holds or opcode(each) == holds for each in body[begin : place + 1])
        if held and not any(begin <= other for other, _ in found):
            found.append((begin, place + 1))
    return [Loop(name, tuple(body[begin:end])) for begin, end in found]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout

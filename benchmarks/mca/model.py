"""Loops -> cycles, by llvm-mca. Everything is in the first-level cache, every branch foreseen: a model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.mca.assembly import Loop, opcode, tool

ITERATIONS = 200
DEPENDENCIES = "dependencies"

# llvm-mca knows no costs of AMX (100 cycles each, four at once). In Intel's optimisation manual a tile is loaded in
# 8 cycles of both load ports, and a product takes 16 cycles of its own unit, its sums 52. What stands here for a tile
# instruction takes as long of the same ports, or of a unit that nothing else uses (the divider), in as few operations
# as there are: how many the real ones are, and how far ahead they run, is not known to this model.
TILE_LATENCY = 52
TILE_PEAK = 16.0  # cycles of a product


@dataclass(frozen=True)
class Cost:
    """Of one turn of a loop."""

    cycles: float
    bottleneck: str  # the busiest port, "dispatch", or "dependencies" where nothing is busy
    busy: dict[str, float] = field(default_factory=dict, compare=False)  # cycles of each port, and of dispatch


def version() -> str:
    """llvm-mca's own."""
    said = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", said)
    return found[1] if found else "unknown"


def knows(processor: str, *, arm: bool) -> bool:
    """Whether this llvm-mca has heard of it."""
    try:
        _report(_region(["nop"]), processor, arm=arm)
    except ValueError:
        return False
    return True


def costs(loops: Sequence[Loop], processor: str, *, arm: bool) -> list[Cost]:
    """Each loop's on a processor.

    Raises:
        ValueError: this llvm-mca does not know the processor.
    """
    report = _report("\n".join(_region(loop.instructions) for loop in loops), processor, arm=arm)
    found = [_cost(region, report["TargetInfo"]["Resources"]) for region in report["CodeRegions"]]
    return [_chained(loop, cost) for loop, cost in zip(loops, found, strict=True)]


def reciprocal_throughput(instruction: str, processor: str, *, arm: bool) -> float:
    """Cycles from one instruction to the next of its kind."""
    if opcode(instruction).startswith("tdpb"):
        return TILE_PEAK
    report = _report(_region([instruction]), processor, arm=arm)
    return float(report["CodeRegions"][0]["InstructionInfoView"]["InstructionList"][0]["RThroughput"])


def _region(instructions: Sequence[str]) -> str:
    lines = [line for instruction in instructions for line in _stand_in(instruction)]
    return "\n".join(["# LLVM-MCA-BEGIN", *lines, "# LLVM-MCA-END"])


def _stand_in(instruction: str) -> list[str]:
    name, operands = opcode(instruction), re.findall(r"\([^)]*\)|%tmm\d", instruction)
    tiles = [operand.replace("%tmm", "%ymm2") for operand in operands if operand.startswith("%tmm")]
    if name in ("tileloadd", "tileloaddt1"):
        return [f"vmovups {operands[0]}, {tiles[0]}"] * 16
    if name == "tilestored":
        return [f"vmovups {tiles[0]}, {operands[1]}"] * 16
    if name.startswith("tdpb"):
        weights, activations, sums = tiles
        return [f"vdivpd {weights}, {activations}, %ymm31", f"vdivpd %ymm31, {sums}, {sums}"]
    if name == "tilezero":
        return [f"vpxord {tiles[0]}, {tiles[0]}, {tiles[0]}"]
    return [instruction]


def _chained(loop: Loop, cost: Cost) -> Cost:
    """Not less than the products of one tile of sums take, one after the other."""
    sums = [instruction.split(",")[-1] for instruction in loop.instructions if opcode(instruction).startswith("tdpb")]
    least = TILE_LATENCY * max((sums.count(tile) for tile in sums), default=0)
    return cost if cost.cycles >= least else Cost(float(least), DEPENDENCIES)


def _cost(region: dict[str, Any], resources: Sequence[str]) -> Cost:
    summary, pressure = region["SummaryView"], region["ResourcePressureView"]
    cycles = summary["TotalCycles"] / summary["Iterations"]
    busy = {"dispatch": summary["TotaluOps"] / summary["Iterations"] / summary["DispatchWidth"]}
    for entry in pressure["ResourcePressureInfo"]:
        if entry["InstructionIndex"] == len(region["Instructions"]):  # all of them together
            busy[resources[entry["ResourceIndex"]].split(".")[0]] = entry["ResourceUsage"]  # "unit.which of them"
    busiest = max(busy, key=busy.__getitem__)
    return Cost(cycles, busiest if busy[busiest] > 0.9 * cycles else DEPENDENCIES, busy)


def _report(assembly: str, processor: str, *, arm: bool) -> dict[str, Any]:
    target = ["-mtriple=aarch64", "-mattr=+i8mm,+dotprod"] if arm else ["-mtriple=x86_64"]
    command = [_program(), "--json", f"-mcpu={processor}", f"-iterations={ITERATIONS}", *target]
    done = subprocess.run(command, input=assembly + "\n", capture_output=True, text=True, check=False)
    if "not a recognized processor" in done.stderr:
        raise ValueError(f"llvm-mca {version()} does not know {processor}.")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _program() -> str:
    """The newest llvm-mca: its models of processors change much from version to version."""
    for number in range(40, 13, -1):
        if found := shutil.which(f"llvm-mca-{number}"):
            return found
    return tool("llvm-mca")

"""The tiles of each instruction set: which loops they are, and what the model's cycles are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mca import model
from benchmarks.mca.assembly import ARM, Loop, compile_isa, loops


@dataclass(frozen=True)
class Isa:
    """What tells a tile's loop, and what a turn of it does."""

    name: str
    instruction: str  # that multiplies, in the assembly
    example: str  # one as llvm-mca reads it
    products: int  # multiply-adds of one
    row: int  # multiply-adds of one row of the tile in a turn
    processors: tuple[str, ...]
    arm: bool = False


ISAS = (
    Isa("amx", "tdpbusd", "tdpbusd %tmm0, %tmm1, %tmm2", 16 * 16 * 64, 32 * 64, ("icelake-server",)),
    Isa(
        "avx512vnni",
        "vpdpbusd",
        "vpdpbusd %zmm0, %zmm1, %zmm2",
        64,
        32 * 4,
        ("icelake-server", "sapphirerapids", "znver4"),
    ),
    Isa("avxvnni", "vpdpbusd", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2", 32, 16 * 4, ("alderlake",)),
    Isa("avx2", "vpmaddubsw", "vpmaddubsw %ymm0, %ymm1, %ymm2", 32, 16 * 8, ("znver3", "alderlake")),
    Isa("i8mm", "smmla", "smmla v0.4s, v1.16b, v2.16b", 32, 16 * 8, ("neoverse-v1", "neoverse-n2", "apple-m2"), True),
    Isa("dotprod", "sdot", "sdot v0.4s, v1.16b, v2.4b[0]", 16, 16 * 16, ("neoverse-n1", "apple-m2"), True),
)

# Where LLVM's tables (14 to 22) are known not to be the processor's.
DOUBTS = {
    "apple-m2": "LLVM has no table of it, and takes that of Cyclone, of 2013.",
    "sapphirerapids": "LLVM's table has one 512-bit multiplier; the servers have two.",
    "znver4": "LLVM's table takes two cycles for a VNNI product of registers and one where an operand is in memory.",
}


def tiles(isa: Isa, assembly: str) -> dict[int, list[Loop]]:
    """Rows of a tile -> its loops: one for each place where the compiler has put it. Not the one that measures."""
    found: dict[int, dict[tuple[str, ...], Loop]] = {}
    for loop in loops(assembly, isa.instruction):
        rows, rest = divmod(loop.count(isa.instruction) * isa.products, isa.row)
        if rows and not rest and "peak" not in loop.function:
            shape = tuple(instruction.split()[0] for instruction in loop.instructions)
            found.setdefault(rows, {}).setdefault(shape, loop)
    return {rows: list(found[rows].values()) for rows in sorted(found)}


def measure(isa: Isa, kernels: Path) -> list[dict[str, Any]]:
    """A line for each processor and height: of several loops the slowest. None for processors that LLVM has not."""
    found = tiles(isa, compile_isa(kernels, isa.name, ARM if isa.arm else ()))
    if not found:
        raise ValueError(f"{isa.name}: no inner loop with {isa.instruction}.")
    lines = []
    for processor in isa.processors:
        if not model.knows(processor, arm=isa.arm):
            continue
        throughput = model.reciprocal_throughput(isa.example, processor, arm=isa.arm)
        for rows, places in found.items():
            costs = model.costs(places, processor, arm=isa.arm)
            worst = max(costs, key=lambda cost: cost.cycles)
            products = rows * isa.row
            lines.append(
                {
                    "isa": isa.name,
                    "processor": processor,
                    "rows": rows,
                    "cycles": round(worst.cycles, 2),
                    "best_cycles": round(min(cost.cycles for cost in costs), 2),
                    "loops": len(places),
                    "products": products,
                    "products_per_cycle": round(products / worst.cycles, 1),
                    "share_of_peak": round(products / worst.cycles * throughput / isa.products, 3),
                    "bottleneck": worst.bottleneck,
                    "stack": max(loop.stack for loop in places),
                }
            )
    return lines

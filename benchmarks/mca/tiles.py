"""The tiles of each instruction set: which loops they are, and what the model's cycles are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mca import model
from benchmarks.mca.assembly import ARM, Loop, compile_isa, loops, opcode


@dataclass(frozen=True)
class Isa:
    """What tells the loop of a tile, and what a turn of it does."""

    name: str
    instruction: str  # that multiplies, in the assembly
    example: str  # one as llvm-mca reads it
    products: int  # multiply-adds of one
    row: int  # multiply-adds of one row of the tile in a turn
    processors: tuple[str, ...]
    arm: bool = False
    words: bool = False  # attention's products of 16 bits, of which only the largest tile is taken


_AVX512, _AVX2 = ("icelake-server", "sapphirerapids", "znver4"), ("znver3", "alderlake")
_I8MM, _DOTPROD = ("neoverse-v1", "neoverse-n2", "apple-m2"), ("neoverse-n1", "apple-m2")
_ZMM, _YMM = "%zmm0, %zmm1, %zmm2", "%ymm0, %ymm1, %ymm2"
_SMMLA, _SDOT = "smmla v0.4s, v1.16b, v2.16b", "sdot v0.4s, v1.16b, v2.4b[0]"

# A product of words is four of bytes where bytes are what is multiplied.
ISAS = (
    Isa("amx", "tdpbusd", "tdpbusd %tmm0, %tmm1, %tmm2", 16 * 16 * 64, 32 * 64, ("icelake-server",)),
    Isa("amx", "tdpbssd", "tdpbssd %tmm0, %tmm1, %tmm2", 16 * 16 * 16, 16 * 64, ("icelake-server",), words=True),
    Isa("avx512vnni", "vpdpbusd", f"vpdpbusd {_ZMM}", 64, 32 * 4, _AVX512),
    Isa("avx512vnni", "vpdpwssd", f"vpdpwssd {_ZMM}", 32, 32 * 2, _AVX512, words=True),
    Isa("avxvnni", "vpdpbusd", f"{{vex}} vpdpbusd {_YMM}", 32, 16 * 4, ("alderlake",)),
    Isa("avxvnni", "vpdpwssd", f"{{vex}} vpdpwssd {_YMM}", 16, 16 * 2, ("alderlake",), words=True),
    Isa("avx2", "vpmaddubsw", f"vpmaddubsw {_YMM}", 32, 16 * 8, _AVX2),
    Isa("avx2", "vpmaddwd", f"vpmaddwd {_YMM}", 16, 16 * 2, _AVX2, words=True),
    Isa("i8mm", "smmla", _SMMLA, 32, 16 * 8, _I8MM, arm=True),
    Isa("i8mm", "smmla", _SMMLA, 8, 8 * 8, _I8MM, arm=True, words=True),
    Isa("dotprod", "sdot", _SDOT, 16, 16 * 16, _DOTPROD, arm=True),
    Isa("dotprod", "sdot", _SDOT, 4, 16 * 16, _DOTPROD, arm=True, words=True),
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
        words = "Words" in loop.function or isa.instruction == "tdpbssd"
        rows, rest = divmod(loop.count(isa.instruction) * isa.products, isa.row)
        if rows and not rest and words == isa.words and "peak" not in loop.function:
            shape = tuple(opcode(instruction) for instruction in loop.instructions)
            found.setdefault(rows, {}).setdefault(shape, loop)
    heights = [max(found)] if isa.words and found else sorted(found)
    return {rows: list(found[rows].values()) for rows in heights}


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
                    "words": isa.words,
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

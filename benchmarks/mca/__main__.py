"""The kernels' tiles as llvm-mca models them, on processors that are not at hand.

    python -m benchmarks.mca                                  # all instruction sets, a minute
    python -m benchmarks.mca --isa i8mm,dotprod --kernels ../before/kernels
    python -m benchmarks.mca --isa amx --token                # and a token of the base shape on AMX, stage by stage

A model, not a measurement: everything is in the first-level cache, every branch is foreseen, and LLVM's tables are
taken for true. What is modelled: one turn of the tile's inner loop, for each number of rows, as the compiler of this
machine (or its cross compiler for Arm) makes it. Where the compiler has put a tile in several places, the slowest.
The peak is that of the instruction that multiplies, alone, by the same tables. Words: attention's products, of 16 bits.
AMX is modelled on Ice Lake's ports, with the costs of tiles in Intel's manual (model.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT, commands, results
from benchmarks.common.markdown import table
from benchmarks.mca import model, token
from benchmarks.mca.tiles import DOUBTS, ISAS, measure

SHAPES = ((1, 32), (8, 64), (32, 128), (4, 512))  # texts, tokens of each


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    chosen = [isa for isa in ISAS if isa.name in options.isa]
    lines = [line for isa in chosen for line in measure(isa, options.kernels)]
    unknown = {name for isa in chosen for name in isa.processors} - {line["processor"] for line in lines}
    found: dict[str, Any] = {
        "date": results.today(),
        "model": f"llvm-mca {model.version()}",
        "unknown": sorted(unknown),
        "tiles": lines,
    }
    if options.token:
        found["token"] = _token(options.kernels)
    results.write(options.out, found)
    sys.stdout.write(_text(found) + "\n")
    return 0


def _token(kernels: Path) -> dict[str, Any]:
    by_length = {length: token.stages(kernels, length) for length in sorted({length for _, length in SHAPES})}
    rates = {f"({batch},{length})": token.rate(by_length[length], batch, length) for batch, length in SHAPES}
    return {"cycles": by_length, "tokens_per_second": rates}


def _token_text(found: dict[str, Any]) -> str:
    stages = list(next(iter(found["cycles"].values())))
    rows = [[stage, *(f"{cycles[stage] / 1e3:.0f}" for cycles in found["cycles"].values())] for stage in stages]
    rates = ", ".join(f"{rate / 1e3:.1f} at {shape}" for shape, rate in found["tokens_per_second"].items())
    lengths = [f"{length} tokens" for length in found["cycles"]]
    return (
        f"\nA token of the base shape on AMX, thousand cycles in the first-level cache:\n\n"
        f"{table(['', *lengths], rows)}\n\n"
        f"Thousand tokens a second of {token.CORES} cores at {token.CLOCK / 1e9} GHz: {rates}."
    )


def _text(found: dict[str, Any]) -> str:
    titles = ["", "processor", "rows", "cycles", "multiply-adds a cycle", "of the peak", "bound by", "on the stack"]
    rows = [
        [
            line["isa"] + (", words" if line["words"] else ""),
            line["processor"] + (" \\*" if line["processor"] in DOUBTS else ""),
            str(line["rows"]),
            _range(line["best_cycles"], line["cycles"]),
            f"{line['products_per_cycle']:,.1f}",
            f"{line['share_of_peak']:.0%}",
            line["bottleneck"],
            str(line["stack"]),
        ]
        for line in found["tiles"]
    ]
    unknown = [f"{name}: unknown to this llvm-mca." for name in found["unknown"]]
    named = {line["processor"] for line in found["tiles"]}
    doubts = [f"\\* {name}: {doubt}" for name, doubt in DOUBTS.items() if name in named]
    return "\n".join(
        [
            f"{found['model']}: a model, nothing here was measured.\n",
            table(titles, rows, left=2),
            "",
            *doubts,
            *unknown,
            *([_token_text(found["token"])] if "token" in found else []),
        ]
    )


def _range(best: float, worst: float) -> str:
    return f"{worst:.1f}" if f"{best:.1f}" == f"{worst:.1f}" else f"{best:.1f} to {worst:.1f}"


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("mca", __doc__)
    names = list(dict.fromkeys(isa.name for isa in ISAS))
    parser.add_argument("--isa", type=commands.names, default=names, help="names, with commas between; default: all")
    parser.add_argument("--kernels", type=Path, default=PROJECT / "kernels", help="their sources")
    parser.add_argument("--token", action="store_true", help="a token's stages on AMX, too")
    parser.add_argument("--out", type=Path, default=results.RESULTS / "mca.json", help="results file")
    return parser


if __name__ == "__main__":
    sys.exit(main())

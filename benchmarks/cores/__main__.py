"""The native engine's schedule on machines that are not at hand: 8, 32, 128 cores, one and two sockets.

    python -m benchmarks.cores                                  # some 5 minutes; needs two cores, CMake and Ninja
    python -m benchmarks.cores --before ../other/kernels        # another tree's kernels beside this one's
    python -m benchmarks.cores --shapes 1x16,8x64 --cores 8,64x2 --assume socket_bandwidth=2e11
    python -m benchmarks.cores benchmarks/results/cores-*.json --docs docs/kernels.md     # only the tables

What plays is the kernels' own code: the plan of units, the team sizes, the stages, who takes which piece and who waits
(schedule.cpp, which this command compiles). What a piece costs is measured on one core, cut as the larger team cuts it,
once with weights that come from memory, brought ahead as far as the tiles do, and twice with weights at hand. What the
simulation adds is what one core cannot show:

    memory        weights that a core's cache does not hold come over its cluster's and its socket's way to memory,
                  first come, first served, while the piece computes: where that takes longer, it counts
    other cores   a cache line that another core has written, one at a time (the counter of finished pieces) or many
                  (the shares that are looked at in vain, activations)
    threads       started one after the other by the caller; one that has waited for 50 us sleeps and has to be woken

It is checked first: what this machine's cores do, measured in turns with the pieces, beside what is simulated for them.
Others may use the machine meanwhile: a run counts where its threads had their cores to themselves, as its processor
time tells; where there was none, the table has a dash.
Then come the predictions, each twice: "kept", every thread on the core where it was in the call before, whose cache has
its slice of the weights if that fits; "new", every thread on another core, all weights from memory. Linux keeps
threads where they were for as long as it likes: the truth lies between.

What is assumed of machines that are not here is in the results beside what was measured (--assume changes it): cores
like this one's; clusters of 8 cores with the bandwidth that was measured here; DDR5's 400 GB/s a socket, 200 between
two; a socket's lines as far away as the cores here are from each other, another socket's twice as far; half of the
weights in the other socket's memory. Not simulated: clocks that fall when many cores work, third-level caches, what
else a machine does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import PROJECT, commands
from benchmarks.common.markdown import rewrite_block
from benchmarks.cores.play import BASE, measure
from benchmarks.cores.report import tables

SHAPES = "1x16,1x32,1x64,1x512,8x64,4x512,64xmixed,128x128,512x128"
CORES = "8,32,16x2,128,64x2"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    text = "\n\n".join(tables(path) for path in options.results or [measure(options)])
    sys.stdout.write(text + "\n")
    if options.docs:
        rewrite_block(options.docs, text, "cores")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("cores", __doc__)
    parser.add_argument("results", nargs="*", type=Path, metavar="RESULTS.json", help="results to show again")
    parser.add_argument("--kernels", type=Path, default=PROJECT / "kernels", help="sources; default: this tree's")
    parser.add_argument("--before", type=Path, help="sources of other kernels, played as well")
    parser.add_argument("--isa", help="instruction set; default: the best one here")
    parser.add_argument(
        "--shapes",
        type=commands.names,
        default=commands.names(SHAPES),
        help=f"TEXTSxTOKENS or TEXTSxmixed; default: {SHAPES}",
    )
    parser.add_argument(
        "--cores", type=commands.names, default=commands.names(CORES), help=f"CORES[xSOCKETS]; default: {CORES}"
    )
    parser.add_argument(
        "--assume", action="append", default=[], metavar="NAME=NUMBER", help="of the machines that are predicted"
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn of measuring; default: 0.5")
    parser.add_argument(
        "--here",
        type=Path,
        help="results whose figures of this machine are taken: on a busy one they are not to be had",
    )
    parser.add_argument("--layers", type=int, default=BASE["num_layers"], help="of the base shape; default: all")
    commands.add_out(parser, "cores-base")
    commands.add_page(parser, "--docs", "cores")
    return parser


if __name__ == "__main__":
    sys.exit(main())

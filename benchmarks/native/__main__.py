"""The native engine against onnxruntime, variant by variant: speed, load, memory, share of the peak, cosine to PyTorch.

    python -m benchmarks.native BUNDLE CHECKPOINT                                # some 4 minutes for the base shape
    python -m benchmarks.native BUNDLE CHECKPOINT BUNDLE2 CHECKPOINT2 ...        # cosines of more models, too
    python -m benchmarks.native benchmarks/results/native-*.json --docs docs/benchmarks.md          # only the tables

The first bundle is timed: one engine's run over tokens that are ready (no tokenising), everything in turns, with a
pause between them; medians. A turn of a query has as many runs as fit 0.1 s. Not timed: loading, a first run of each.
onnxruntime gets batches as the runtime cuts them, the native engine all texts at once; int8 on onnxruntime runs with
and without `session.x64quantprecision`. torch is the fp32 encoder of transformers on the same padded batches. Load: in
a new process, memory after a first text. The peak is that of exact int8 products after a ReLU, the fastest there are.
Cosines: of the exporter's probe rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import commands
from benchmarks.common.markdown import rewrite_block
from benchmarks.native.measure import measure
from benchmarks.native.report import tables


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    finished = all(path.suffix == ".json" for path in options.subjects)
    paths = options.subjects if finished else [measure(options)]
    text = "\n\n".join(tables(path) for path in paths)
    sys.stdout.write(text + "\n")
    if options.docs:
        rewrite_block(options.docs, text, "native")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("native", __doc__)
    parser.add_argument(
        "subjects",
        nargs="+",
        type=Path,
        metavar="BUNDLE CHECKPOINT|RESULTS.json",
        help="pairs, or results to show again",
    )
    commands.add_threads(parser)
    commands.add_out(parser, "native-<model>")
    commands.add_page(parser, "--docs", "native")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""One build of the kernels beside another: another compiler's, or another commit's. One thread's processor time.

    python -m benchmarks.builds BEFORE AFTER                              # wheels, or compiled libraries
    python -m benchmarks.builds BEFORE AFTER --bundle my-bundle --variants int8,fp32
    python -m benchmarks.builds benchmarks/results/builds-*.json --docs docs/platforms.md          # only the table

Both run the same tokens in turns, by each instruction set that this machine has, in two processes; the least of all
runs counts, as others' work only adds to it. The ratio is BEFORE's time by AFTER's: above 1, AFTER is faster. Their
vectors are compared, too: a differing bit is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from instructor_onnx import INSTRUCTOR, Manifest, engines
from instructor_onnx.tokens import Tokens

from benchmarks.common import commands, machine, results
from benchmarks.common.markdown import rewrite_block, table
from wheels.build import library

SHAPES = "1x16,1x32,1x64,8x64,4x512"
SECONDS = 0.4  # of a turn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    if options.worker:
        return work(options.subjects[0])
    finished = all(path.suffix == ".json" for path in options.subjects)
    paths = options.subjects if finished else [measure(options)]
    text = "\n\n".join(tables(results.read(path, "milliseconds")) for path in paths)
    sys.stdout.write(text + "\n")
    if options.docs:
        rewrite_block(options.docs, text, "builds")
    return 0


def measure(options: argparse.Namespace) -> Path:
    """Time both and write the results file.

    Raises:
        RuntimeError: their vectors differ, or one failed.
    """
    if len(options.subjects) != 2:
        raise ValueError("expected BEFORE and AFTER: two wheels or compiled libraries.")
    model = Manifest.read(options.bundle).model.name if options.bundle.is_dir() else str(options.bundle)
    out = results.own_file("builds", model, options.out)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folders = [_library(path, Path(name) / str(index)) for index, path in enumerate(options.subjects)]
        workers = [stack.enter_context(closing(_Worker(folder))) for folder in folders]
        isas = options.isas or workers[0].ask(None)
        found: dict[str, Any] = {
            "date": results.today(),
            "subject": {"model": model, "machine": machine.facts(), "threads": 1},
            "builds": options.names,
            "milliseconds": {},
        }
        for isa in isas:
            for variant in options.variants:
                for shape in options.shapes:
                    least = _least(workers, [str(options.bundle), variant, isa, shape], options.rounds)
                    found["milliseconds"].setdefault(isa, {}).setdefault(variant, {})[shape] = least
                    sys.stderr.write(f"{isa}, {variant}, {shape}: {least[0] / least[1]:.3f}\n")
                    results.write(out, found)
    return Path(out)


def _least(workers: list[_Worker], case: list[str], rounds: int) -> list[float]:
    least = [float("inf")] * len(workers)
    for turn in range(rounds):
        answers = {}
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            taken, answers[index] = workers[index].ask(case)
            least[index] = min(least[index], taken)
        if answers[0] != answers[1]:
            raise RuntimeError(f"{' '.join(case)}: the vectors of the two builds differ.")
    return [round(1e3 * taken, 4) for taken in least]


def _library(path: Path, folder: Path) -> Path:
    """A folder with nothing but the compiled library, out of a wheel or as it is."""
    folder.mkdir()
    if path.suffix == ".whl":
        library(path, folder)
    else:
        (folder / f"_kernels{path.suffix}").write_bytes(path.read_bytes())
    return folder


class _Worker:
    """A process with one of the two builds: JSON lines of questions and answers."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.builds", "--worker", str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, case: list[str] | None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {case} ended; what it said is above.")
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()


def work(folder: Path) -> int:
    """Answer for the library in `folder`: seconds of the fastest run, and a digest of its vectors."""
    engines.__path__ = [str(folder), *engines.__path__]  # where kernels.py looks for it
    from instructor_onnx.engines import kernels, native

    models: dict[tuple[str, ...], INSTRUCTOR] = {}
    for line in sys.stdin:
        case = json.loads(line)
        if case is None:
            sys.stdout.write(json.dumps(kernels.instruction_sets()) + "\n")
            sys.stdout.flush()
            continue
        bundle, variant, isa, shape = case
        if (variant, isa) not in models:
            models.clear()
            os.environ[native.ISA_VARIABLE] = isa
            models[variant, isa] = INSTRUCTOR(bundle, variant=variant, engine="native", num_threads=1)
        model = models[variant, isa]
        texts, length = map(int, shape.split("x"))
        ids = np.random.default_rng(0).integers(2, model.manifest.model.vocab_size, texts * length).astype(np.int32)
        starts = np.full(texts, min(3, length - 1))
        tokens, rows = Tokens(ids, np.arange(texts + 1) * length, starts, truncated=0), np.arange(texts)
        vectors = model.engine.sentence_embeddings(tokens, rows)
        least, end = float("inf"), time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            begin = time.process_time()
            model.engine.sentence_embeddings(tokens, rows)
            least = min(least, time.process_time() - begin)
        sys.stdout.write(json.dumps([least, hashlib.sha256(vectors.tobytes()).hexdigest()]) + "\n")
        sys.stdout.flush()
    return 0


def tables(found: dict[str, Any]) -> str:
    """The table of ratios, in Markdown."""
    before, after = found["builds"]
    cases = [(isa, variant) for isa, variants in found["milliseconds"].items() for variant in variants]
    shapes = list(next(iter(next(iter(found["milliseconds"].values())).values())))
    rows = []
    for isa, variant in cases:
        times = found["milliseconds"][isa][variant]
        rows.append([f"{isa}, {variant}", *(f"{times[s][0]:.3g} ({times[s][0] / times[s][1]:.2f})" for s in shapes)])
    heading = (
        f"{found['date']}, {machine.line(found['subject'])}, {found['subject']['model']}: milliseconds of {before}, "
        f"and in brackets how many times as fast {after} is. The vectors are the same bits."
    )
    return f"{heading}\n\n{table(['instruction set', *shapes], rows)}"


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("builds", __doc__)
    parser.add_argument("subjects", nargs="+", type=Path, metavar="BEFORE AFTER|RESULTS.json", help="see above")
    parser.add_argument("--bundle", type=Path, default=Path("instructor-mini"), help="default: instructor-mini")
    parser.add_argument("--variants", type=commands.names, default=["int8"], help="default: int8")
    parser.add_argument("--isas", type=commands.names, help="instruction sets; default: all that are here")
    parser.add_argument("--shapes", type=commands.names, default=commands.names(SHAPES), help=f"default: {SHAPES}")
    parser.add_argument("--names", type=commands.names, default=["before", "after"], help="of the two, for the table")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each; default: 4")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    commands.add_out(parser, "builds-<model>")
    commands.add_page(parser, "--docs", "builds", "the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())

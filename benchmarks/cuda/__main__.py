"""The GPU's tests and its benchmark, in one go, on a machine with an NVIDIA GPU and onnxruntime-gpu.

    python -m benchmarks.cuda --readme docs/benchmarks.md

Needs no installation of this project: its folders are put on the path. Every step is a process of its own with a time
limit, and what it found is written at once to benchmarks/results/cuda-<GPU>.json. When --minutes are over, it stops;
the same command goes on where it stopped. Steps: the tests of tests/cuda; the GPU's matrix peak; for each shape its
checkpoint (random weights; "mini" is trained), its export with verification on the GPU, and the rivals, one round
after the other; the tables of docs/benchmarks.md.

By default the base shape and mini, once, with the tests: about nine minutes by estimate, what is most wanted first.
`--shapes large,xl` and `--rounds 2` add to the same file.

Timed: tokens in host memory -> vectors in host memory, texts sorted by length, each rival in the better of two batch
sizes, medians; "from strings" with tokenising. One text of 32 tokens with CUDA graphs where a rival has them, and
without. The first pass stands by itself: the mixed texts in batches of 16,384 tokens, right after loading, with the
kernels, plans and programs that it has to make; the other figures are warm. Not timed: loading. Memory is the device's:
weights, activations and workspaces, without the CUDA context. Cosines are to torch's fp32 on the same texts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT

PATHS = [str(PROJECT / folder) for folder in ("runtime", "export")]
sys.path[:0] = PATHS

from benchmarks.common import commands, results  # noqa: E402
from benchmarks.common.markdown import rewrite_block  # noqa: E402
from benchmarks.cuda import report  # noqa: E402
from benchmarks.cuda.attention import DEFAULT, WAYS  # noqa: E402
from benchmarks.cuda.rivals import Step  # noqa: E402
from benchmarks.cuda.work import MINI, QUALITY_ONLY, SHAPES, make_checkpoint  # noqa: E402

ALL_SHAPES = ("base", "mini", "base-outliers-30", "base-outliers-300", "large", "xl")
FIRST_SHAPES = ALL_SHAPES[:2]  # with the tests about nine minutes, as estimated
REFERENCE = "torch fp32"
# Rivals in the order they run: what is most wanted first.
RIVALS = (
    ("torch", "fp32"),
    ("onnx", "fp16"),
    ("torch", "fp16"),
    ("compile", "fp16"),
    ("encode", "fp16"),
    ("sentence-transformers", "fp16"),
    ("onnx", "bf16"),
    ("torch", "bf16"),
)
CANDIDATES = tuple(("fp16", way) for way in WAYS if way != DEFAULT)
SECONDS = {"tests": 240, "peak": 60, "make": 200, "export": 500, "compile": 280, "rival": 150}  # at most, of one step


class Bench:
    """The results so far, and the steps that add to them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ends = time.monotonic() + 60 * options.minutes
        self.smoke = options.device == "cpu"
        self.work: Path = options.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.orphans: set[str] = set()  # rivals that have been tried without a reference to be compared with
        self.gpu = describe(options.device)
        slug = re.sub(r"[^a-z0-9]+", "-", self.gpu["name"].lower()).strip("-")
        self.file: Path = options.out / f"cuda-{slug}.json"
        self.results: dict[str, Any] = {
            "smoke": self.smoke,  # True: a CPU, few texts, nothing that says anything about speed
            "gpu": self.gpu,
            "tests": None,
            "peak_tflops": {},
            "shapes": {},
        }
        if self.file.is_file() and not options.restart:
            self.results = json.loads(self.file.read_text(encoding="utf-8"))

    def run(self) -> bool:
        """All steps that are still to do and that the time allows; whether none is left."""
        for title, seconds, step in self.steps():
            left = self.ends - time.monotonic()
            if left < min(seconds, 60):
                say(f"stopped before “{title}”: the time is over. The same command goes on from here.")
                return False
            say(f"{title} ...")
            start = time.monotonic()
            try:
                step(min(seconds, left))
                say(f"{title}: {time.monotonic() - start:.0f} s")
            except subprocess.TimeoutExpired:
                if left < seconds:
                    say(f"{title}: the time is over. The same command goes on from here.")
                    return False
                self.failed(title, f"took longer than {seconds} s")
            except Exception as error:  # one rival must not cost the others their turn
                self.failed(title, f"{type(error).__name__}: {error}")
            results.write(self.file, self.results)
        return True

    def steps(self) -> Iterator[tuple[str, int, Any]]:
        """Title, limit in seconds and function of each step to do."""
        if self.results["tests"] is None:
            yield "tests", SECONDS["tests"], self.tests
        if not self.results["peak_tflops"]:
            yield "peak", SECONDS["peak"], self.peak
        for turn in range(self.options.rounds):
            for shape in self.options.shapes:
                found = self.results["shapes"].setdefault(shape, {"export": None, "rivals": {}})
                speed = shape not in QUALITY_ONLY or self.smoke
                if not speed and turn:
                    continue
                yield f"{shape}: checkpoint", SECONDS["make"], lambda limit, s=shape: self.make(s, limit)
                yield f"{shape}: export", SECONDS["export"], lambda limit, s=shape: self.export(s, limit)
                for step in self.rivals(shape, speed, turn):
                    rounds = found["rivals"].setdefault(step.name, [])
                    if len(rounds) > turn or (rounds and "error" in rounds[-1]):
                        continue
                    limit = SECONDS.get(step.kind, SECONDS["rival"])
                    if step.name != REFERENCE and not self.reference(shape).is_file() and step.name not in self.orphans:
                        # measured by an earlier command, whose folder for vectors is gone
                        self.orphans.add(step.name)
                        again = dataclasses.replace(step, kind="torch", precision="fp32", speed=False)
                        yield f"{shape}: {REFERENCE} again", limit, lambda limit, s=again: self.measure(s, limit)
                    title = f"{shape}: {step.name}, round {turn + 1}"
                    yield title, limit, lambda limit, s=shape, r=step: self.rival(s, r, limit)

    def rivals(self, shape: str, speed: bool, turn: int) -> Iterator[Step]:
        """Of one round; other ways to write attention are measured in the first alone."""
        candidates = CANDIDATES if speed and not turn else ()
        for kind, precision, way in [(*rival, DEFAULT) for rival in RIVALS] + [("onnx", *pair) for pair in candidates]:
            if speed or kind in ("onnx", "torch"):
                folder = self.folder(shape)
                yield Step(
                    kind=kind,
                    precision=precision,
                    way=way,
                    checkpoint=str(self.checkpoint(shape)),
                    bundle=str(folder / "bundle"),
                    folder=str(folder),
                    device=self.options.device,
                    speed=speed,
                    smoke=self.smoke,
                )

    def reference(self, shape: str) -> Path:
        return self.folder(shape) / f"{REFERENCE}.npy"

    def folder(self, shape: str) -> Path:
        return self.work / shape

    def checkpoint(self, shape: str) -> Path:
        return MINI if shape == "mini" else self.folder(shape) / "checkpoint"

    def tests(self, limit: float) -> None:
        done = process(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cuda/test_parity.py"], limit)
        lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
        summary = done.stdout.strip().splitlines()[-1:] or [done.stderr[-400:]]
        self.results["tests"] = {"passed": done.returncode == 0, "summary": summary[0], "lines": lines}
        say(self.results["tests"]["summary"])

    def peak(self, limit: float) -> None:
        done = process(["-m", "benchmarks.cuda.peak", self.options.device], limit)
        self.results["peak_tflops"] = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-400:]}

    def make(self, shape: str, limit: float) -> None:
        self.folder(shape).mkdir(parents=True, exist_ok=True)
        make_checkpoint(shape, self.folder(shape) / "checkpoint")

    def export(self, shape: str, limit: float) -> None:
        """fp16 and bf16, verified against torch on this machine's GPU."""
        bundle = self.folder(shape) / "bundle"
        if not (bundle / "manifest.json").is_file():
            arguments = ["export", str(self.checkpoint(shape)), str(bundle), "--variants", "fp16,bf16", "--quiet"]
            done = process(["-m", "instructor_onnx", *arguments, "--name", shape], limit)
            if done.returncode:
                self.results["shapes"][shape]["export"] = {"error": done.stderr.strip()[-400:]}
                say(done.stderr.strip()[-400:])
                return
        variants = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["variants"]
        self.results["shapes"][shape]["export"] = {name: found["verification"] for name, found in variants.items()}

    def rival(self, shape: str, step: Step, limit: float) -> None:
        import numpy as np
        from instructor_onnx_export.verify import cosines

        rounds = self.results["shapes"][shape]["rivals"][step.name]
        done = self.measure(step, limit)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1][-300:]
            rounds.append({"error": reason})
            say(f"  {reason}")
            return
        found = json.loads((self.folder(shape) / f"{step.name}.json").read_text(encoding="utf-8"))
        if self.reference(shape).is_file():
            vectors = np.load(self.folder(shape) / f"{step.name}.npy")
            similarity = cosines(np.load(self.reference(shape)), vectors)
            finite = bool(np.isfinite(vectors).all())
            found["cosine"] = {"mean": float(similarity.mean()), "min": float(similarity.min())} if finite else None
        rounds.append(found)

    def measure(self, step: Step, limit: float) -> subprocess.CompletedProcess[str]:
        return process(["-m", "benchmarks.cuda.rivals", json.dumps(dataclasses.asdict(step))], limit)

    def failed(self, title: str, reason: str) -> None:
        say(f"{title}: {reason}")
        shape, _, rest = title.partition(": ")
        name = rest.rpartition(", round")[0]
        if name:
            self.results["shapes"][shape]["rivals"][name].append({"error": reason})
        elif title in ("tests", "peak"):
            self.results["tests" if title == "tests" else "peak_tflops"] = {"error": reason}


def describe(device: str) -> dict[str, Any]:
    """The GPU, and the versions of what runs on it."""
    import onnxruntime
    import torch
    import transformers

    facts = {
        "name": "smoke test on a CPU",
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if device == "cpu":
        return facts
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here. `--device cpu --shapes mini` tries the script itself.")
    return facts | {"name": torch.cuda.get_device_name(), "cuda": torch.version.cuda}


def process(arguments: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Python with the project's folders on its path."""
    path = os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=limit)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = commands.parser("cuda", __doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: tries the script, no figures")
    parser.add_argument(
        "--shapes",
        default=",".join(FIRST_SHAPES),
        help=f"of {', '.join(ALL_SHAPES)}, with commas between (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each rival is measured (default: 1)")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after so many (default: 9)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "instructor-onnx-cuda")
    parser.add_argument("--out", type=Path, help="folder of the JSON file (default: benchmarks/results; cpu: --work)")
    parser.add_argument("--readme", type=Path, help="put the tables between its markers, once all is measured")
    parser.add_argument("--restart", action="store_true", help="forget what was measured before")
    options = parser.parse_args(arguments)
    options.shapes = options.shapes.split(",")
    unknown = set(options.shapes) - {*SHAPES, "mini"}
    if unknown:
        parser.error(f"--shapes: found {', '.join(sorted(unknown))}; choose from {', '.join(ALL_SHAPES)}")
    smoke = options.device == "cpu"
    options.out = options.out or (options.work if smoke else results.RESULTS)
    bench = Bench(options)
    complete = bench.run()
    tables = report.tables(bench.results)
    say(f"\n{tables}\n\n{bench.file}")
    if options.readme and complete and not smoke:
        rewrite_block(options.readme, tables, "cuda")
    return 0 if complete else 3


if __name__ == "__main__":
    sys.exit(main())

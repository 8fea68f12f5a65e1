"""The run: every variant on every engine loaded, timed in turns, held against PyTorch."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from instructor_onnx.batches import plan_batches
from instructor_onnx.bundle import Manifest, Model
from instructor_onnx.engines import native, saturation
from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.engine import Engine
from instructor_onnx.engines.ort import Session
from instructor_onnx.tokens import Tokens

from benchmarks.common import limits, machine, results
from benchmarks.common.engines import cpu_variants, engines
from benchmarks.common.memory import memory

# torch is imported where it is used: the processes whose memory is measured import this module too.

SECONDS = 8.0  # a shape's share, the rounds of everything together
LEAST_ROUNDS, MOST_ROUNDS = 3, 21
PAUSE = 0.05  # seconds, in which the threads of the run before (torch's) stop spinning
TURN = 0.1  # seconds that a turn lasts at least: more runs of a query, whose weights the others threw out of the cache
LOADS = 3  # new processes of each
SEED = 0
TORCH = "torch fp32"
VERSIONS = ("instructor-onnx", "onnxruntime", "torch", "transformers")


@dataclass(frozen=True)
class Subject:
    """A variant on an engine."""

    variant: str
    engine: str
    exact: bool | None = None  # session.x64quantprecision; None: as the runtime sets it here

    def __str__(self) -> str:
        option = "" if self.exact is None else f", x64quantprecision={self.exact:d}"
        return f"{self.variant}, {self.engine}{option}"

    def open(self, folder: Path, threads: int) -> Engine:
        path = folder / self.variant / "model.onnx"
        if self.engine == "native":
            return native.NativeSession.open(path, Manifest.read(folder).model, threads)
        forced = patch.object(saturation, "saturates", return_value=self.exact)
        with contextlib.nullcontext() if self.exact is None else forced:
            return Session.open(path, Device("cpu"), threads, even_tokens=self.variant == "int4")


def measure(options: argparse.Namespace) -> Path:
    """Load, time, compare; what is done is written at once."""
    if len(options.subjects) % 2:
        raise ValueError("expected pairs: a BUNDLE and the CHECKPOINT it was exported from.")
    pairs = list(zip(options.subjects[::2], options.subjects[1::2], strict=True))
    folder, checkpoint = pairs[0]
    threads = options.threads or available_cpus()
    manifest = Manifest.read(folder)
    model = manifest.model
    out = results.own_file("native", model.name, options.out)
    subjects = compared(manifest)
    runs: dict[str, dict[str, Any]] = {name: {} for name in (TORCH, *map(str, subjects))}
    found: dict[str, Any] = {
        "date": results.today(),
        "subject": {
            "model": model.name,
            "machine": machine.facts(),
            "threads": threads,
            "operations": limits.operations(model),  # of a token
            "x64quantprecision": saturation.saturates(import_onnxruntime()),  # what the runtime chooses here
            "versions": machine.versions(VERSIONS),
        },
        "limits": None,
        "shapes": {},  # name -> tokens
        "runs": runs,
    }
    for subject in subjects:
        files = manifest.files(subject.variant)
        runs[str(subject)] |= {"bytes": sum((folder / file.path).stat().st_size for file in files)}
    for name, load in loads(folder, subjects, threads).items():
        runs[name]["load"] = load
    opened = {str(subject): subject.open(folder, threads) for subject in subjects}
    timed: list[limits.Limits] = []
    random = np.random.default_rng(SEED)
    for shape, lengths in shapes(random).items():
        tokens = random_tokens(lengths, model, random)
        calls = {TORCH: run_torch(checkpoint, tokens, threads)}
        calls |= {name: run_engine(engine, tokens) for name, engine in opened.items()}
        timed.append(limits.measure(threads))  # beside each shape: a shared machine's pace changes
        found["shapes"][shape], found["limits"] = sum(lengths), limits.highest(timed)
        for name, seconds in alternate(calls).items():
            runs[name].setdefault("milliseconds", {})[shape] = round(1e3 * seconds, 2)
            kind = "fp32" if name.startswith("fp32") else "int8"  # of int4 too
            if engine_peak := timed[-1][kind] if name.endswith("native") else None:
                share = limits.operations(model) * sum(lengths) / seconds / engine_peak
                runs[name].setdefault("share_of_peak", {})[shape] = round(share, 2)
        results.write(out, found)
        sys.stderr.write(f"{shape}: {json.dumps({name: run['milliseconds'][shape] for name, run in runs.items()})}\n")
    del opened
    for folder, checkpoint in pairs:
        for name, cosine in cosines(folder, checkpoint, threads).items():
            runs.setdefault(name, {}).setdefault("cosine", {})[Manifest.read(folder).model.name] = cosine
        results.write(out, found)
    return Path(out)


def compared(manifest: Manifest) -> list[Subject]:
    """All that runs on this CPU; int8 on onnxruntime also with the option that the runtime does not choose here."""
    subjects = []
    for name in cpu_variants(manifest):
        for engine in engines(manifest, name):
            subjects.append(Subject(name, engine))
            if engine == "onnxruntime" and manifest.variants[name].weight_type == "int8":
                subjects.append(Subject(name, engine, exact=not saturation.saturates(import_onnxruntime())))
    return subjects


def shapes(random: np.random.Generator) -> dict[str, list[int]]:
    """Lengths in tokens of each text."""
    return {
        "(1, 16)": [16],
        "(1, 32)": [32],
        "(8, 64)": [64] * 8,
        "(32, 128)": [128] * 32,
        "(4, 512)": [512] * 4,
        "mixed": np.clip(random.lognormal(3.6, 0.9, 64), 4, 512).astype(int).tolist(),
    }


def random_tokens(lengths: list[int], model: Model, random: np.random.Generator) -> Tokens:
    ids = random.integers(2, model.vocab_size, sum(lengths)).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(ids=ids, offsets=offsets, starts=np.full(len(lengths), 2, dtype=np.int64), truncated=0)


def run_engine(engine: Engine, tokens: Tokens) -> Callable[[], object]:
    batches = [np.arange(len(tokens.starts))] if engine.name == "native" else list(_batches(tokens))
    return lambda: [engine.sentence_embeddings(tokens, batch) for batch in batches]


def _batches(tokens: Tokens) -> Iterator[npt.NDArray[np.int64]]:
    """Those of `encode()` on onnxruntime."""
    return plan_batches(tokens.lengths, batch_size=32, token_budget=Session.token_budget, run_cost=Session.run_cost)


@functools.cache
def _torch_encoder(checkpoint: Path, threads: int) -> Any:
    import torch
    from transformers import T5EncoderModel

    torch.set_num_threads(threads)
    return T5EncoderModel.from_pretrained(checkpoint).eval()


def run_torch(checkpoint: Path, tokens: Tokens, threads: int) -> Callable[[], object]:
    import torch

    encoder = _torch_encoder(checkpoint, threads)
    batches = []
    for rows in _batches(tokens):
        input_ids, attention_mask, _ = tokens.padded(rows)
        batches.append((torch.from_numpy(input_ids), torch.from_numpy(attention_mask)))

    def run() -> None:
        with torch.inference_mode():
            for input_ids, attention_mask in batches:
                encoder(input_ids=input_ids, attention_mask=attention_mask)

    return run


def alternate(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, in turns; each round begins with the next one."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + SECONDS
    names = list(runs)
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and time.perf_counter() > end:
            break
        first = done % len(names)
        for name in names[first:] + names[:first]:
            time.sleep(PAUSE)
            turn = time.perf_counter()
            while True:
                begin = time.perf_counter()
                runs[name]()
                times[name].append(time.perf_counter() - begin)
                if time.perf_counter() - turn > TURN:
                    break
    return {name: float(np.median(taken)) for name, taken in times.items()}


def loads(folder: Path, subjects: Sequence[Subject], threads: int) -> dict[str, dict[str, float]]:
    """Seconds to open each, bytes resident after a first text, and at most until then; medians of new processes."""
    found: dict[str, list[tuple[float, int, int]]] = {}
    for _ in range(LOADS):
        for subject in subjects:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found.setdefault(str(subject), []).append(process.submit(load, folder, subject, threads).result())
    medians = {name: np.median(np.array(each), axis=0) for name, each in found.items()}
    return {
        name: {"seconds": round(float(seconds), 3), "resident": int(resident), "peak": int(peak)}
        for name, (seconds, resident, peak) in medians.items()
    }


def load(folder: Path, subject: Subject, threads: int) -> tuple[float, int, int]:
    """In this process, which nothing else was opened in."""
    begin = time.perf_counter()
    engine = subject.open(folder, threads)
    seconds = time.perf_counter() - begin
    engine.sentence_embeddings(
        random_tokens([32], Manifest.read(folder).model, np.random.default_rng(SEED)), np.arange(1)
    )
    found = memory()
    return seconds, found["resident"], found["peak"]


def cosines(folder: Path, checkpoint: Path, threads: int) -> dict[str, dict[str, Any]]:
    """Each subject's to PyTorch."""
    from instructor_onnx_export.checkpoint.read import read_checkpoint

    from benchmarks.common.probes import compare, probe

    tokens, expected = probe(read_checkpoint(checkpoint))
    subjects = compared(Manifest.read(folder))
    return {str(subject): compare(subject.open(folder, threads), tokens, expected) for subject in subjects}

"""How fast is a bundle on this machine?

Every variant is measured on every engine that runs it, in a process of its own, so that memory is its own. Times are
of `INSTRUCTOR.encode`, from texts to vectors; loading is apart. What other processes took meanwhile is noted beside
each figure.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instructor_onnx import __version__
from instructor_onnx.bench import machine
from instructor_onnx.bench.results import SCHEMA, ColdStart, Latency, LeftOut, Measured, Results, Setting
from instructor_onnx.bench.watch import Ticks, Watch, load_average, load_between, memory, other_cores
from instructor_onnx.bundle import BundleError, Manifest
from instructor_onnx.engines import native
from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.engine import fits, why_not
from instructor_onnx.loading import check_variant
from instructor_onnx.model import INSTRUCTOR

Row = tuple[str, str]

INSTRUCTION = "Represent the sentence: "
WORDS = "the river mill sea boat salt bread wood water house road day hand stone"
LENGTHS = (16, 32, 64, 128, 256, 512)  # tokens of a query, instruction and </s> counted
BATCHES = (1, 8, 32)  # rows of BATCH_LENGTH tokens in one call
BATCH_LENGTH = 64
# token budgets that are tried; among them the default of each engine, for few threads
BUDGETS = (256, 512, 1024, 2048, 4096, 16384)
MIXED_MEDIAN, MIXED_SIGMA = 60, 0.8  # lognormal lengths in tokens: sentences, paragraphs, a few pages
FOR_GPUS = "is for GPUs, and this measures on the CPU. Name it with --variants to measure it here all the same."
WEIGHT_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}  # by weight type


def measure_bundle(
    folder: Path, *, variants: list[str] | None, num_threads: int | None, seconds: float, show_progress: bool
) -> Results:
    """Measure variants of a bundle on the CPU.

    Args:
        variants: None: all that are for CPUs.
        num_threads: None: what affinity and container quota allow; fewer are tried too.
        seconds: of each measurement; there are about 20 a variant.

    Raises:
        BundleError: the bundle cannot be used.
        ValueError: no such variant.
        RuntimeError: none of them can be opened here, with the reason for each.
    """
    manifest = Manifest.read(folder)
    threads = num_threads or available_cpus()
    chosen, left_out = _chosen(manifest, folder, variants)
    began, before = Ticks.now(), load_average()
    peaks, found = [machine.measure_peaks(threads)], []
    for variant, engine in _runs(manifest, chosen):
        try:
            if reason := why_not(engine):
                raise ImportError(reason)
            found.append(_in_own_process(folder, variant, engine, threads, seconds, show_progress))
            peaks.append(machine.measure_peaks(threads))
        except (ImportError, BundleError, MemoryError) as error:  # BundleError: the kernels do not know the graph, say
            left_out.append(LeftOut(f"{variant} on {engine}", str(error).rstrip(".") + "."))
        except BrokenProcessPool:
            left_out.append(LeftOut(f"{variant} on {engine}", "Its process was killed, perhaps for want of memory."))
    if not found:
        raise RuntimeError("nothing to measure. " + " ".join(f"{each.what}: {each.why}" for each in left_out))
    steps = [step.other_cores for each in found for step in each.steps if step.other_cores is not None]
    return Results(
        schema=SCHEMA,
        instructor_onnx=__version__,
        measured_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=seconds,
        model=manifest.model.name,
        machine=machine.look(threads, machine.highest(*peaks)),
        load=load_between(began, Ticks.now(), steps, before),
        variants=tuple(found),
        left_out=tuple(left_out),
    )


def _chosen(manifest: Manifest, folder: Path, names: list[str] | None) -> tuple[list[str], list[LeftOut]]:
    """The variants to measure, and those that are not for CPUs where none was named."""
    if names is not None:
        for name in names:
            check_variant(manifest, name, folder)
        return list(dict.fromkeys(names)), []
    on_cpus = {name: "cpu" in variant.devices for name, variant in manifest.variants.items()}
    chosen = [name for name, fit in on_cpus.items() if fit]
    if not chosen:
        raise BundleError(f"{folder}: has no variant for CPUs (it has {', '.join(on_cpus)}). Export one.")
    return chosen, [LeftOut(name, FOR_GPUS) for name, fit in on_cpus.items() if not fit]


def _runs(manifest: Manifest, variants: list[str]) -> Iterable[tuple[str, str]]:
    for variant in variants:
        for engine in reversed(fits(manifest.variants[variant].weight_type, Device("cpu"))):
            yield variant, engine


def _in_own_process(
    folder: Path, variant: str, engine: str, threads: int, seconds: float, show_progress: bool
) -> Measured:
    started = time.time()  # the one clock that both processes share
    # spawned, not forked: the process is as small as a user's, and has none of this one's threads
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        options = (folder, variant, engine, threads, seconds, show_progress, started)
        return process.submit(measure_variant, *options).result()


def measure_variant(
    folder: Path, variant: str, engine: str, threads: int, seconds: float, show_progress: bool, started: float
) -> Measured:
    """One variant on one engine, in this process, which was asked for at `started` (time.time())."""
    process_seconds = max(0.0, time.time() - started)
    load = functools.partial(INSTRUCTOR, folder, variant=variant, device="cpu", engine=engine)
    title = f"bench {variant} {engine}"
    bar = tqdm(desc=title, unit="step", disable=not (show_progress and sys.stderr.isatty()))
    with bar, Watch() as watch:
        clock = _Clock(seconds, bar)
        with watch.stage("open"):
            opened, model, first = time.perf_counter(), load(num_threads=threads), time.perf_counter()
            model.encode([(INSTRUCTION, "the")])
            cold_start = ColdStart(process_seconds, first - opened, time.perf_counter() - first)
        resident = memory("VmRSS")
        lengths = [length for length in LENGTHS if length <= model.max_seq_length] or [model.max_seq_length]
        batch_tokens = min(BATCH_LENGTH, lengths[-1])
        mixed = _mixed_rows(model)
        counts = sorted({1, max(1, threads // 2), threads})
        all_budgets = sorted({*BUDGETS, native.token_budget(threads)})
        bar.total = len(lengths) + len(BATCHES) + len(all_budgets) + len(counts)
        with watch.stage("latency"):
            latency = tuple(clock.latency(model, _rows(model, [tokens])) for tokens in lengths)
        with watch.stage("batches"):
            batches = tuple(clock.throughput(count, model, _rows(model, [batch_tokens] * count)) for count in BATCHES)
        description, fingerprint, default_budget = _description(model), model.fingerprint, model.token_budget
        manifest = model.manifest
        del model  # a second one beside it would be memory that no user has
        with watch.stage("budgets"):
            budgets = tuple(
                clock.throughput(budget, load(num_threads=threads, token_budget=budget), mixed)
                for budget in all_budgets
            )
        with watch.stage("threads"):
            by_threads = tuple(clock.throughput(count, load(num_threads=count), mixed) for count in counts)
    if show_progress and bar.disable:  # in a log: a line a variant
        tqdm.write(f"{title}: {time.time() - started:.0f} s", file=sys.stderr)
    weights, weight_type = machine.product_weights(manifest.model), manifest.variants[variant].weight_type
    expanded = engine == "native" and weight_type == "int4"  # to int8, when it is opened
    return Measured(
        variant=variant,
        engine=engine,
        description=description,
        fingerprint=fingerprint,
        weight_type=weight_type,
        weight_bytes=weights * WEIGHT_BYTES.get("int8" if expanded else weight_type, 4.0),
        flop_per_token=2.0 * weights,
        cold_start=cold_start,
        resident_bytes=resident,
        peak_bytes=watch.peak(),
        latency=latency,
        batches=batches,
        batch_tokens=batch_tokens,
        budgets=budgets,
        default_budget=default_budget,
        threads=by_threads,
        stages=watch.stages(),
        memory=watch.samples(),
    )


def _description(model: INSTRUCTOR) -> str:
    """The engine with its instruction set or its version."""
    native_engine = model.engine.name == "native"
    return model.engine_name if native_engine else f"{model.engine_name} {import_onnxruntime().__version__}"


@dataclass(frozen=True)
class _Clock:
    """Times calls of `encode`, each figure for `seconds` at least."""

    seconds: float
    bar: tqdm

    def latency(self, model: INSTRUCTOR, rows: list[Row]) -> Latency:
        taken, others = self._times(model, rows, least=5)
        p50, p90, p99 = (float(1e3 * value) for value in np.percentile(taken, [50, 90, 99]))
        return Latency(_tokens(model, rows), p50, p90, p99, len(taken), others)

    def throughput(self, value: int, model: INSTRUCTOR, rows: list[Row]) -> Setting:
        """Of a setting of that value."""
        taken, others = self._times(model, rows, least=1)
        return Setting(value, _tokens(model, rows) / float(np.median(taken)), others)

    def _times(self, model: INSTRUCTOR, rows: list[Row], *, least: int) -> tuple[list[float], float | None]:
        """Seconds of each call, after one that is not counted, and what other processes took meanwhile."""
        model.encode(rows[:1])
        before, taken = Ticks.now(), list[float]()
        while len(taken) < least or sum(taken) < self.seconds:
            started = time.perf_counter()
            model.encode(rows)
            taken.append(time.perf_counter() - started)
        self.bar.update()
        return taken, other_cores(before, Ticks.now())


def _mixed_rows(model: INSTRUCTOR) -> list[Row]:
    """Rows of mixed lengths, as many as make a few full runs."""
    random = np.random.default_rng(0)
    drawn = random.lognormal(np.log(MIXED_MEDIAN), MIXED_SIGMA, 100)
    return _rows(model, [int(length) for length in np.clip(np.rint(drawn), 8, min(LENGTHS[-1], model.max_seq_length))])


def _rows(model: INSTRUCTOR, lengths: list[int]) -> list[Row]:
    """A row of about each length in tokens, instruction and `</s>` counted."""
    own = _tokens(model, [(INSTRUCTION, "")])
    words = WORDS.split()
    cost = [_tokens(model, [(INSTRUCTION, word)]) - own for word in words]
    rows = []
    for length in lengths:
        text: list[str] = []
        left = length - own
        for word, tokens in itertools.cycle(zip(words, cost, strict=True)):
            left -= max(1, tokens)
            if left < 0 and text:
                break
            text.append(word)
        rows.append((INSTRUCTION, " ".join(text)))
    return rows


def _tokens(model: INSTRUCTOR, rows: list[Row]) -> int:
    return int(model.tokenize(rows)["attention_mask"].sum())

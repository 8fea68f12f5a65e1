"""How fast is a bundle on this machine, what limits it, and which settings are the best here?

Every variant is measured on every engine that runs it, in a process of its own, so that memory is its own. Times are
of `INSTRUCTOR.encode`, from texts to vectors; loading is apart. Other work on the machine shows in the figures.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instructor_onnx.bench.report import (
    BATCH_LENGTH,
    Hardware,
    Latency,
    Measured,
    Report,
    Setting,
    advice,
    limits,
)
from instructor_onnx.bundle import BundleError, Manifest, Model
from instructor_onnx.engines import native, processor
from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import fits, why_not
from instructor_onnx.loading import check_variant
from instructor_onnx.model import INSTRUCTOR

Row = tuple[str, str]

INSTRUCTION = "Represent the sentence: "
WORDS = "the river mill sea boat salt bread wood water house road day hand stone"
LENGTHS = (16, 32, 64, 128, 256, 512)  # tokens of a query, instruction and </s> counted
BATCHES = (1, 8, 32)  # rows of BATCH_LENGTH tokens in one call
# token budgets that are tried; among them the default of each engine, for few threads
BUDGETS = (256, 512, 1024, 2048, 4096, 16384)
MIXED_MEDIAN, MIXED_SIGMA = 60, 0.8  # lognormal lengths in tokens: sentences, paragraphs, a few pages
COPIED = 1 << 26  # bytes a thread copies to measure the memory
WEIGHT_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}


def measure_bundle(
    folder: Path, *, variants: list[str], num_threads: int | None, seconds: float, show_progress: bool
) -> Report:
    """Measure variants of a bundle on the CPU.

    Args:
        num_threads: None: what affinity and container quota allow; fewer are tried too.
        seconds: of each measurement; there are about 20 a variant.

    Raises:
        BundleError: the bundle cannot be used.
        ValueError: no such variant.
        RuntimeError: none of them can be opened here, with the reason for each.
    """
    manifest = Manifest.read(folder)
    threads = num_threads or available_cpus()
    for name in variants:
        check_variant(manifest, name, folder)
    missing = {
        (variant, engine): why_not(engine)
        for variant in variants
        for engine in fits(manifest.variants[variant].weight_type, Device("cpu"))
    }
    found = {}
    for (variant, engine), reason in missing.items():
        if reason:
            continue
        # spawned, not forked: the process is as small as a user's, and has none of this one's threads
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            task = process.submit(measure_variant, folder, variant, engine, threads, seconds, show_progress)
            try:
                found[variant if engine == "onnxruntime" else f"{variant} {engine}"] = task.result()
            except BundleError as error:  # a graph that the native kernels do not know, say
                missing[variant, engine] = str(error)
    left_out = tuple(
        f"{variant} on {engine}: {reason.rstrip('.')}." for (variant, engine), reason in missing.items() if reason
    )
    if not found:
        raise RuntimeError("nothing to measure. " + " ".join(left_out))
    hardware = _hardware(threads)
    return Report(
        model=manifest.model.name,
        machine=hardware,
        variants=found,
        limits=tuple(limits(hardware, found)),
        advice=tuple(advice(found)),
        left_out=left_out,
    )


def measure_variant(
    folder: Path, variant: str, engine: str, threads: int, seconds: float, show_progress: bool
) -> Measured:
    """One variant on one engine, in this process."""
    load = functools.partial(INSTRUCTOR, folder, variant=variant, device="cpu", engine=engine)
    started = time.perf_counter()
    model = load(num_threads=threads)
    model.encode([(INSTRUCTION, "the")])
    load_seconds = time.perf_counter() - started
    resident = _memory("VmRSS")
    lengths = [length for length in LENGTHS if length <= model.max_seq_length] or [model.max_seq_length]
    batch_length = min(BATCH_LENGTH, lengths[-1])
    mixed = _mixed_rows(model)
    counts = sorted({1, max(1, threads // 2), threads})
    all_budgets = sorted({*BUDGETS, native.token_budget(threads)})
    steps = len(lengths) + len(BATCHES) + len(all_budgets) + len(counts)
    with tqdm(total=steps, desc=f"bench {variant}, {model.engine_name}", unit="step", disable=not show_progress) as bar:

        def each(values: Iterable[int]) -> Iterator[int]:
            for value in values:
                yield value
                bar.update()

        latency = tuple(_latency(model, _rows(model, [tokens]), seconds) for tokens in each(lengths))
        batches = tuple(
            Setting(count, _throughput(model, _rows(model, [batch_length] * count), seconds)) for count in each(BATCHES)
        )
        budgets = tuple(
            Setting(budget, _throughput(load(num_threads=threads, token_budget=budget), mixed, seconds))
            for budget in each(all_budgets)
        )
        by_threads = tuple(
            Setting(count, _throughput(load(num_threads=count), mixed, seconds)) for count in each(counts)
        )
    weights = product_weights(model.manifest.model)
    return Measured(
        variant=variant,
        engine=engine,
        load_seconds=load_seconds,
        resident_bytes=resident,
        peak_bytes=_memory("VmHWM"),
        latency=latency,
        batches=batches,
        budgets=budgets,
        default_budget=model.token_budget,
        threads=by_threads,
        # The native engine keeps int4 expanded to int8.
        weight_bytes=weights * (1.0 if engine == "native" else WEIGHT_BYTES.get(variant, 4.0)),
        flop_per_token=2.0 * weights,
    )


def _latency(model: INSTRUCTOR, rows: list[Row], seconds: float) -> Latency:
    taken = 1e3 * np.array(_clock(model, rows, seconds, least=5))
    p50, p90, p99 = np.percentile(taken, [50, 90, 99])
    return Latency(_tokens(model, rows), float(p50), float(p90), float(p99), len(taken))


def _throughput(model: INSTRUCTOR, rows: list[Row], seconds: float) -> float:
    return _tokens(model, rows) / float(np.median(_clock(model, rows, seconds, least=1)))


def _clock(model: INSTRUCTOR, rows: list[Row], seconds: float, *, least: int) -> list[float]:
    """Seconds of each call, after one that is not counted."""
    model.encode(rows[:1])
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        started = time.perf_counter()
        model.encode(rows)
        taken.append(time.perf_counter() - started)
    return taken


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


def _hardware(threads: int) -> Hardware:
    cpus, flags = multiprocessing.cpu_count(), processor.product_flags()
    return Hardware(processor.name(), threads, cpus, flags, copy_speed(threads), product_speed())


def product_weights(sizes: Model) -> int:
    """Weights of all layers' products: multiplications of one token, attention not counted."""
    inner = sizes.num_heads * sizes.d_kv
    matrices = 3 if sizes.feed_forward == "gated-gelu" else 2
    return sizes.num_layers * sizes.d_model * (4 * inner + matrices * sizes.d_ff)


def copy_speed(threads: int) -> float:
    """Bytes a second, read and written, that all threads copy together: what streaming weights cannot exceed."""
    pairs = [(np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            started = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(*pair), pairs))
            best = max(best, 2 * COPIED * threads / (time.perf_counter() - started))
    return best


def product_speed() -> float:
    """Floating-point operations a second of numpy's float32 product, all its threads."""
    size = 1024
    a = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)  # zeros would flatter
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def _memory(name: str) -> int | None:
    """Bytes of one line of /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)

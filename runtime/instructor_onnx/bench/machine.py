"""What this machine is, and what it can do at most: memory and products, measured."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from instructor_onnx.bench.results import Machine, Peak
from instructor_onnx.bundle import Model
from instructor_onnx.engines import native, processor

COPIED = 1 << 26  # bytes a thread copies to measure the memory
MOMENT = 0.1  # seconds of one measurement of a peak
KERNELS = {"int8": "int8", "fp32": "float32"}  # a peak's kind -> the kernels' name of such weights


def look(threads: int, peaks: tuple[Peak, ...]) -> Machine:
    """Everything about it; `peaks` were measured before."""
    return Machine(
        processor=processor.name(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
        threads=threads,
        logical_cpus=multiprocessing.cpu_count(),
        instruction_sets=processor.product_flags(),
        memory_bytes=_memory_bytes(),
        copy_bytes_per_second=copy_speed(threads),
        peaks=peaks,
    )


def measure_peaks(threads: int) -> tuple[Peak, ...]:
    """Of int8 and of fp32, about a second in which nothing else should run; the best moment counts.

    The native kernels' innermost loop on data in the first-level cache: no engine's products are faster with the same
    instructions. Without them numpy's product is what is left to compare fp32 with, and there is no peak of int8.
    """
    if not native.is_verified():
        return (Peak("fp32", product_speed(), "numpy's product of 1024 × 1024, all its threads"),)
    isa, kernels = native.instruction_set(), native.import_kernels()
    return tuple(
        Peak(
            kind,
            max(kernels.measure_peak(isa, weights, threads, MOMENT) for _ in range(5)),
            f"innermost loop of the native kernels, {isa}",
        )
        for kind, weights in KERNELS.items()
    )


def highest(*times: tuple[Peak, ...]) -> tuple[Peak, ...]:
    """The highest of each kind, as others' work only takes away."""
    return tuple(max(same, key=lambda peak: peak.operations_per_second) for same in zip(*times, strict=True))


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


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None

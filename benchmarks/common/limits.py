"""What this machine can do at most, measured beside what is timed: exact int8 products, fp32 products, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from instructor_onnx.bench.machine import copy_speed, product_speed, product_weights
from instructor_onnx.bundle import Model
from instructor_onnx.engines import native
from threadpoolctl import threadpool_limits

KEYS = ("int8", "fp32", "memory")
# "isa" of the int8 products, "" without kernels; under each of KEYS operations or bytes a second
Limits = dict[str, Any]


def measure(threads: int) -> Limits:
    """About a second, in which nothing else may run."""
    isa = native.instruction_set() if native.is_verified() else ""
    peaks = {kind: native.import_kernels().measure_peak(isa, kind, threads) for kind in ("int8", "float32") if isa}
    with threadpool_limits(threads):
        fp32 = product_speed()
    return {
        "isa": isa,
        "int8": peaks.get("int8"),
        "fp32": max(fp32, peaks.get("float32", 0.0)),
        "memory": copy_speed(threads),
    }


def highest(measured: Sequence[Limits]) -> Limits | None:
    """Of several measurements, as others' work only takes away; None where nothing was measured."""
    if not measured:
        return None
    highest = {key: max((limits[key] for limits in measured if limits[key]), default=None) for key in KEYS}
    return {"isa": measured[-1]["isa"], **highest}


def operations(model: Model) -> int:
    """Of one token in all products with weights, two a multiplication; attention is not counted."""
    return 2 * product_weights(model)

"""Results to reason about, as a run of `bench` would have found them."""

from __future__ import annotations

from dataclasses import replace

from instructor_onnx.bench.results import (
    SCHEMA,
    ColdStart,
    Latency,
    LeftOut,
    Load,
    Machine,
    Measured,
    Peak,
    Results,
    Sample,
    Setting,
    Stage,
)

SPEED = 1000.0

MACHINE = Machine(
    processor="a processor",
    system="Linux 6, x86_64",
    python="3.11.7",
    threads=2,
    logical_cpus=4,
    instruction_sets=("avx2",),
    memory_bytes=8_000_000_000,
    copy_bytes_per_second=2e10,
    peaks=(Peak("int8", 4e11, "a loop"), Peak("fp32", 1e11, "a loop")),
)
QUIET = Load(other_cores=0.02, most_other_cores=0.05, stolen_cores=0.0, load_average=0.1)


def measured(**changes: object) -> Measured:
    """A variant with figures to reason about."""
    usual = Measured(
        variant="int8",
        engine="native",
        description="native avx2",
        fingerprint="0123456789abcdef",
        weight_type="int8",
        weight_bytes=1e8,
        flop_per_token=2e8,
        cold_start=ColdStart(0.2, 0.1, 0.01),
        resident_bytes=100_000_000,
        peak_bytes=200_000_000,
        latency=(Latency(16, 10.0, 11.0, 12.0, 5, 0.0), Latency(32, 20.0, 21.0, 30.0, 5, 0.0)),
        batches=(Setting(1, SPEED, 0.0), Setting(8, 2 * SPEED, 0.0)),
        batch_tokens=64,
        budgets=(Setting(512, 1.02 * SPEED, 0.0), Setting(1024, SPEED, 0.0), Setting(2048, 0.9 * SPEED, 0.0)),
        default_budget=1024,
        threads=(Setting(1, 0.6 * SPEED, 0.0), Setting(2, SPEED, 0.0)),
        stages=(Stage("open", 0.0, 0.1, 90_000_000), Stage("latency", 0.1, 2.0, 110_000_000)),
        memory=(Sample(0.0, 30_000_000), Sample(0.1, 90_000_000), Sample(2.0, 110_000_000)),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def results(*variants: Measured, **changes: object) -> Results:
    """A run on a quiet machine."""
    usual = Results(
        schema=SCHEMA,
        instructor_onnx="0.1.0",
        measured_at="2026-11-22T08:00:00Z",
        seconds=2.0,
        model="instructor-base",
        machine=MACHINE,
        load=QUIET,
        variants=variants or (measured(),),
        left_out=(LeftOut("fp16", "is for GPUs."),),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]

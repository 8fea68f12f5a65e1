"""What `bench` measured, as data and as the file that `--json` writes. Measures nothing and concludes nothing.

The file is this module's `Results` as JSON; each field's comment says what it is and in which unit. Fields are added,
and one that is there keeps its meaning, as long as SCHEMA stays; a field that changes or goes counts it up.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from instructor_onnx.fields import Between, FieldError, parse, read_json

SCHEMA = 1
MOST_FILE = 4 << 20  # bytes; a bundle of six variants on two engines has some 100 thousand
MOST_VARIANTS = 40
MOST_POINTS = 1000  # of any list in it: more would be no measurement of ours
BUSY = 0.1  # cores' worth of other processes that make a machine busy

# The numbers of a file, and what they may be: above zero where one divides by them, and far from any overflow.
Count = Annotated[int, range(1, 1 << 50)]
Share = Annotated[float, Between(0, 1e6)]
Rate = Annotated[float, Between(1e-9, 1e21)]


@dataclass(frozen=True)
class Latency:
    """Of `encode` of one row."""

    tokens: Count  # of the row: instruction and </s> counted
    p50_ms: Rate  # milliseconds
    p90_ms: Rate
    p99_ms: Rate
    calls: Count  # that were timed
    other_cores: Share | None  # cores' worth of CPU time that other processes took meanwhile; null: not Linux


@dataclass(frozen=True)
class Setting:
    """Throughput with one setting."""

    value: Count  # rows of a call, token budget or threads: as the list's name says
    tokens_per_second: Rate  # of the median call; padding not counted
    other_cores: Share | None  # as in Latency


def is_busy(step: Latency | Setting) -> bool:
    """Whether other processes took enough CPU time to be what a figure shows."""
    return step.other_cores is not None and step.other_cores > BUSY


@dataclass(frozen=True)
class ColdStart:
    """From no process to the first vector, in seconds. The files may have been in the system's cache."""

    process_seconds: Share  # a new Python, with the imports
    open_seconds: Share  # the model's files, up to a model that can encode
    first_seconds: Share  # the first `encode`, of one short row

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.process_seconds + self.open_seconds + self.first_seconds


@dataclass(frozen=True)
class Stage:
    """A part of a variant's run."""

    name: str  # "open", "latency", "batches", "budgets" or "threads"
    begin_seconds: Share  # since the variant's process began to work
    end_seconds: Share
    peak_bytes: Count | None  # the most resident memory meanwhile; null: not Linux


@dataclass(frozen=True)
class Sample:
    """Resident memory (RSS) of the variant's process at one moment; mapped files count where they were touched."""

    seconds: Share  # since the variant's process began to work
    resident_bytes: Count


@dataclass(frozen=True)
class Measured:
    """One variant on one engine, in a process of its own."""

    variant: str  # as in the bundle: "fp32", "int8", ...
    engine: str  # "native" or "onnxruntime"
    description: str  # the engine with its instruction set or version: "native avx2", "onnxruntime 1.31.1"
    fingerprint: str  # 16 hexadecimal digits of weights, tokenizer and arithmetic: equal where vectors are
    weight_type: str  # of the variant: "float32", "int8", "int4", ...
    weight_bytes: Rate  # bytes of weights that every run reads: all but the embedding table
    flop_per_token: Rate  # operations of a token in products with weights, two a multiplication; attention not counted
    cold_start: ColdStart
    resident_bytes: Count | None  # after the first vector; null: not Linux
    peak_bytes: Count | None  # the most there ever was; null: not Linux
    latency: tuple[Latency, ...]  # by tokens of the row, ascending; never empty
    batches: tuple[Setting, ...]  # by rows of a call, `batch_tokens` tokens each
    batch_tokens: Count
    budgets: tuple[Setting, ...]  # texts of mixed lengths, by token budget
    default_budget: Count  # the token budget where nothing is said
    threads: tuple[Setting, ...]  # texts of mixed lengths, by number of threads
    stages: tuple[Stage, ...]  # in their order
    memory: tuple[Sample, ...]  # over time; empty: not Linux

    @property
    def name(self) -> str:
        """Variant and engine: "int8 native"."""
        return f"{self.variant} {self.engine}"

    @property
    def steps(self) -> tuple[Latency | Setting, ...]:
        """Every figure that was timed."""
        return (*self.latency, *self.batches, *self.budgets, *self.threads)


@dataclass(frozen=True)
class Peak:
    """The most operations a second that one kind of product reached here; others' work only takes away."""

    kind: str  # "int8" or "fp32"
    operations_per_second: Rate  # a multiplication and an addition are two
    source: str  # what was timed


@dataclass(frozen=True)
class Machine:
    """What the variants ran on."""

    processor: str
    system: str  # operating system, release and architecture
    python: str  # version
    threads: Count  # most that were tried: cores of the process's affinity within the container's quota, or --threads
    logical_cpus: Count
    instruction_sets: tuple[str, ...]  # the processor's, of those that matter; empty where they cannot be read
    memory_bytes: Count | None  # of the machine, whatever a container allows; null: unknown
    copy_bytes_per_second: Rate  # read and written, that all threads copy together
    peaks: tuple[Peak, ...]  # with that many threads

    def peak(self, weight_type: str) -> Peak | None:
        """The peak of the products that such weights are multiplied by; None: it was not measured."""
        kind = "int8" if weight_type in ("int8", "int4") else "fp32"
        return next((peak for peak in self.peaks if peak.kind == kind), None)


@dataclass(frozen=True)
class Load:
    """How busy the machine was while variants were measured: Linux only, else null."""

    other_cores: Share | None  # cores' worth of CPU time that other processes took, on average
    most_other_cores: Share | None  # in the busiest step
    stolen_cores: Share | None  # that the hypervisor gave to other machines
    load_average: Share | None  # of the minute before, as the system counts it


@dataclass(frozen=True)
class LeftOut:
    """What was not measured, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Results:
    """Everything measured in one run of `bench`."""

    schema: Annotated[int, range(SCHEMA, SCHEMA + 1)]
    instructor_onnx: str  # its version
    measured_at: str  # the end, UTC: "2026-11-22T08:00:00Z"
    seconds: Rate  # that each figure was timed for, at least
    model: str  # the bundle's name for it
    machine: Machine
    load: Load
    variants: tuple[Measured, ...]  # never empty
    left_out: tuple[LeftOut, ...]


def write(results: Results, path: Path) -> None:
    """Write the file of `--json`."""
    path.write_text(json.dumps(dataclasses.asdict(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Read such a file, perhaps a stranger's.

    Raises:
        FieldError: it cannot be read, is of another schema, or a field is missing, of the wrong type or past its
            limits.
    """
    try:
        data = read_json(path, "a file of figures", MOST_FILE)
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise FieldError(f"{path}: schema is {schema!r:.60}, this instructor-onnx reads {SCHEMA}.")
        found = parse(Results, data, str(path))
        _check_lengths(found, path)
    except FieldError as error:
        raise FieldError(
            f"{error} Expected what `instructor-onnx bench BUNDLE --json` writes; measure again."
        ) from None
    return found


def _check_lengths(results: Results, path: Path) -> None:
    """That nothing is empty which is drawn, and nothing so long that it is no measurement."""
    if not 1 <= len(results.variants) <= MOST_VARIANTS:
        raise FieldError(f"{path}: variants: expected 1 to {MOST_VARIANTS}, found {len(results.variants):,}.")
    for place, measured in enumerate(results.variants):
        for name in ("latency", "batches", "budgets", "threads", "stages", "memory"):
            least = 0 if name in ("stages", "memory") else 1
            if not least <= len(getattr(measured, name)) <= MOST_POINTS:
                raise FieldError(
                    f"{path}: variants[{place}]: {name}: expected {least} to {MOST_POINTS:,} entries, "
                    f"found {len(getattr(measured, name)):,}."
                )
    if max(len(results.left_out), len(results.machine.peaks), len(results.machine.instruction_sets)) > MOST_POINTS:
        raise FieldError(f"{path}: expected lists of at most {MOST_POINTS:,} entries.")
    names = [measured.name for measured in results.variants]
    if len(set(names)) < len(names):
        raise FieldError(f"{path}: variants: one of {', '.join(names):.200} is there twice.")

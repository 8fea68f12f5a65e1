"""What `instructor-onnx bench` found: figures, what limits them, the fastest settings, tables. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BATCH_LENGTH = 64
WORTH = 0.03  # a setting is named instead of the default where it is faster by more


@dataclass(frozen=True)
class Latency:
    """Of `encode` of one row, in milliseconds."""

    tokens: int
    p50: float
    p90: float
    p99: float
    calls: int


@dataclass(frozen=True)
class Setting:
    """Throughput in tokens a second, padding not counted, with one setting."""

    value: int
    tokens_per_second: float


@dataclass(frozen=True)
class Measured:
    """One variant on one engine."""

    variant: str
    engine: str  # "onnxruntime" or "native"
    load_seconds: float
    resident_bytes: int | None  # after the first vector; None: not Linux
    peak_bytes: int | None  # at the end of all that was run
    latency: tuple[Latency, ...]
    batches: tuple[Setting, ...]  # by rows of a call, BATCH_LENGTH tokens each
    budgets: tuple[Setting, ...]  # mixed lengths, by token budget
    default_budget: int  # tokens of one run where nothing is said
    threads: tuple[Setting, ...]  # mixed lengths, by number of threads
    weight_bytes: float  # that every run reads: all but the embedding table
    flop_per_token: float

    @property
    def best_budget(self) -> Setting:
        """The fastest token budget; the default where it is nearly as fast."""
        return _best(self.budgets, self.default_budget)

    @property
    def best_threads(self) -> Setting:
        """The fastest number of threads; the most where it is nearly as fast."""
        return _best(self.threads, max(setting.value for setting in self.threads))


@dataclass(frozen=True)
class Hardware:
    """What the variants ran on."""

    processor: str
    threads: int  # that the process may use: cores of its affinity, within the container's quota
    logical_cpus: int
    flags: tuple[str, ...]  # instruction sets that matter; () where they cannot be read
    copy_bytes_per_second: float  # of all threads, bytes read and written
    flop_per_second: float  # of numpy's float32 product


@dataclass(frozen=True)
class Report:
    """Everything measured, and what follows from it."""

    model: str
    machine: Hardware
    variants: dict[str, Measured]
    limits: tuple[str, ...]
    advice: tuple[str, ...]
    left_out: tuple[str, ...]  # which variant on which engine, and why


def _best(settings: tuple[Setting, ...], default: int) -> Setting:
    fastest = max(settings, key=lambda setting: setting.tokens_per_second)
    usual = next((setting for setting in settings if setting.value == default), fastest)
    return usual if usual.tokens_per_second * (1 + WORTH) >= fastest.tokens_per_second else fastest


def limits(hardware: Hardware, variants: dict[str, Measured]) -> Iterator[str]:
    """What a variant waits for, from the figures."""
    for name, measured in variants.items():
        short = measured.latency[0]
        streamed = measured.weight_bytes / (short.p50 / 1e3)
        memory = streamed / hardware.copy_bytes_per_second
        worked = measured.best_budget.tokens_per_second * measured.flop_per_token
        arithmetic = worked / hardware.flop_per_second
        bound = "memory bandwidth" if memory > 0.5 else "arithmetic and overheads"
        yield (
            f"{name}: a query of {short.tokens} tokens reads {measured.weight_bytes / 1e6:,.0f} MB of weights at "
            f"{streamed / 1e9:.1f} GB/s, {memory:.0%} of what memory copies here ({bound}); mixed lengths run at "
            f"{worked / 1e9:,.0f} GFLOP/s, {arithmetic:.0%} of numpy's fp32 product."
        )
        by_threads = {setting.value: setting.tokens_per_second for setting in measured.threads}
        if len(by_threads) > 1:
            gain = by_threads[max(by_threads)] / by_threads[1]
            yield f"{name}: {max(by_threads)} threads are {gain:.2f} times one."
    if hardware.flags and "int8" in variants and not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(hardware.flags):
        if "avx2" in hardware.flags:
            yield "int8: this CPU has neither VNNI nor AMX; on one that has, int8 is several times faster."
    elif "avx512_vnni" in hardware.flags and "amx_int8" not in hardware.flags:
        yield "int8: this CPU has VNNI but no AMX, which would be faster still."
    if hardware.threads < hardware.logical_cpus:
        yield (
            f"threads: {hardware.threads} of {hardware.logical_cpus} logical CPUs: --threads, hyper-threading, "
            "affinity or a container's quota leave no more."
        )


def advice(variants: dict[str, Measured]) -> Iterator[str]:
    """The fastest settings, as arguments of INSTRUCTOR."""
    quick = min(variants, key=lambda name: variants[name].latency[0].p50)
    steady = max(variants, key=lambda name: variants[name].best_budget.tokens_per_second)
    for purpose, name in (("single queries", quick), ("many texts", steady)):
        chosen = variants[name]
        options = f"variant={chosen.variant!r}, engine={chosen.engine!r}, num_threads={chosen.best_threads.value}"
        if purpose == "many texts" and chosen.best_budget.value != chosen.default_budget:
            options += f", token_budget={chosen.best_budget.value}"
        yield f"{purpose}: INSTRUCTOR(..., {options})"


def tables(report: Report) -> str:
    """The report as text."""
    latency: list[list[str]] = [["ms, p50 / p90 / p99", *(f"{item.tokens} tokens" for item in _first(report).latency)]]
    batches = [["tokens/s", *(f"{item.value} × {BATCH_LENGTH}" for item in _first(report).batches)]]
    budgets = [["mixed lengths, tokens/s", *(f"budget {item.value:,}" for item in _first(report).budgets)]]
    threads = [["mixed lengths, tokens/s", *(f"{item.value} threads" for item in _first(report).threads)]]
    memory = [["", "load, s", "resident, MB", "peak, MB"]]
    for name, found in report.variants.items():
        latency.append([name, *(f"{item.p50:.3g} / {item.p90:.3g} / {item.p99:.3g}" for item in found.latency)])
        for table, settings in ((batches, found.batches), (budgets, found.budgets), (threads, found.threads)):
            table.append([name, *(f"{item.tokens_per_second:,.0f}" for item in settings)])
        sizes = ["-" if size is None else f"{size / 1e6:,.0f}" for size in (found.resident_bytes, found.peak_bytes)]
        memory.append([name, f"{found.load_seconds:.2f}", *sizes])
    parts = [_aligned(table) for table in (latency, batches, budgets, threads, memory)]
    parts += ["limits:\n" + "\n".join(f"  {line}" for line in report.limits)]
    parts += ["fastest here:\n" + "\n".join(f"  {line}" for line in report.advice)]
    if report.left_out:
        parts += ["left out:\n" + "\n".join(f"  {line}" for line in report.left_out)]
    return "\n\n".join(parts)


def _first(report: Report) -> Measured:
    return next(iter(report.variants.values()))


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

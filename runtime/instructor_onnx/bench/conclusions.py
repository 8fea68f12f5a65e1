"""What follows from the figures: what limits each variant, the settings to take, how far the figures can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from instructor_onnx.bench.results import BUSY, Load, Machine, Measured, Results, Setting, is_busy

WORTH = 0.03  # a setting is named instead of the default where it is faster by more
MOSTLY = 0.5  # a share of what the machine can do that names what is waited for


@dataclass(frozen=True)
class Limit:
    """How near a variant comes to what the machine can do, as shares."""

    name: str
    query_memory: float  # weights read by the shortest query, of what memory copies
    query_products: float | None  # its products, of the peak of their kind; None: no such peak was measured
    mixed_products: float | None  # the same of texts of mixed lengths
    peak: str  # which: "int8" or "fp32"

    @property
    def query_bound(self) -> str:
        """What a query waits for."""
        return _bound(self.query_memory, self.query_products)

    @property
    def mixed_bound(self) -> str:
        """What texts of mixed lengths wait for: their weights are read once for many tokens."""
        return _bound(0.0, self.mixed_products)


def _bound(memory: float, products: float | None) -> str:
    if max(memory, products or 0.0) <= MOSTLY:
        return "not told" if products is None else "overheads"
    return "memory" if memory >= (products or 0.0) else "products"


def limits(results: Results) -> tuple[Limit, ...]:
    """One a variant, in their order."""
    return tuple(_limit(results.machine, measured) for measured in results.variants)


def _limit(machine: Machine, measured: Measured) -> Limit:
    query, peak = measured.latency[0], machine.peak(measured.weight_type)
    seconds = query.p50_ms / 1e3

    def share(tokens_per_second: float) -> float | None:
        return tokens_per_second * measured.flop_per_token / peak.operations_per_second if peak else None

    return Limit(
        name=measured.name,
        query_memory=measured.weight_bytes / seconds / machine.copy_bytes_per_second,
        query_products=share(query.tokens / seconds),
        mixed_products=share(mixed_rate(measured)),
        peak=peak.kind if peak else "",
    )


def best_budget(measured: Measured) -> Setting:
    """The fastest token budget; the default where it is nearly as fast, or others' work may be the reason."""
    return _best(measured.budgets, measured.default_budget)


def best_threads(measured: Measured) -> Setting:
    """The fastest number of threads; the most where it is nearly as fast, or others' work may be the reason."""
    return _best(measured.threads, max(setting.value for setting in measured.threads))


def mixed_rate(measured: Measured) -> float:
    """Tokens a second of texts of mixed lengths: the higher of two figures, as others' work only takes away."""
    return max(best_budget(measured).tokens_per_second, best_threads(measured).tokens_per_second)


def _best(settings: tuple[Setting, ...], default: int) -> Setting:
    fastest = max(settings, key=lambda setting: setting.tokens_per_second)
    usual = next((setting for setting in settings if setting.value == default), fastest)
    nearly = usual.tokens_per_second * (1 + WORTH) >= fastest.tokens_per_second
    return usual if nearly or is_busy(usual) else fastest


@dataclass(frozen=True)
class Recommendation:
    """Settings for one purpose, as arguments of INSTRUCTOR."""

    purpose: str
    variant: str
    engine: str
    num_threads: int
    token_budget: int | None  # None: the default

    def __str__(self) -> str:
        budget = "" if self.token_budget is None else f", token_budget={self.token_budget}"
        return (
            f"INSTRUCTOR(..., variant={self.variant!r}, engine={self.engine!r}, num_threads={self.num_threads}{budget})"
        )


def recommendations(results: Results) -> tuple[Recommendation, ...]:
    """For single queries and for many texts."""
    quick = min(results.variants, key=lambda measured: measured.latency[0].p50_ms)
    steady = max(results.variants, key=mixed_rate)
    budget = best_budget(steady).value
    return (
        Recommendation("single queries", quick.variant, quick.engine, best_threads(quick).value, None),
        Recommendation(
            "many texts",
            steady.variant,
            steady.engine,
            best_threads(steady).value,
            None if budget == steady.default_budget else budget,
        ),
    )


def remarks(results: Results) -> Iterator[str]:
    """What a reader should know before believing the figures."""
    yield busy(results.load)
    for measured in results.variants:
        most = max(setting.value for setting in measured.threads)
        fastest = max(measured.threads, key=lambda setting: setting.tokens_per_second)
        chosen = best_threads(measured)
        if fastest.value != chosen.value and fastest.tokens_per_second > (1 + WORTH) * chosen.tokens_per_second:
            yield (
                f"{measured.name}: {count(fastest.value, 'thread')} looked faster than {most}, while other processes "
                f"took {chosen.other_cores:.1f} cores. That tells of them, not of threads: measure again when the "
                "machine is quiet."
            )
    for limit in limits(results):
        if max(limit.query_products or 0.0, limit.mixed_products or 0.0) > 1:
            yield (
                f"{limit.name}: more than the {limit.peak} peak. The peak was timed while the machine was busier or "
                "slower, or this engine's products need fewer steps."
            )
        if limit.query_memory > 1:
            yield (
                f"{limit.name}: a query reads its weights faster than memory copies: they stay in the caches, or "
                "memory was timed while the machine was busier."
            )


def is_quiet(load: Load) -> bool:
    """Whether others' work can be ruled out; False where it is not known."""
    shares = (load.other_cores, load.most_other_cores, load.stolen_cores)
    return load.other_cores is not None and all(share is None or share < BUSY for share in shares)


def busy(load: Load) -> str:
    """How busy the machine was, in one sentence."""
    if load.other_cores is None:
        average = "" if load.load_average is None else f" (load average before: {load.load_average:.2f})"
        return f"How busy the machine was with other processes is not known here{average}: only Linux tells."
    most = load.other_cores if load.most_other_cores is None else load.most_other_cores
    stolen = f", and the hypervisor gave away {load.stolen_cores:.1f}" if (load.stolen_cores or 0) >= BUSY else ""
    average = "" if load.load_average is None else f"; load average before: {load.load_average:.2f}"
    if is_quiet(load):
        return f"The machine was quiet: other processes took {load.other_cores:.2f} cores on average{average}."
    return (
        f"The machine was busy: other processes took {load.other_cores:.1f} cores on average, {most:.1f} in the "
        f"busiest step{stolen}{average}. Figures are lower for it, and differences may be others' work."
    )


def hints(results: Results) -> Iterator[str]:
    """What another machine, or more of this one, would give."""
    flags, machine = set(results.machine.instruction_sets), results.machine
    eight_bits = any(measured.weight_type in ("int8", "int4") for measured in results.variants)
    if eight_bits and flags:
        if "avx2" in flags and not {"avx512_vnni", "avx_vnni", "amx_int8"} & flags:
            yield "int8: this CPU has neither VNNI nor AMX; on one that has, int8 is several times faster."
        elif "avx512_vnni" in flags and "amx_int8" not in flags:
            yield "int8: this CPU has VNNI but no AMX, which would be faster still."
    if machine.threads < machine.logical_cpus:
        yield (
            f"threads: {machine.threads} of {machine.logical_cpus} logical CPUs: --threads, hyper-threading, "
            "affinity or a container's quota leave no more."
        )


def count(number: int, noun: str) -> str:
    """The two together: "1 thread", "2 threads"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""Two files of `bench --json` -> what the second is beside the first: ratios, and what is unlike besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from instructor_onnx.bench.charts import bar_chart
from instructor_onnx.bench.conclusions import busy, count, mixed_rate
from instructor_onnx.bench.report import latency_chart
from instructor_onnx.bench.results import Measured, Results, Setting, is_busy
from instructor_onnx.bench.tables import STARRED, UNKNOWN, Section, Table, starred, three_digits, with_stars_told

NAMES = ("A", "B")


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common, and what not."""

    a: Results
    b: Results
    pairs: tuple[tuple[Measured, Measured], ...]  # of the same variant and engine; never empty


def compare(a: Results, b: Results) -> Comparison:
    """Put two runs beside each other.

    Raises:
        ValueError: they have no variant on the same engine in common.
    """
    others = {measured.name: measured for measured in b.variants}
    pairs = tuple((measured, others[measured.name]) for measured in a.variants if measured.name in others)
    if not pairs:
        has = "; ".join(
            f"{name} has {', '.join(measured.name for measured in results.variants)}"
            for name, results in zip(NAMES, (a, b), strict=True)
        )
        raise ValueError(
            f"--compare: nothing to compare, as no variant was measured on the same engine in both: {has}."
        )
    return Comparison(a, b, pairs)


def unlike(comparison: Comparison) -> tuple[str, ...]:
    """Everything that is not the same in both, or that makes a difference less than certain: a sentence each."""
    return tuple(_unlike(comparison))


def _unlike(comparison: Comparison) -> Iterator[str]:
    a, b = comparison.a, comparison.b
    if a.model != b.model:
        yield f"Different models, {a.model} and {b.model}: the ratios are of models, too."
    elif any(one.fingerprint != two.fingerprint for one, two in comparison.pairs):
        names = ", ".join(one.name for one, two in comparison.pairs if one.fingerprint != two.fingerprint)
        yield f"One name, {a.model}, but different weights, tokenizer or arithmetic: {names}."
    if a.machine.processor != b.machine.processor:
        yield f"Different processors, {a.machine.processor} and {b.machine.processor}: the ratios are of machines, too."
    facts = {
        "threads": (a.machine.threads, b.machine.threads),
        "logical CPUs": (a.machine.logical_cpus, b.machine.logical_cpus),
        "systems": (a.machine.system, b.machine.system),
        "versions of Python": (a.machine.python, b.machine.python),
        "versions of instructor-onnx": (a.instructor_onnx, b.instructor_onnx),
        "seconds of each measurement": (f"{a.seconds:g}", f"{b.seconds:g}"),
    }
    yield from (f"Different {fact}: {one} and {two}." for fact, (one, two) in facts.items() if one != two)
    engines = {
        (one.description, two.description) for one, two in comparison.pairs if one.description != two.description
    }
    yield from (f"Different engines: {one} and {two}." for one, two in sorted(engines))
    for name, results, other in (("A", a, b), ("B", b, a)):
        theirs = {measured.name for measured in other.variants}
        alone = [measured.name for measured in results.variants if measured.name not in theirs]
        if alone:
            yield f"Only in {name}: {', '.join(alone)}."
    for name, results in zip(NAMES, (a, b), strict=True):
        yield f"{name}: {busy(results.load)}"
    yield "Differences of a few per cent may be chance: measure both twice to see."


def heading(name: str, results: Results) -> str:
    """Whose figures they are."""
    threads = count(results.machine.threads, "thread")
    return f"{name}: {results.model} on {results.machine.processor}, {threads}, {results.measured_at}"


def sections(comparison: Comparison) -> tuple[Section, ...]:
    """All variants at a glance, then each by itself."""
    return (_summary(comparison), *(_variant(place, *pair) for place, pair in enumerate(comparison.pairs)))


def text(comparison: Comparison) -> str:
    """The comparison for a terminal."""
    parts = ["\n".join(heading(*named) for named in zip(NAMES, (comparison.a, comparison.b), strict=True))]
    parts += with_stars_told(sections(comparison))
    parts.append("remarks:\n" + "\n".join(f"  {line}" for line in unlike(comparison)))
    return "\n\n".join(parts)


def _summary(comparison: Comparison) -> Section:
    rows = []
    for one, two in comparison.pairs:
        query = (
            one.latency[0].p50_ms / two.latency[0].p50_ms if one.latency[0].tokens == two.latency[0].tokens else None
        )
        many = mixed_rate(two) / mixed_rate(one)
        start = one.cold_start.seconds / two.cold_start.seconds if two.cold_start.seconds else None
        memory = two.resident_bytes / one.resident_bytes if one.resident_bytes and two.resident_bytes else None
        speeds = [UNKNOWN if ratio is None else f"{ratio:.2f}× as fast" for ratio in (query, many, start)]
        rows.append((one.name, *speeds, UNKNOWN if memory is None else f"{memory:.2f}× as much"))
    titles = ("B beside A", "shortest query", "texts of mixed lengths", "cold start", "memory, first vector")
    drawing = bar_chart(
        "compare-mixed",
        "Texts of mixed lengths, A and B",
        "Tokens a second of each variant in A and in B, with the settings to take. The table has the ratios.",
        x_label="tokens/s",
        rows=[(one.name, [mixed_rate(one), mixed_rate(two)]) for one, two in comparison.pairs],
        parts=NAMES,
    )
    note = "More than 1 is faster; of memory, more. The drawing: texts of mixed lengths, with the settings to take."
    return Section("B beside A (ratios)", Table(titles, tuple(rows)), note, drawing)


def _variant(place: int, one: Measured, two: Measured) -> Section:
    rows = [*_latency_rows(one, two)]
    for what, a, b in (
        (f"rows of a call, {one.batch_tokens} tokens each: {{}}", one.batches, two.batches),
        ("threads, mixed lengths: {}", one.threads, two.threads),
        ("token budget, mixed lengths: {}", one.budgets, two.budgets),
    ):
        if not (a is one.batches and one.batch_tokens != two.batch_tokens):
            rows += _setting_rows(what, a, b)
    starts = one.cold_start.seconds, two.cold_start.seconds
    rows.append(("cold start, s", *(f"{each:.3f}" for each in starts), _times(starts[0], starts[1], "as fast")))
    for what, sizes in (
        ("memory after the first vector, MB", (one.resident_bytes, two.resident_bytes)),
        ("memory at its peak, MB", (one.peak_bytes, two.peak_bytes)),
    ):
        cells = [UNKNOWN if size is None else f"{size / 1e6:,.0f}" for size in sizes]
        rows.append((what, *cells, _times(sizes[1], sizes[0], "as much")))
    stars = any(map(is_busy, (*one.steps, *two.steps)))
    entries = [("A", one, 0, False), ("B", two, 1, True)]
    drawing = latency_chart(f"compare-{place}", f"Latency by length, {one.name}", entries)
    return Section(one.name, Table(("figure", *NAMES, "B beside A"), tuple(rows)), STARRED if stars else "", drawing)


def _latency_rows(one: Measured, two: Measured) -> Iterator[tuple[str, ...]]:
    others = {item.tokens: item for item in two.latency}
    for a in one.latency:
        if b := others.get(a.tokens):
            cells = [starred(three_digits(item.p50_ms), item) for item in (a, b)]
            yield f"one row of {a.tokens:,} tokens, median ms", *cells, _times(a.p50_ms, b.p50_ms, "as fast")


def _setting_rows(what: str, one: Sequence[Setting], two: Sequence[Setting]) -> Iterator[tuple[str, ...]]:
    others = {setting.value: setting for setting in two}
    for a in one:
        if b := others.get(a.value):
            cells = [starred(f"{setting.tokens_per_second:,.0f}", setting) for setting in (a, b)]
            ratio = _times(b.tokens_per_second, a.tokens_per_second, "as fast")
            yield what.format(f"{a.value:,}") + ", tokens/s", *cells, ratio


def _times(over: float | None, under: float | None, what: str) -> str:
    return UNKNOWN if not over or not under else f"{over / under:.2f}× {what}"

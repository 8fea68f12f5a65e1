"""Results -> sections: a title, a table, a drawing, what to know of them; and the report for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from instructor_onnx.bench.charts import Series, bar_chart, line_chart
from instructor_onnx.bench.conclusions import count, hints, is_quiet, limits, recommendations, remarks
from instructor_onnx.bench.drawing import Drawing
from instructor_onnx.bench.results import Latency, Machine, Measured, Results, Setting, is_busy
from instructor_onnx.bench.tables import STARRED, UNKNOWN, Section, Table, starred, three_digits, with_stars_told

NOT_QUIET = "The machine was not known to be quiet: measure again when it is, before relying on these."
PERCENTILES: dict[str, Callable[[Latency], float]] = {
    "median": lambda item: item.p50_ms,
    "90 %": lambda item: item.p90_ms,
    "99 %": lambda item: item.p99_ms,
}
PARTS_OF_START = ("Python and imports", "opening the model", "first vector")
PARTS_OF_LIMIT = ("query: memory", "query: products", "mixed: products")


def sections(results: Results) -> tuple[Section, ...]:
    """All that was measured, subject by subject."""
    busy = {is_busy(step) for measured in results.variants for step in measured.steps}
    stars = len(busy) == 2  # of some, not of all
    return (
        _latency(results, stars),
        _throughput(
            "batches",
            f"Throughput by rows of a call, {results.variants[0].batch_tokens} tokens each (tokens/s)",
            "Padding is not counted.",
            stars,
            "rows of a call",
            results,
            lambda measured: measured.batches,
        ),
        _throughput(
            "threads",
            "Throughput by threads, texts of mixed lengths (tokens/s)",
            "100 texts of 8 to 512 tokens, the median 60, in one call.",
            stars,
            "threads",
            results,
            lambda measured: measured.threads,
        ),
        _throughput(
            "budgets",
            "Throughput by token budget, texts of mixed lengths (tokens/s)",
            "The most tokens of one run of the engine, padding counted. In brackets the default.",
            stars,
            "token budget",
            results,
            lambda measured: measured.budgets,
        ),
        _memory(results),
        _cold_start(results),
        _limits(results),
        _machine(results.machine),
    )


def text(results: Results) -> str:
    """The report for a terminal: tables first, what follows from them last."""
    parts = with_stars_told(sections(results))
    parts.append(_listed("remarks", [*remarks(results), *hints(results)]))
    if results.left_out:
        parts.append(_listed("not measured", [f"{each.what}: {each.why}" for each in results.left_out]))
    parts.append(_listed("recommended here", [f"{each.purpose}: {each}" for each in recommendations(results)]))
    if not is_quiet(results.load):
        parts[-1] += f"\n  {NOT_QUIET}"
    return "\n\n".join(parts)


def _listed(title: str, lines: Iterable[str]) -> str:
    return f"{title}:\n" + "\n".join(f"  {line}" for line in lines)


def _latency(results: Results, stars: bool) -> Section:
    lengths = sorted({item.tokens for measured in results.variants for item in measured.latency})
    rows = []
    for measured in results.variants:
        for said, of in PERCENTILES.items():
            found = {item.tokens: starred(three_digits(of(item)), item, stars) for item in measured.latency}
            rows.append((f"{measured.name}, {said}", *(found.get(length, UNKNOWN) for length in lengths)))
    entries = [(measured.name, measured, *_look(results, measured)) for measured in results.variants]
    drawing = latency_chart("latency", "Latency by length", entries)
    title = "Latency of one row by its tokens (ms)"
    note = (
        "From text to vector; instruction and </s> counted as tokens. Beside the median, what 90 % and 99 % of the "
        f"calls kept to.{STARRED if stars else ''}"
    )
    return Section(title, Table(("tokens", *(f"{length:,}" for length in lengths)), tuple(rows)), note, drawing)


def latency_chart(name: str, title: str, entries: Iterable[tuple[str, Measured, int, bool]]) -> Drawing:
    """Of each entry a line: its name, figures, colour, and whether it is the dashed one of two."""
    return line_chart(
        name,
        title,
        "Milliseconds of one row by its tokens, both logarithmic: the median, with a thin line up to the 99th "
        "percentile. The table has the numbers.",
        x_label="tokens of the row",
        y_label="ms (median; thin line to the 99th percentile)",
        series=[
            Series(
                label,
                tuple((item.tokens, item.p50_ms) for item in measured.latency),
                look,
                hollow,
                whiskers=tuple(max(item.p50_ms, item.p99_ms) for item in measured.latency),
            )
            for label, measured, look, hollow in entries
        ],
        steps=True,
        log_y=True,
    )


def _throughput(
    name: str,
    title: str,
    note: str,
    stars: bool,
    x_label: str,
    results: Results,
    settings: Callable[[Measured], Sequence[Setting]],
) -> Section:
    values = sorted({setting.value for measured in results.variants for setting in settings(measured)})
    rows = []
    for measured in results.variants:
        found = {setting.value: setting for setting in settings(measured)}
        cells = [_rate(found[value], stars) if value in found else UNKNOWN for value in values]
        if name == "budgets" and measured.default_budget in values:
            place = values.index(measured.default_budget)
            cells[place] = f"[{cells[place]}]"
        rows.append((measured.name, *cells))
    drawing = line_chart(
        name,
        title.split(" (")[0],
        f"Tokens a second by {x_label}. The table has the numbers.",
        x_label=x_label,
        y_label="tokens/s",
        series=[
            Series(
                measured.name,
                tuple((setting.value, setting.tokens_per_second) for setting in settings(measured)),
                *_look(results, measured),
            )
            for measured in results.variants
        ],
        steps=True,
    )
    return Section(
        title,
        Table((x_label, *(f"{value:,}" for value in values)), tuple(rows)),
        note + (STARRED if stars else ""),
        drawing,
    )


def _memory(results: Results) -> Section:
    names = list(dict.fromkeys(stage.name for measured in results.variants for stage in measured.stages))
    rows = []
    for measured in results.variants:
        peaks = {stage.name: stage.peak_bytes for stage in measured.stages}
        sizes = [measured.resident_bytes, *(peaks.get(name) for name in names), measured.peak_bytes]
        rows.append((measured.name, *map(_megabytes, sizes)))
    sampled = [measured for measured in results.variants if measured.memory]
    drawing = None
    if sampled:
        drawing = line_chart(
            "memory",
            "Resident memory over time",
            "Megabytes of each variant's process, sampled while it was measured. The table has the peaks by stage.",
            x_label="seconds since the process began",
            y_label="MB",
            series=[
                Series(
                    measured.name,
                    tuple((sample.seconds, sample.resident_bytes / 1e6) for sample in measured.memory),
                    *_look(results, measured),
                )
                for measured in sampled
            ],
            steps=False,
            markers=False,
        )
    table = Table(("MB", "first vector", *(f"in {name}" for name in names), "peak"), tuple(rows))
    note = (
        "Of the variant's own process, everything in it: after the first vector, and the most in each stage. "
        "Stages in their order; each setting of the last two opens a model of its own, which takes more for a moment."
        if sampled
        else "Only Linux tells."
    )
    return Section("Resident memory by stage (MB)", table, note, drawing)


def _cold_start(results: Results) -> Section:
    starts = {
        measured.name: (
            measured.cold_start.process_seconds,
            measured.cold_start.open_seconds,
            measured.cold_start.first_seconds,
        )
        for measured in results.variants
    }
    rows = tuple((name, *(f"{each:.3f}" for each in parts), f"{sum(parts):.3f}") for name, parts in starts.items())
    drawing = bar_chart(
        "cold-start",
        "Cold start",
        "Seconds from no process to the first vector, in three parts. The table has the numbers.",
        x_label="seconds",
        rows=list(starts.items()),
        parts=PARTS_OF_START,
        stacked=True,
    )
    note = "From no process to the first vector, measured once; the files may have been in the system's cache."
    return Section("Cold start (s)", Table(("s", *PARTS_OF_START, "together"), rows), note, drawing)


def _limits(results: Results) -> Section:
    found = limits(results)
    rows = tuple(
        (
            each.name,
            *map(_percent, (each.query_memory, each.query_products, each.mixed_products)),
            each.peak or UNKNOWN,
            each.query_bound,
            each.mixed_bound,
        )
        for each in found
    )
    titles = ("% of", *PARTS_OF_LIMIT, "peak of", "a query waits for", "mixed texts wait for")
    drawing = bar_chart(
        "limits",
        "What limits each variant",
        "Shares of what the machine can do, in per cent: memory read by a query, and products of a query and of texts "
        "of mixed lengths. The table has the numbers.",
        x_label="% of what the machine can do",
        rows=[
            (
                each.name,
                [None if v is None else 100 * v for v in (each.query_memory, each.query_products, each.mixed_products)],
            )
            for each in found
        ],
        parts=PARTS_OF_LIMIT,
        most=100,
    )
    note = (
        "Memory: weights that the shortest query reads, of what all threads copy. Products: multiplications with "
        "weights, of the peak of their own kind, int8 or fp32. Where neither is more than half used it waits for "
        "overheads: attention, tokenising, Python, the starts of threads."
    )
    return Section("What limits each (% of what the machine can do)", Table(titles, rows), note, drawing)


def _machine(machine: Machine) -> Section:
    peaks = [
        (f"peak of {peak.kind}", f"{peak.operations_per_second / 1e9:,.0f} billion operations/s, {peak.source}")
        for peak in machine.peaks
    ]
    rows = (
        ("processor", machine.processor),
        ("instruction sets", ", ".join(machine.instruction_sets) or UNKNOWN),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("threads", f"{count(machine.threads, 'thread')} of {count(machine.logical_cpus, 'logical CPU')}"),
        ("memory", f"{machine.memory_bytes / 1e9:,.1f} GB" if machine.memory_bytes else UNKNOWN),
        ("memory's speed", f"{machine.copy_bytes_per_second / 1e9:,.1f} GB/s, read and written, all threads copying"),
        *(peaks or [("peaks", "not measured")]),
    )
    return Section("The machine", Table(("fact", "value"), rows))


def _look(results: Results, measured: Measured) -> tuple[int, bool]:
    """A colour a variant; hollow markers on dashes for onnxruntime."""
    variants = list(dict.fromkeys(each.variant for each in results.variants))
    return variants.index(measured.variant), measured.engine != "native"


def _rate(setting: Setting, stars: bool) -> str:
    return starred(f"{setting.tokens_per_second:,.0f}", setting, stars)


def _megabytes(size: int | None) -> str:
    return UNKNOWN if size is None else f"{size / 1e6:,.0f}"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"

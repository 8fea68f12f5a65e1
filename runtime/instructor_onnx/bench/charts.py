"""Figures -> drawings: lines over a scale, and bars. Knows what axes, ticks and legends are; nothing about models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from instructor_onnx.bench.drawing import SERIES, SIZE, Drawing, Line, Mark, Point, Shape, Words

WIDTH, PLOT_HEIGHT = 370.0, 190.0  # of a drawing; between the axes
LEFT, RIGHT, BOTTOM = 48.0, 16.0, 44.0
LETTER = 0.56 * SIZE  # a letter's width, about: what a legend leaves for a name
LEGEND_LINE, BAR, GAP = 18.0, 12.0, 12.0
MARKER = 4.0
LONGEST = 24  # letters of a name
CORNERS = (4, 3, 24, 5, 6, 8)  # of the series' markers: told apart without colour


@dataclass(frozen=True)
class Series:
    """One line. Its colour and marker say what it is, hollow markers on dashes which of two."""

    name: str
    points: tuple[Point, ...]
    look: int
    hollow: bool = False
    whiskers: tuple[float, ...] = ()  # for each point, a value up to which a thin line reaches


@dataclass(frozen=True)
class Scale:
    """A value -> its place between two ends."""

    low: float
    high: float
    begin: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(number) if self.log else number for number in (self.low, self.high, value))
        return self.begin + (self.end - self.begin) * ((value - low) / (high - low) if high > low else 0.5)


def line_chart(
    name: str,
    title: str,
    description: str,
    *,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    steps: bool,
    log_y: bool = False,
    markers: bool = True,
) -> Drawing:
    """Lines of points with x ascending.

    Args:
        steps: x are a few values to name, each as far from the next as its logarithm says; else x begins at 0.
        log_y: else y begins at 0.
    """
    xs = sorted({x for each in series for x, _ in each.points})
    ys = [y for each in series for y in (*(y for _, y in each.points), *each.whiskers)]
    top = 20 + LEGEND_LINE * len(_legend_lines([each.name for each in series])) + SIZE
    bottom = top + PLOT_HEIGHT
    x_ticks = xs if steps else [tick for tick in nice_ticks(0, xs[-1]) if tick <= xs[-1]]
    y_ticks = log_ticks(min(ys), max(ys)) if log_y else nice_ticks(0, max(ys))
    to_x = Scale(xs[0] if steps else 0, xs[-1], LEFT + 10 * steps, WIDTH - RIGHT - 10 * steps, log=steps)
    to_y = Scale(y_ticks[0], max(y_ticks[-1], max(ys)), bottom, top, log=log_y)
    marks = [
        *_legend(series),
        Words((4, top - SIZE - 2), y_label),
        *_y_axis(y_ticks, to_y),
        *_x_axis(x_ticks, to_x, bottom, short=not steps),
        Words(((LEFT + WIDTH - RIGHT) / 2, bottom + BOTTOM - 8), x_label, "middle"),
    ]
    for place, each in enumerate(series):
        aside = 3.0 * (place - (len(series) - 1) / 2) if each.whiskers else 0.0  # whiskers side by side
        marks += _line(each, to_x, to_y, aside, markers)
    return Drawing(name, title, description, WIDTH, bottom + BOTTOM, tuple(marks))


def _line(series: Series, to_x: Scale, to_y: Scale, aside: float, markers: bool) -> Iterator[Mark]:
    role = f"s{series.look % SERIES}"
    points = tuple((to_x(x) + aside, to_y(y)) for x, y in series.points)
    for (x, y), high in zip(points, series.whiskers, strict=False):
        yield Line(((x, y), (x, to_y(high))), role)
    yield Line(points, role, dashed=series.hollow, width=1.8 if markers else 1.4)
    for point in points if markers else ():
        yield marker(point, series.look, series.hollow)


def marker(at: Point, look: int, hollow: bool) -> Shape:
    """A polygon around a point."""
    corners = CORNERS[look % SERIES]
    angles = [2 * math.pi * (corner + 0.5 * (corners % 2 == 0)) / corners - math.pi / 2 for corner in range(corners)]
    points = tuple((at[0] + MARKER * math.cos(angle), at[1] + MARKER * math.sin(angle)) for angle in angles)
    return Shape(points, f"s{look % SERIES}", hollow)


def bar_chart(
    name: str,
    title: str,
    description: str,
    *,
    x_label: str,
    rows: Sequence[tuple[str, Sequence[float | None]]],
    parts: Sequence[str],
    stacked: bool = False,
    most: float = 0.0,
) -> Drawing:
    """Horizontal bars from 0: of each row one a part, or all parts in one. None is left out.

    Args:
        most: where the scale ends at least.
    """
    totals = [sum(v or 0 for v in values) if stacked else max(v or 0 for v in values) for _, values in rows]
    ticks = nice_ticks(0, max(*totals, most) or 1)
    left = 12 + LETTER * max(len(shortened(label)) for label, _ in rows)
    top = 10 + LEGEND_LINE * len(_legend_lines(parts))
    row_height = (BAR if stacked else BAR * len(parts)) + GAP
    bottom = top + row_height * len(rows) + GAP / 2
    to_x = Scale(0, max(ticks[-1], *totals), left, WIDTH - RIGHT - 8, log=False)
    marks: list[Mark] = [*_bar_legend(parts)]
    marks += [Line(((to_x(tick), top), (to_x(tick), bottom)), "grid") for tick in ticks]
    for place, (label, values) in enumerate(rows):
        begin = top + GAP / 2 + row_height * place
        marks.append(Words((left - 6, begin + (row_height - GAP) / 2 + SIZE / 3), shortened(label), "end"))
        marks += _stacked(values, begin, to_x) if stacked else _side_by_side(values, begin, to_x)
    marks += [Line(((left, top), (left, bottom)), "axis"), *_x_axis(ticks, to_x, bottom, short=True)]
    marks.append(Words(((left + WIDTH - RIGHT) / 2, bottom + BOTTOM - 8), x_label, "middle"))
    return Drawing(name, title, description, WIDTH, bottom + BOTTOM, tuple(marks))


def _stacked(values: Sequence[float | None], top: float, to_x: Scale) -> Iterator[Mark]:
    ends = list(itertools.accumulate((value or 0.0 for value in values), initial=0.0))
    for part, (begin, end) in enumerate(itertools.pairwise(ends)):
        yield _bar(to_x(begin), to_x(end), top, part)


def _side_by_side(values: Sequence[float | None], top: float, to_x: Scale) -> Iterator[Mark]:
    for part, value in enumerate(values):
        if value is not None:
            yield _bar(to_x(0), to_x(value), top + BAR * part, part)


def _bar(begin: float, end: float, top: float, part: int) -> Shape:
    bottom = top + BAR - 2
    return Shape(((begin, top), (end, top), (end, bottom), (begin, bottom)), f"s{part % SERIES}")


def _y_axis(ticks: Sequence[float], to_y: Scale) -> Iterator[Mark]:
    for tick in ticks:
        y = to_y(tick)
        yield Line(((LEFT, y), (WIDTH - RIGHT, y)), "grid")
        yield Words((LEFT - 6, y + SIZE / 3), short_number(tick), "end")


def _x_axis(ticks: Sequence[float], to_x: Scale, y: float, *, short: bool) -> Iterator[Mark]:
    free = -math.inf  # where the label before ends
    for tick in ticks:
        x, label = to_x(tick), short_number(tick) if short else f"{tick:,.0f}"
        yield Line(((x, y), (x, y + 4)), "axis")
        half = LETTER * len(label) / 2
        if x - half > free:
            yield Words((x, y + 4 + SIZE), label, "middle")
            free = x + half + LETTER


def _legend(series: Sequence[Series]) -> Iterator[Mark]:
    for (x, y), each in zip(_legend_places([each.name for each in series]), series, strict=True):
        yield Line(((x, y), (x + 22, y)), f"s{each.look % SERIES}", dashed=each.hollow, width=1.8)
        yield marker((x + 11, y), each.look, each.hollow)
        yield Words((x + 28, y + SIZE / 3), shortened(each.name))


def _bar_legend(parts: Sequence[str]) -> Iterator[Mark]:
    for part, ((x, y), name) in enumerate(zip(_legend_places(parts), parts, strict=True)):
        yield _bar(x + 10, x + 22, y - 5, part)
        yield Words((x + 28, y + SIZE / 3), shortened(name))


def _legend_places(names: Sequence[str]) -> Iterator[Point]:
    for line, entries in enumerate(_legend_lines(names)):
        for x, _ in entries:
            yield x, 10 + LEGEND_LINE * line


def _legend_lines(names: Sequence[str]) -> list[list[tuple[float, str]]]:
    """Where each name begins, line by line."""
    lines: list[list[tuple[float, str]]] = [[]]
    x = 4.0
    for name in names:
        width = 44 + LETTER * len(shortened(name))
        if lines[-1] and x + width > WIDTH:
            lines.append([])
            x = 4.0
        lines[-1].append((x, name))
        x += width
    return lines


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that begin at or before `low` and end at or past `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Numbers of 1, 2 and 5, or of 1 alone where these would be many, around positive ones."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    wide = last - first > 4
    step = max(1, (last - first) // 8) if wide else 1
    numbers = [
        10.0**power * digit for power in range(first, last + step, step) for digit in ((1,) if wide else (1, 2, 5))
    ]
    begin = max((number for number in numbers if number <= low), default=numbers[0])
    end = min((number for number in numbers if number >= high), default=numbers[-1])
    return [number for number in numbers if begin <= number <= end]


def short_number(value: float) -> str:
    """For an axis: "0.5", "200", "12k", "1.5M"."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.3g}"


def shortened(name: str) -> str:
    """A name that a legend has room for."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"

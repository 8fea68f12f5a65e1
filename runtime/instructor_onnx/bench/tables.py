"""Tables, and what stands around them: for the terminal as text, for a page in page.py. Knows no subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructor_onnx.bench.drawing import Drawing
from instructor_onnx.bench.results import BUSY, Latency, Setting, is_busy

UNKNOWN = "-"
STARRED = f" * while other processes took more than {BUSY:g} cores."


@dataclass(frozen=True)
class Table:
    """Rows with a title each, under titles."""

    titles: tuple[str, ...]  # the first is of the rows' own
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """One subject."""

    title: str  # with the unit of the table's numbers
    table: Table
    note: str = ""  # what was done, and how to read it
    drawing: Drawing | None = None


def aligned(table: Table) -> str:
    """A table's lines in columns."""
    lines = [table.titles, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def with_stars_told(sections: Sequence[Section]) -> list[str]:
    """Each section as text, and behind all what a star means, where there is one."""
    stars = any(section.note.endswith(STARRED) for section in sections)
    return [f"{section.title}\n{aligned(section.table)}" for section in sections] + [STARRED.strip()] * stars


def three_digits(value: float) -> str:
    """As "0.123", "12.3", "1,234"."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def starred(cell: str, step: Latency | Setting, stars: bool = True) -> str:
    """A cell, with a star where it was timed while other processes were at work and `stars` are to be seen."""
    return f"{cell} *" if stars and is_busy(step) else cell

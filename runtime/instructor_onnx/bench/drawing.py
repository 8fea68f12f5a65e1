"""Lines, shapes and words at places -> SVG, or PNG through matplotlib. Knows nothing about what they mean.

Everything is drawn once, by charts.py, for both: SVG needs nothing but this file, so that a report needs no extra.
"""

from __future__ import annotations

import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]

SIZE = 12  # of letters, in the drawing's units
# Roles -> colours. The series differ in brightness too, and charts.py gives each a marker of its own.
LIGHT = {
    "s0": "#1b66b3",
    "s1": "#c04f0a",
    "s2": "#17795a",
    "s3": "#7d4bb0",
    "s4": "#a8326e",
    "s5": "#6a6200",
    "grid": "#dfe3e8",
    "axis": "#8a939e",
    "label": "#4a535e",
    "paper": "#ffffff",
}
DARK = {
    "s0": "#6fb3f5",
    "s1": "#f2965a",
    "s2": "#54cf9f",
    "s3": "#c39bf2",
    "s4": "#f08bbb",
    "s5": "#d6cc5a",
    "grid": "#333a43",
    "axis": "#79828d",
    "label": "#b9c1cb",
    "paper": "#171b21",
}
SERIES = 6  # colours of series; a seventh takes the first again


@dataclass(frozen=True)
class Line:
    """Points joined by a line."""

    points: tuple[Point, ...]
    role: str
    dashed: bool = False
    width: float = 1.0


@dataclass(frozen=True)
class Shape:
    """A closed polygon, filled with its role's colour, or with paper inside a line of that colour."""

    points: tuple[Point, ...]
    role: str
    hollow: bool = False


@dataclass(frozen=True)
class Words:
    """Words on a line through `at`: they begin there, have their middle there, or end there."""

    at: Point
    text: str
    anchor: str = "start"  # or "middle", "end"


Mark: TypeAlias = "Line | Shape | Words"


@dataclass(frozen=True)
class Drawing:
    """What is to be seen, and in words what it says."""

    name: str  # of its file, without a suffix
    title: str
    description: str
    width: float
    height: float
    marks: tuple[Mark, ...]


def css(*, standalone: bool) -> str:
    """The style of `svg`'s classes: colours as variables, for light and for dark."""

    def variables(colours: dict[str, str]) -> str:
        return "".join(f"--{role}:{colour};" for role, colour in colours.items())

    root = "svg" if standalone else ":root"
    roles = "".join(f".{role}{{--c:var(--{role})}}" for role in LIGHT)
    return (
        f"{root}{{{variables(LIGHT)}}}@media(prefers-color-scheme:dark){{{root}{{{variables(DARK)}}}}}{roles}"
        f"svg .l{{fill:none;stroke:var(--c);stroke-linejoin:round}}svg .d{{stroke-dasharray:5 3}}"
        f"svg .f{{fill:var(--c)}}"
        f"svg .h{{fill:var(--paper);stroke:var(--c);stroke-width:1.6}}"
        f"svg text{{font:{SIZE}px system-ui,sans-serif;fill:var(--label)}}"
    )


def svg(drawing: Drawing, *, standalone: bool = False) -> str:
    """One `<svg>`; standalone: with its style and paper, for a file."""
    key = html.escape(drawing.name)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{html.escape(drawing.title)}</title>'
        f'<desc id="{key}-desc">{html.escape(drawing.description)}</desc>'
    )
    if standalone:
        head += f'<style>{css(standalone=True)}</style><rect width="100%" height="100%" fill="var(--paper)"/>'
    return head + "".join(map(_svg_mark, drawing.marks)) + "</svg>"


def _svg_mark(mark: Mark) -> str:
    if isinstance(mark, Words):
        anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
        return f'<text x="{mark.at[0]:.4g}" y="{mark.at[1]:.4g}"{anchor}>{html.escape(mark.text)}</text>'
    points = " ".join(f"{x:.4g},{y:.4g}" for x, y in mark.points)
    if isinstance(mark, Shape):
        return f'<polygon class="{"h" if mark.hollow else "f"} {mark.role}" points="{points}"/>'
    dashed = " d" if mark.dashed else ""
    return f'<polyline class="l{dashed} {mark.role}" stroke-width="{mark.width:g}" points="{points}"/>'


def png(drawing: Drawing) -> bytes:
    """The same on white, at two pixels a unit.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(drawing.width / 100, drawing.height / 100), dpi=200)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    axes.set_axis_off()
    for mark in drawing.marks:
        _matplotlib_mark(axes, mark)
    written = io.BytesIO()
    figure.savefig(written, format="png", metadata={"Software": None, "Title": drawing.title})
    return written.getvalue()


def _matplotlib_mark(axes: Axes, mark: Mark) -> None:
    point = 0.72  # a unit, in the points of 1/72 inch that matplotlib counts letters and lines in
    if isinstance(mark, Words):
        side = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
        said = axes.text(*mark.at, mark.text, horizontalalignment=side, fontsize=SIZE * point, color=LIGHT["label"])
        said.set_parse_math(False)  # a name may have a dollar
        return
    colour, (x, y) = LIGHT[mark.role], zip(*mark.points, strict=True)
    if isinstance(mark, Shape):
        axes.fill(x, y, facecolor=LIGHT["paper"] if mark.hollow else colour, edgecolor=colour, linewidth=0.8, zorder=2)
    else:
        axes.plot(x, y, color=colour, linewidth=mark.width * point, linestyle="--" if mark.dashed else "-", zorder=2)

"""Drawings: scales and ticks, what is drawn where, SVG and PNG of the same marks."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from instructor_onnx import cli
from instructor_onnx.bench import charts, drawing, results
from instructor_onnx.bench.charts import Scale, Series
from instructor_onnx.bench.drawing import Drawing, Line, Shape, Words

from tests.runtime.bench.figures import measured
from tests.runtime.bench.figures import results as found

POSITIVE = st.floats(1e-9, 1e21)
SVG = "{http://www.w3.org/2000/svg}"


def lines(*series: Series, **options: Any) -> Drawing:
    usual: dict[str, Any] = {"x_label": "x", "y_label": "y", "steps": True}
    return charts.line_chart("name", "Title", "What it says.", series=series, **usual | options)


def places(drawn: Drawing) -> list[tuple[float, float]]:
    return [point for mark in drawn.marks for point in ([mark.at] if isinstance(mark, Words) else mark.points)]


def test_a_scale_maps_its_ends() -> None:
    linear, log = Scale(0, 10, 100, 200, log=False), Scale(1, 100, 0, 10, log=True)
    assert (linear(0), linear(5), linear(10)) == (100, 150, 200)
    assert (log(1), log(10), log(100)) == (0, 5, 10)
    assert Scale(3, 3, 0, 10, log=True)(3) == 5


@given(POSITIVE)
def test_ticks_reach_past_the_highest_and_stay_few(high: float) -> None:
    ticks = charts.nice_ticks(0, high)
    assert ticks[0] == 0
    assert ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))


@given(POSITIVE, POSITIVE)
def test_logarithmic_ticks_surround_the_values(one: float, two: float) -> None:
    low, high = sorted((one, two))
    ticks = charts.log_ticks(low, high)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= high * (1 - 1e-9)
    assert len(ticks) <= 16
    assert ticks == sorted(set(ticks))


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_whatever_is_drawn_lies_inside(points: list[tuple[float, float]], steps: bool, log_y: bool) -> None:
    drawn = lines(Series("a name", tuple(sorted(points)), 0), steps=steps, log_y=log_y)
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in places(drawn))


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "0.5"), (200, "200"), (12_000, "12k"), (1.5e6, "1.5M"), (2e9, "2G"), (3e12, "3T")]
)
def test_numbers_of_an_axis_are_short(value: float, said: str) -> None:
    assert charts.short_number(value) == said


def test_a_line_rises_with_its_values_and_whiskers_reach_higher() -> None:
    drawn = lines(Series("fp32", ((16, 1.0), (32, 2.0)), 0, whiskers=(4.0, 2.0)), log_y=True)
    whisker, *_ = [mark for mark in drawn.marks if isinstance(mark, Line) and mark.role == "s0" and mark.width == 1]
    (low, high) = (y for _, y in whisker.points)
    assert high < low
    (line,) = [mark for mark in drawn.marks if isinstance(mark, Line) and mark.width == 1.8][1:]  # the first: legend
    assert line.points[1][1] < line.points[0][1]
    assert line.points[1][0] > line.points[0][0]


def test_series_differ_in_marker_and_dash_besides_colour() -> None:
    drawn = lines(Series("a", ((1, 1.0),), 0), Series("b", ((1, 1.0),), 1), Series("c", ((1, 2.0),), 0, hollow=True))
    corners = {(len(mark.points), mark.hollow) for mark in drawn.marks if isinstance(mark, Shape)}
    assert len(corners) == 3
    assert {mark.dashed for mark in drawn.marks if isinstance(mark, Line)} == {True, False}


def test_bars_are_as_long_as_their_values_and_none_is_left_out() -> None:
    drawn = charts.bar_chart(
        "name", "Title", "Words.", x_label="%", rows=[("one", [50.0, None]), ("two", [100.0, 25.0])], parts=["a", "b"]
    )
    legend, bars = 2, [mark for mark in drawn.marks if isinstance(mark, Shape)]
    lengths = [bar.points[1][0] - bar.points[0][0] for bar in bars[legend:]]
    assert len(lengths) == 3
    assert lengths[1] == pytest.approx(2 * lengths[0])
    assert lengths[1] == pytest.approx(4 * lengths[2])


def test_the_parts_of_a_stacked_bar_follow_each_other() -> None:
    drawn = charts.bar_chart("n", "T", "W", x_label="s", rows=[("one", [1.0, 2.0])], parts=["a", "b"], stacked=True)
    first, second = [mark for mark in drawn.marks if isinstance(mark, Shape)][2:]
    assert first.points[1][0] == second.points[0][0]


def test_svg_has_a_title_and_a_description_and_names_are_escaped() -> None:
    drawn = lines(Series("<script>alert(1)</script>", ((1, 1.0),), 0))
    root = ElementTree.fromstring(drawing.svg(drawn, standalone=True))
    assert root.get("role") == "img"
    title, described = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert described is not None
    assert (title.text, described.text) == ("Title", "What it says.")
    assert root.get("aria-labelledby") == f"{title.get('id')} {described.get('id')}"
    assert root.findall(f".//{SVG}script") == []
    assert any((text.text or "").startswith("<script>") for text in root.iter(f"{SVG}text"))


def test_a_long_name_is_shortened() -> None:
    assert charts.shortened("x" * 100) == "x" * 23 + "…"


def test_png_is_a_picture_of_the_same() -> None:
    pytest.importorskip("matplotlib")
    data = drawing.png(lines(Series("a $name$ with _{dollars", ((16, 1.0), (32, 2.0)), 0)))
    assert data.startswith(b"\x89PNG\r\n")


def test_plots_are_written_and_without_matplotlib_as_svg_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    results.write(found(measured()), figures)
    imported = builtins.__import__

    def without_matplotlib(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    assert cli.main(["bench", "--compare", str(figures), str(figures), "--plots", str(tmp_path / "plots")]) == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["compare-0.svg", "compare-mixed.svg"]
    said = capsys.readouterr().err
    assert "SVG only, as PNG needs matplotlib" in said
    assert "[plot]" in said

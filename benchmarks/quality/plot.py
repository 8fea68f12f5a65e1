"""A results file -> one picture: the scores, and what each variant loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common.pictures import picture
from benchmarks.quality.report import shown_differences

COLOURS = ("#4c566a", "#2f6f9f", "#d08a2e", "#6a994e", "#a4508b")
TOLERATED = 0.3  # points: the line that the project draws for int8


def plot(results: dict[str, Any], path: Path) -> None:
    """Write a PNG: bars of every task's main metric, and beside them the differences in points."""
    subject, tasks = results["subject"], results["parts"]["tasks"]
    columns: list[str] = subject["columns"]
    main = {name: next(iter(task["metrics"])) for name, task in tasks.items()}
    points = {column: [100 * task["scores"][column][main[name]] for name, task in tasks.items()] for column in columns}
    titles = [f"{task['title']}\n{task['metrics'][main[name]]}" for name, task in tasks.items()]
    places = range(len(titles))
    # each column against the reference, and the reference against torch: a third difference says no more
    pairs = shown_differences(subject)
    with picture(path, 9, 0.55 * len(titles) + 1.3, crop=False) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        height = 0.8 / len(columns)
        for index, column in enumerate(columns):
            offsets = [place + (index - (len(columns) - 1) / 2) * height for place in places]
            left.barh(offsets, points[column], height=height, color=COLOURS[index % len(COLOURS)], label=column)
        left.set_yticks(list(places), titles)
        left.invert_yaxis()
        left.set_xlabel("points")
        left.set_title(subject["model"], loc="left")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=len(columns), frameon=False)
        for index, (column, base) in enumerate(pairs):
            lost = [a - b for a, b in zip(points[column], points[base], strict=True)]
            marker = "osD^v"[index % 5]
            colour = COLOURS[columns.index(column) % len(COLOURS)]
            right.plot(lost, places, marker, color=colour, label=f"{column} − {base}", alpha=0.8, markersize=5)
        right.axvline(0, color="#999999", linewidth=0.8)
        if pairs:
            right.axvspan(-TOLERATED, TOLERATED, color="#dddddd", alpha=0.5, linewidth=0)
            right.legend(loc="best", frameon=False)
        right.set_xlabel(f"difference in points (shaded: ±{TOLERATED})")

"""A results file -> one picture: the scores, and what each variant loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common.pictures import picture
from benchmarks.quality.report import shown_differences

COLOURS = ("#2f6f9f", "#d08a2e", "#6a994e", "#a4508b", "#4c566a", "#3a9b9b")
TOLERATED = 0.3  # points: the line that the project draws for int8


def plot(results: dict[str, Any], path: Path) -> None:
    """Write a PNG: what each variant loses on every task's main metric, in points, beside the score it has without."""
    subject, tasks = results["subject"], results["parts"]["tasks"]
    main = {name: next(iter(task["metrics"])) for name, task in tasks.items()}
    # each column against the reference, and the reference against torch: a third difference says no more
    pairs = shown_differences(subject)
    reference = subject["reference"]
    points = {
        column: [100 * task["scores"][column][main[name]] for name, task in tasks.items()]
        for column in subject["columns"]
    }
    titles = [
        f"{task['title']}\n{task['metrics'][main[name]]}: {score:.1f}"
        for (name, task), score in zip(tasks.items(), points[reference], strict=True)
    ]
    with picture(path, 8, 0.55 * len(titles) + 1.3, crop=False) as figure:
        axes = figure.subplots()
        step = 0.8 / max(1, len(pairs))
        for index, (column, base) in enumerate(pairs):
            lost = [a - b for a, b in zip(points[column], points[base], strict=True)]
            places = [place + (index - (len(pairs) - 1) / 2) * step for place in range(len(titles))]
            colour = COLOURS[index % len(COLOURS)]
            axes.hlines(places, 0, lost, color=colour, linewidth=1.2)
            axes.plot(lost, places, "osD^vP"[index % 6], color=colour, label=f"{column} − {base}", markersize=4.5)
        for place in range(1, len(titles)):
            axes.axhline(place - 0.5, color="#e5e5e5", linewidth=0.6)
        axes.set_yticks(range(len(titles)), titles)
        axes.set_ylim(len(titles) - 0.5, -0.5)
        axes.tick_params(left=False)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_title(f"{subject['model']}: scores of {reference}, and what the others differ by", loc="left")
        if pairs:
            axes.axvspan(-TOLERATED, TOLERATED, color="#dddddd", alpha=0.4, linewidth=0, zorder=0)
            figure.legend(loc="outside right upper", frameon=False)
        axes.set_xlabel(f"difference in points (shaded: ±{TOLERATED})")

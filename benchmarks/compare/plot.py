"""A results file -> pictures: latency of a query and throughput of the mixed set; and in short, speed and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common.pictures import picture
from benchmarks.compare.report import OURS, WRONG
from benchmarks.compare.rivals import TORCH_FP32

OUR_COLOUR, COLOUR, TORCH_COLOUR = "#2f6f9f", "#b8c0cc", "#4c566a"
QUERY = "query 32"


def plot(results: dict[str, Any], path: Path) -> None:
    """Write a PNG: bars of the medians, best on top, whiskers from the 10th to the 90th percentile."""
    rivals = {name: rival for name, rival in results["rivals"].items() if "failed" not in rival}
    with picture(path, 11, 0.28 * len(rivals) + 1.4) as figure:
        left, right = figure.subplots(1, 2)
        latency = {
            name: {key: 1e3 * value for key, value in rival["work"][QUERY]["seconds"].items()}
            for name, rival in rivals.items()
            if QUERY in rival["work"]
        }
        throughput = {
            name: {key: value / 1e3 for key, value in rival["work"]["mixed"]["tokens_per_second"].items()}
            for name, rival in rivals.items()
            if "mixed" in rival["work"]
        }
        wrong = {name for name, rival in rivals.items() if rival["cosine"]["min"] < WRONG}
        _bars(left, latency, wrong, "a query of 32 tokens, ms (less is better)", descending=False)
        _bars(right, throughput, wrong, "mixed lengths, thousand tokens/s (more is better)", descending=True)
        subject = results["subject"]
        title = f"{subject['model']}: {subject['threads']} threads of {subject['machine']['cpu']}"
        figure.suptitle(title, x=0.01, ha="left")


def plot_short(results: dict[str, Any], path: Path) -> None:
    """Write a PNG for the README: how many times torch fp32's speed on a query, and the size of the files."""
    rivals = {name: rival for name, rival in results["rivals"].items() if QUERY in rival.get("work", {})}
    right = [name for name, rival in rivals.items() if rival["cosine"]["min"] >= WRONG]
    speeds = {name: rivals[name]["work"][QUERY]["times_torch_fp32"] for name in right}
    names = sorted(speeds, key=speeds.__getitem__, reverse=True)
    colours = [OUR_COLOUR if n.startswith(OURS) else TORCH_COLOUR if n == TORCH_FP32 else COLOUR for n in names]
    with picture(path, 8.4, 0.26 * len(names) + 1.0, font=9) as figure:
        speed, size = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        panels = (
            (speed, [speeds[name] for name in names], "×", "a query of 32 tokens: times torch fp32's speed"),
            (size, [rivals[name]["bytes"]["files"] / 1e6 for name in names], " MB", "files"),
        )
        for axes, values, unit, title in panels:
            axes.barh(names, values, color=colours, height=0.72)
            axes.set_title(title, loc="left", fontsize=9)
            axes.set_xlim(0, 1.2 * max(values))
            axes.set_xticks([])
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(left=False)
            for place, value in enumerate(values):
                axes.text(value + 0.012 * max(values), place, f"{value:.3g}{unit}", va="center", fontsize=8.5)
        speed.invert_yaxis()


def _bars(axes: Any, values: dict[str, dict[str, float]], wrong: set[str], title: str, *, descending: bool) -> None:
    names = sorted(values, key=lambda name: values[name]["median"], reverse=descending)
    medians = [values[name]["median"] for name in names]
    whiskers = [
        [max(0.0, values[name]["median"] - values[name]["p10"]) for name in names],
        [max(0.0, values[name]["p90"] - values[name]["median"]) for name in names],
    ]
    colours = [OUR_COLOUR if n.startswith(OURS) else TORCH_COLOUR if n == TORCH_FP32 else COLOUR for n in names]
    places = range(len(names))
    axes.barh(places, medians, xerr=whiskers, color=colours, height=0.7, error_kw={"elinewidth": 0.8, "ecolor": "#666"})
    axes.set_yticks(places, [f"{name} (wrong vectors)" if name in wrong else name for name in names])
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    ends = [values[name]["median"] + more for name, more in zip(names, whiskers[1], strict=True)]
    # one rival that is very slow must not hide how the others differ
    limit = 1.15 * max(sorted(ends)[: max(1, len(ends) - 1)] if not descending else ends)
    axes.set_xlim(0, limit)
    for place, (value, end) in enumerate(zip(medians, ends, strict=True)):
        if end > limit:  # its number is inside its bar
            axes.text(limit * 0.99, place, f"{value:.3g} →", va="center", ha="right", color="white")
        else:
            axes.text(end + limit * 0.012, place, f"{value:.3g}", va="center")

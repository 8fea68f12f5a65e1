"""A ranking -> a picture: scores on the left, what an instruction is worth over none on the right."""

from __future__ import annotations

from pathlib import Path

from instructor_onnx.extras import pip_install
from instructor_onnx.ranking.candidates import NONE
from instructor_onnx.ranking.rank import Ranking
from instructor_onnx.ranking.report import POINTS
from instructor_onnx.ranking.scores import Estimate

SUFFIXES = (".png", ".svg")
REAL, CHANCE = "#2f6f9f", "#9aa3ad"  # a difference whose interval leaves 0 out, and one whose does not


def check(path: Path) -> None:
    """That a picture can be written there, before anything is embedded for it.

    Raises:
        ValueError: another suffix, or no such folder.
        ImportError: matplotlib is not installed; names the line that installs it.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--plot {path}: expected a name that ends in {' or '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise ValueError(f"--plot {path}: there is no folder {path.parent}.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--plot: matplotlib is not installed ({error}): {pip_install('plot')}") from error


def plot(ranking: Ranking, path: Path) -> None:
    """Write the picture, the same bytes for the same ranking."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    style = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "ranking"}
    candidates = ranking.candidates
    with mpl.rc_context(style):
        figure = Figure(figsize=(8, 0.24 * len(candidates) + 1.3), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for place, candidate in enumerate(candidates):
            colour = REAL if candidate.over_none.is_not_zero else CHANCE
            _interval(left, place, candidate.scores[ranking.by], colour)
            if candidate.pair != NONE.pair:
                _interval(right, place, candidate.over_none, colour)
        left.set_yticks(range(len(candidates)), [candidate.name for candidate in candidates])
        left.invert_yaxis()
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(6))  # labels that do not touch
        left.set_xlabel(f"{ranking.by}, points")
        right.axvline(0, color="#333333", linewidth=0.8)
        right.set_xlabel("difference to no instruction, points")
        figure.suptitle(
            f"{ranking.model} {ranking.variant}, {ranking.sample}\n95 % bootstrap intervals; blue where that of the "
            "difference leaves 0 out",
            fontsize=8,
            x=0.01,
            horizontalalignment="left",
        )
        unnamed = {"Software": None} if path.suffix == ".png" else {"Date": None}
        figure.savefig(path, dpi=110, bbox_inches="tight", metadata=unnamed)


def _interval(axes: object, place: int, found: Estimate, colour: str) -> None:
    low, value, high = (POINTS * number for number in (found.low, found.value, found.high))
    axes.plot([low, high], [place, place], color=colour, linewidth=1.5)  # type: ignore[attr-defined]
    axes.plot(value, place, "o", color=colour, markersize=4)  # type: ignore[attr-defined]

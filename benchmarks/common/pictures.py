"""Pictures of results, the same bytes from the same figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure


@contextlib.contextmanager
def picture(path: Path, width: float, height: float, *, font: float = 8, crop: bool = True) -> Iterator[Figure]:
    """A figure of so many inches to draw in; written to `path` as PNG at the end.

    Args:
        crop: to what was drawn.
    """
    with mpl.rc_context({"font.size": font, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, bbox_inches="tight" if crop else None, metadata={"Software": None})

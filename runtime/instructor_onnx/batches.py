"""Which rows run together. Knows only lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def plan_batches(lengths: Int64, *, batch_size: int, token_budget: int, run_cost: float = math.inf) -> Iterator[Int64]:
    """Yield index arrays that cover every row once, longest rows first.

    Rows of like length run together, so that little is padded; the longest come first, so that memory peaks
    at once and the progress bar errs on the slow side. A batch ends before the bounds do where the rows within
    them, run as two batches, cost less than as one: cost is padded tokens and what a run costs.

    Args:
        lengths: tokens of each row, [rows].
        batch_size: most rows of a batch.
        token_budget: most tokens of a batch, padding counted; a single longer row is a batch of its own.
        run_cost: what a run costs besides its tokens, in tokens; inf: as many rows as the bounds allow.
    """
    if len(lengths) == 1:
        yield np.zeros(1, dtype=np.int64)
        return
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    following = np.append(ordered[1:], 0)  # the longest row of a batch that begins behind this one
    counts = np.arange(1, len(order) + 1)
    first = 0
    while first < len(order):
        longest = max(1, int(ordered[first]))
        rows = max(1, min(batch_size, token_budget // longest, len(order) - first))
        if math.isfinite(run_cost):
            count, rest = counts[:rows], counts[:rows][::-1] - 1
            costs = longest * count + following[first : first + rows] * rest + run_cost
            costs[-1] -= run_cost  # one batch of all
            rows -= int(costs[::-1].argmin())  # of equals the longest
        yield order[first : first + rows]
        first += rows

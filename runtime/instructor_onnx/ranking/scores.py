"""Vectors and gold labels -> scores, and how far they would move on another sample. Knows nothing about texts.

A score is a function of how often each unit (query, pair, text) is counted: once each for the sample as it is, as often
as it was drawn for a bootstrap's resample. All candidates are scored on the same resamples, so that their differences
are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Statistic = Callable[[Float64], Float64]  # counts [resamples, units] -> scores [resamples]

CUT = 10  # of nDCG@10 and recall@10
RESAMPLES = 2000  # the ends of a 95 % interval move by some 3 % of its width with the seed
LEVEL = 0.95
ROWS_AT_ONCE = 256  # of similarities: 40 MB with 20,000 columns
DRAWN_AT_ONCE = 1 << 22  # counts of one block of resamples: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of two, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_not_zero(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def retrieval(
    queries: Float64, documents: Float64, relevant: Sequence[Sequence[int]], left_out: Sequence[Sequence[int]]
) -> tuple[Float64, Float64]:
    """nDCG@10 and recall@10 of each query, by cosine; every relevant document counts the same.

    Args:
        queries, documents: of unit length, [queries, dim] and [documents, dim].
        relevant: of each query, the places of its documents, one or more.
        left_out: of each query, the places of documents that its ranking is without.
    """
    discounts = 1 / np.log2(np.arange(2, CUT + 2))
    found = np.zeros((2, len(queries)))
    for row, (similarity, gold) in enumerate(zip(_similarities(queries, documents), relevant, strict=True)):
        similarity[list(left_out[row])] = -np.inf
        hits = np.isin(np.argsort(-similarity, kind="stable")[:CUT], gold)
        found[:, row] = discounts[: len(hits)][hits].sum() / discounts[: len(gold)].sum(), hits.sum() / len(gold)
    return found[0], found[1]


def neighbours(vectors: Float64, labels: Int64) -> tuple[Float64, Float64]:
    """How a text's label is shared by the texts near it: mean average precision of all others, and the nearest alone.

    A text is scored, and a neighbour of others: both move with the sample. So each gets what the score owes to it in
    both roles, its jackknife pseudo-value, found by leaving it out. The jackknife's variance is never too small on
    average (Efron and Stein 1981). Resamples of the texts' own scores, their neighbours fixed, gave 95 % intervals that
    held 87 to 91 % of the time on Banking77 and StackOverflow titles; these hold 97 to 99.8 %.

    Args:
        vectors: of unit length, [texts, dim].
        labels: [texts]; a text whose label no other has is near others, and is not scored itself.

    Returns:
        Of each text its part [texts] in two means. One of average precisions: of the precisions at the places of a
        text's label, when all others are ranked by cosine. One of how often the nearest other has the label.
    """
    texts = len(labels)
    place = np.arange(1, texts)
    totals, scored = np.zeros(2), 0
    totals_without, scored_without = np.zeros((2, texts)), np.zeros(texts)
    for row, (similarity, label) in enumerate(zip(_similarities(vectors, vectors), labels, strict=True)):
        similarity[row] = -np.inf
        order = np.argsort(-similarity, kind="stable")[:-1]
        same = labels[order] == label
        if not same.any():
            continue
        hits = np.cumsum(same)
        precisions = np.where(same, hits / place, 0)
        totals += precisions.sum() / hits[-1], same[0]
        scored += 1

        # Without the one at some place, those behind it move up by one, and have a hit less before them if it was one.
        moved_up = np.maximum(place - 1, 1)
        behind_other = _sum_behind(np.where(same, hits / moved_up, 0))
        behind_same = _sum_behind(np.where(same, (hits - 1) / moved_up, 0))
        left = hits[-1] - same
        kept = left > 0  # without the only other of its label, the row is not scored
        found = np.cumsum(precisions) - precisions + np.where(same, behind_same, behind_other)
        nearest = np.where(place == 1, same[1], same[0])
        totals_without[:, order] += np.where(kept, [found / np.maximum(left, 1), nearest], 0)
        scored_without[order] += kept
    without = totals_without / scored_without
    pseudo_values = totals[:, None] / scored + (texts - 1) * (without.mean(axis=1, keepdims=True) - without)
    return pseudo_values[0], pseudo_values[1]


def _similarities(rows: Float64, columns: Float64) -> Iterator[Float64]:
    """The cosines of each row with all columns, computed some rows at a time."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield from rows[first : first + ROWS_AT_ONCE] @ columns.T


def _sum_behind(values: Float64) -> Float64:
    """Of each place the sum of those after it."""
    return np.asarray(values.sum() - np.cumsum(values))


def mean(values: Float64) -> Statistic:
    """The mean of what each unit has."""
    return lambda counts: np.asarray(counts @ values / counts.sum(axis=1))


def spearman(a: Float64, b: Float64) -> Statistic:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing theirs; 0 where one side is constant."""

    def statistic(counts: Float64) -> Float64:
        x, y = (_centred(_ranks(values, counts), counts) for values in (a, b))
        spread = np.sqrt((counts * x**2).sum(axis=1) * (counts * y**2).sum(axis=1))
        together = (counts * x * y).sum(axis=1)
        return np.asarray(np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0))

    return statistic


def _ranks(values: Float64, counts: Float64) -> Float64:
    """The rank of each value among all that are counted, [resamples, units]."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))  # of each distinct value
    equal = np.add.reduceat(counts[:, order], starts, axis=1)
    shared = equal.cumsum(axis=1) - (equal - 1) / 2
    return np.asarray(shared[:, np.searchsorted(values[order][starts], values)])


def _centred(ranks: Float64, counts: Float64) -> Float64:
    return np.asarray(ranks - ((counts * ranks).sum(axis=1) / counts.sum(axis=1))[:, None])


def unit_length(vectors: npt.ArrayLike) -> Float64:
    """The vectors [n, dim] in float64, each of length 1; zeros stay zeros."""
    wide = np.asarray(vectors, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12))


def once(units: int) -> Float64:
    """The counts of the sample as it is."""
    return np.ones((1, units))


def bootstrap(statistics: Sequence[Statistic], units: int, seed: int) -> Float64:
    """The scores of every statistic on the same resamples of the units: [statistics, RESAMPLES]."""
    blocks = [[statistic(counts) for statistic in statistics] for counts in _counts(units, np.random.default_rng(seed))]
    return np.concatenate(blocks, axis=1)


def _counts(units: int, random: np.random.Generator) -> Iterator[Float64]:
    at_once = max(1, DRAWN_AT_ONCE // units)
    for first in range(0, RESAMPLES, at_once):
        drawn = random.multinomial(units, np.full(units, 1 / units), size=min(at_once, RESAMPLES - first))
        yield drawn.astype(np.float64)


def estimate(value: float, resampled: Float64) -> Estimate:
    """A value with the interval that the middle 95 % of its resamples span."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))

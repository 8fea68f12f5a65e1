"""A model, a sample, candidates -> the candidates in order, with intervals. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instructor_onnx.inputs import Row
from instructor_onnx.instructions import Pair
from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.ranking import scores
from instructor_onnx.ranking.candidates import NONE, Candidate, distinct
from instructor_onnx.ranking.samples import Sample
from instructor_onnx.ranking.scores import Estimate, Float64, Statistic


@dataclass(frozen=True)
class Ranked:
    """One candidate. Differences are of the score that ranks, paired: both sides on the same resamples."""

    name: str
    pair: Pair
    scores: dict[str, Estimate]  # by metric
    over_none: Estimate  # the score less that without instruction
    over_best: Estimate  # the score less that of the first


@dataclass(frozen=True)
class Ranking:
    """All candidates, the best first."""

    model: str
    variant: str
    sample: str  # in words
    kind: str
    unit: str
    units: int
    by: str  # the metric that ranks
    seed: int
    resamples: int
    candidates: tuple[Ranked, ...]

    @property
    def best(self) -> Ranked:
        """The first."""
        return self.candidates[0]

    @property
    def as_good(self) -> tuple[Ranked, ...]:
        """The others whose distance to the best may be chance."""
        return tuple(candidate for candidate in self.candidates[1:] if not candidate.over_best.is_not_zero)


def rank(
    model: INSTRUCTOR,
    sample: Sample,
    candidates: Sequence[Candidate],
    *,
    by: str | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Ranking:
    """Score candidates on a sample; no instruction is always among them.

    Args:
        by: the metric that ranks; None: the sample's first.
        seed: of the resamples.

    Raises:
        ValueError: the sample has no such metric.

    >>> from instructor_onnx.ranking import candidates, samples
    >>> texts = ["a red fox", "a brown fox", "two foxes", "a fox cub", "the fox runs"]
    >>> texts += ["a fast car", "a red car", "two cars", "the car stops", "a car park"]
    >>> sample = samples.Labelled(texts, ["fox"] * 5 + ["car"] * 5)
    >>> found = rank(INSTRUCTOR("instructor-mini"), sample, candidates.ready_made("labels"))
    >>> len(found.candidates)  # six, and none
    7
    >>> found.best.over_best.value
    0.0
    """
    by = by or sample.metrics[0]
    if by not in sample.metrics:
        raise ValueError(f"by={by!r}: a sample of {sample.kind} is ranked by {' or '.join(sample.metrics)}.")
    candidates = distinct([NONE, *candidates])
    statistics = _statistics(model, sample, candidates, show_progress)  # [candidate][metric]
    values, resampled = _scores(statistics, sample.units, seed)
    main = sample.metrics.index(by)
    # of equal scores the earlier candidate comes first: none, then the ready-made ones
    order = sorted(range(len(candidates)), key=lambda index: -values[index, main])
    ranked = [
        Ranked(
            name=candidates[index].name,
            pair=candidates[index].pair,
            scores={
                metric: scores.estimate(values[index, place], resampled[index, place])
                for place, metric in enumerate(sample.metrics)
            },
            over_none=_difference(values[:, main], resampled[:, main], index, 0),
            over_best=_difference(values[:, main], resampled[:, main], index, order[0]),
        )
        for index in order
    ]
    return Ranking(
        model=model.manifest.model.name,
        variant=model.variant,
        sample=str(sample),
        kind=sample.kind,
        unit=sample.unit,
        units=sample.units,
        by=by,
        seed=seed,
        resamples=scores.RESAMPLES,
        candidates=tuple(ranked),
    )


def _statistics(
    model: INSTRUCTOR, sample: Sample, candidates: Sequence[Candidate], show_progress: bool
) -> list[list[Statistic]]:
    """The metrics of every candidate; each text is embedded once under each instruction, whoever shares it."""
    rows: dict[Row, int] = {}
    places = [
        [
            np.array([rows.setdefault(Row(instruction, text), len(rows)) for text in texts])
            for instruction, texts in zip(candidate.pair, sample.sides, strict=False)  # labels have one side
        ]
        for candidate in candidates
    ]
    vectors = model.encode(list(rows), show_progress_bar=show_progress)
    return [sample.measure([scores.unit_length(vectors[side]) for side in sides]) for sides in places]


def _scores(statistics: list[list[Statistic]], units: int, seed: int) -> tuple[Float64, Float64]:
    """The metrics of every candidate, [candidates, metrics], and on resamples, [candidates, metrics, resamples]."""
    flat = [statistic for metrics in statistics for statistic in metrics]
    shape = len(statistics), len(statistics[0])
    values = np.concatenate([statistic(scores.once(units)) for statistic in flat])
    return values.reshape(shape), scores.bootstrap(flat, units, seed).reshape(*shape, -1)


def _difference(values: Float64, resampled: Float64, one: int, other: int) -> Estimate:
    return scores.estimate(values[one] - values[other], resampled[one] - resampled[other])

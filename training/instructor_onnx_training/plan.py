"""The order of a run, decided before its first step: which rows make which batch. Knows no texts and no model.

The whole plan is a function of the data's shape, the options and the seed, so a resumed run needs only its step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["medi", "teach"]
_BUCKET = 64  # batches sorted by length together: less padding, still shuffled


@dataclass(frozen=True)
class PlannedBatch:
    """`rows` index the MEDI rows (all of one task) or the taught texts."""

    kind: Kind
    rows: tuple[int, ...]


def plan_run(
    task_ids: Sequence[int],
    text_lengths: Sequence[int],
    *,
    steps: int,
    batch_size: int,
    teach_batch_size: int,
    teach_share: float,
    seed: int,
) -> list[PlannedBatch]:
    """`steps` batches, `teach_share` of them of taught texts, evenly spread; data is reshuffled when it runs out."""
    medi = _endless(lambda epoch: medi_epoch(task_ids, batch_size=batch_size, seed=seed, epoch=epoch))
    teach = _endless(lambda epoch: teach_epoch(text_lengths, batch_size=teach_batch_size, seed=seed, epoch=epoch))
    plan = []
    for step in range(steps):
        is_teach = int((step + 1) * teach_share) > int(step * teach_share)
        plan.append(PlannedBatch("teach", next(teach)) if is_teach else PlannedBatch("medi", next(medi)))
    return plan


def hold_out(count: int, share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Of `count` rows those to train on and, a share of them, those to judge by."""
    order = np.random.default_rng([seed, 0, 2]).permutation(count)
    held = round(count * share)
    if share and not 0 < held < count:
        raise ValueError(f"held_out: {share} of {count} MEDI rows is {held}, expected some to judge by and some left")
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())


def medi_epoch(task_ids: Sequence[int], *, batch_size: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    """One pass: rows shuffled within their task, cut into whole batches of one task, batches shuffled.

    A task's incomplete last batch is left out, as published (other rows fall out in the next pass); a task smaller
    than a batch is one small batch.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    tasks = np.asarray(task_ids)
    batches: list[tuple[int, ...]] = []
    for task in np.unique(tasks):
        rows = rng.permutation(np.flatnonzero(tasks == task))
        count = max(len(rows) // batch_size, 1)
        batches.extend(tuple(rows[i * batch_size : (i + 1) * batch_size].tolist()) for i in range(count))
    return [batches[i] for i in rng.permutation(len(batches))]


def teach_epoch(text_lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    """One pass: texts shuffled, batched with others of about their length, batches shuffled."""
    rng = np.random.default_rng([seed, epoch, 1])
    lengths = np.asarray(text_lengths)
    order = rng.permutation(len(lengths))
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), batch_size * _BUCKET):
        bucket = order[start : start + batch_size * _BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches.extend(tuple(bucket[i : i + batch_size].tolist()) for i in range(0, len(bucket), batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def _endless(epoch_of: Callable[[int], list[tuple[int, ...]]]) -> Iterator[tuple[int, ...]]:
    epoch = 0
    while batches := epoch_of(epoch):
        yield from batches
        epoch += 1
    raise ValueError("the plan asks for batches of data that the run was not given")

"""Which rows run together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from instructor_onnx.batches import plan_batches

LENGTHS = st.lists(st.integers(1, 600), max_size=80).map(lambda found: np.array(found, dtype=np.int64))


@given(LENGTHS, st.integers(1, 40), st.integers(1, 2000))
def test_every_row_once_within_both_bounds(lengths: np.ndarray, batch_size: int, token_budget: int) -> None:
    batches = list(plan_batches(lengths, batch_size=batch_size, token_budget=token_budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= token_budget


def test_longest_first_so_that_like_lengths_meet() -> None:
    lengths = np.array([3, 9, 3, 8])
    batches = [list(batch) for batch in plan_batches(lengths, batch_size=2, token_budget=100)]
    assert batches == [[1, 3], [0, 2]]


def test_no_rows_no_batches() -> None:
    assert list(plan_batches(np.zeros(0, dtype=np.int64), batch_size=2, token_budget=8)) == []


@given(LENGTHS, st.integers(1, 40), st.integers(1, 2000), st.integers(0, 200))
def test_a_run_cost_keeps_order_and_bounds(
    lengths: np.ndarray, batch_size: int, token_budget: int, run_cost: int
) -> None:
    fullest = list(plan_batches(lengths, batch_size=batch_size, token_budget=token_budget))
    chosen = list(plan_batches(lengths, batch_size=batch_size, token_budget=token_budget, run_cost=run_cost))
    assert [*_rows(chosen)] == [*_rows(fullest)]
    assert all(len(batch) <= batch_size for batch in chosen)
    assert all(len(batch) == 1 or lengths[batch].max() * len(batch) <= token_budget for batch in chosen)
    assert len(chosen) >= len(fullest)


def test_a_run_ends_where_padding_costs_more_than_another_run() -> None:
    lengths = np.array([100, 99, 98, 10, 10, 10])
    costly, cheap = (
        [list(batch) for batch in plan_batches(lengths, batch_size=32, token_budget=1024, run_cost=cost)]
        for cost in (1000, 24)
    )
    assert costly == [[0, 1, 2, 3, 4, 5]]
    assert cheap == [[0, 1, 2], [3, 4, 5]]


def _rows(batches: list[np.ndarray]) -> Iterator[int]:
    return (int(row) for batch in batches for row in batch)

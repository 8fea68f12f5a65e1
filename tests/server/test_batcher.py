"""The queue: every row where it belongs, runs within the budget, requests in turn."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instructor_onnx.engines.engine import Engine
from instructor_onnx.server import batcher as batcher_module
from instructor_onnx.server.batcher import Batcher
from instructor_onnx.server.errors import ApiError
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.tokens import Tokens

BUDGET = 64


class EchoEngine:
    """The vector of a row is its first token and its length; keeps what each run held."""

    token_budget, run_cost = BUDGET, math.inf

    def __init__(self) -> None:
        self.may_run = threading.Event()
        self.may_run.set()
        self.runs: list[list[tuple[int, int]]] = []

    def sentence_embeddings(self, tokens: Tokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        firsts, lengths = tokens.ids[tokens.offsets[rows]], tokens.lengths[rows]
        self.runs.append(list(zip(firsts.tolist(), lengths.tolist(), strict=True)))
        self.may_run.wait()
        return np.stack([firsts, lengths], axis=1).astype(np.float32)


def tokens_of(lengths: list[int], mark: int) -> Tokens:
    """Rows of these lengths, each made of the token `mark`."""
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    ids = np.full(offsets[-1], mark, dtype=np.int32)
    return Tokens(ids=ids, offsets=offsets, starts=np.zeros(len(lengths), dtype=np.int64), truncated=0)


@pytest.fixture
def engine() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
def batcher(engine: EchoEngine) -> Iterator[Batcher]:
    batcher = make(engine)
    yield batcher
    engine.may_run.set()
    batcher.close()


def make(engine: EchoEngine, **options: Any) -> Batcher:
    limits = {"token_budget": BUDGET, "max_queue_tokens": 10_000, "end": lambda error: None, **options}
    return Batcher(cast(Engine, engine), embedding_dim=2, metrics=Metrics(), **limits)


async def until_waiting(batcher: Batcher, tokens: int) -> None:
    while batcher._queue_tokens != tokens:
        await asyncio.sleep(0.001)


async def occupy(engine: EchoEngine, batcher: Batcher) -> asyncio.Task[npt.NDArray[np.float32]]:
    """A request of one row, marked 0, that is held in the engine."""
    engine.may_run.clear()
    running = asyncio.ensure_future(batcher.embed(tokens_of([1], 0)))
    while not engine.runs:
        await asyncio.sleep(0.001)
    return running


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 100), min_size=1, max_size=30), min_size=1, max_size=12))
def test_every_row_gets_its_vector_and_no_run_is_too_large(requests: list[list[int]]) -> None:
    engine = EchoEngine()
    batcher = make(engine, max_queue_tokens=1_000_000)

    async def ask() -> list[npt.NDArray[np.float32]]:
        return await asyncio.gather(*(batcher.embed(tokens_of(r, mark)) for mark, r in enumerate(requests)))

    answers = asyncio.run(ask())
    batcher.close()
    for mark, (lengths, vectors) in enumerate(zip(requests, answers, strict=True)):
        assert vectors.tolist() == [[mark, length] for length in lengths]
    for run in engine.runs:
        assert len(run) == 1 or len(run) * max(length for _, length in run) <= BUDGET
    assert sum(map(len, engine.runs)) == sum(map(len, requests))


def test_requests_take_turns(engine: EchoEngine, batcher: Batcher) -> None:
    async def ask() -> None:
        first = await occupy(engine, batcher)
        large = asyncio.ensure_future(batcher.embed(tokens_of([BUDGET] * 20, 1)))
        await until_waiting(batcher, 20 * BUDGET)
        small = [asyncio.ensure_future(batcher.embed(tokens_of([4], 2 + index))) for index in range(5)]
        await until_waiting(batcher, 20 * BUDGET + 5 * 4)
        engine.may_run.set()
        await asyncio.gather(first, large, *small)

    asyncio.run(ask())
    marks = [{mark for mark, _ in run} for run in engine.runs]
    # one run of the large request, then all small ones together, then the rest of the large one
    assert marks == [{0}, {1}, {2, 3, 4, 5, 6}, *[{1}] * 19]


def test_a_cancelled_request_leaves_the_queue(engine: EchoEngine, batcher: Batcher) -> None:
    async def ask() -> None:
        engine.may_run.clear()
        running = asyncio.ensure_future(batcher.embed(tokens_of([BUDGET, BUDGET], 0)))
        await until_waiting(batcher, BUDGET)
        waiting = asyncio.ensure_future(batcher.embed(tokens_of([3, 4], 1)))
        await until_waiting(batcher, BUDGET + 7)
        waiting.cancel()
        await until_waiting(batcher, BUDGET)
        running.cancel()  # one of its rows runs already
        await until_waiting(batcher, 0)
        engine.may_run.set()
        await batcher.embed(tokens_of([5], 2))

    asyncio.run(ask())
    assert engine.runs == [[(0, BUDGET)], [(2, 5)]]


def test_a_full_queue_refuses_but_never_for_good(engine: EchoEngine) -> None:
    batcher = make(engine, max_queue_tokens=10)

    async def ask() -> None:
        running = await occupy(engine, batcher)
        larger_than_the_queue = asyncio.ensure_future(batcher.embed(tokens_of([BUDGET] * 2, 1)))
        await until_waiting(batcher, 2 * BUDGET)
        with pytest.raises(ApiError, match="128 tokens are waiting already") as refused:
            await batcher.embed(tokens_of([1], 2))
        assert refused.value.kind == "overloaded"
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 1
        engine.may_run.set()
        await asyncio.gather(running, larger_than_the_queue)
        assert (await batcher.embed(tokens_of([1], 3))).tolist() == [[3, 1]]

    asyncio.run(ask())
    batcher.close()


def test_a_panic_of_the_engine_is_the_requests_own(engine: EchoEngine, batcher: Batcher) -> None:
    class Panic(BaseException):
        """As a pyo3 library's, which is no Exception."""

    def panics(tokens: Tokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        raise Panic("index out of bounds")

    async def ask() -> None:
        answers = engine.sentence_embeddings
        engine.sentence_embeddings = panics  # type: ignore[method-assign]
        with pytest.raises(ApiError, match="failed on this request: index out of bounds"):
            await batcher.embed(tokens_of([3], 1))
        engine.sentence_embeddings = answers  # type: ignore[method-assign]
        assert (await batcher.embed(tokens_of([4], 2))).tolist() == [[2, 4]]

    asyncio.run(ask())


def test_a_queue_that_fails_fails_every_request(engine: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[BaseException] = []
    batcher = make(engine, end=ends.append)
    failure = MemoryError("nothing left")

    def fails(*arguments: Any, **options: Any) -> None:
        raise failure

    async def ask() -> None:
        running = await occupy(engine, batcher)
        waiting = [asyncio.ensure_future(batcher.embed(tokens_of([BUDGET] * 2, mark))) for mark in (1, 2)]
        await until_waiting(batcher, 4 * BUDGET)
        monkeypatch.setattr(batcher_module, "plan_batches", fails)  # between two runs
        engine.may_run.set()
        assert (await running).tolist() == [[0, 1]]
        for answer in waiting:
            with pytest.raises(ApiError, match="failed on this request: nothing left"):
                await answer
        with pytest.raises(ApiError, match="failed and is being stopped"):
            await batcher.embed(tokens_of([1], 3))

    asyncio.run(ask())
    batcher.close()
    assert ends == [failure]


def test_closing_finishes_what_waits(engine: EchoEngine) -> None:
    batcher = make(engine)

    async def ask() -> npt.NDArray[np.float32]:
        engine.may_run.clear()
        answer = asyncio.ensure_future(batcher.embed(tokens_of([BUDGET] * 3, 7)))
        await until_waiting(batcher, 2 * BUDGET)
        closing = asyncio.get_running_loop().run_in_executor(None, batcher.close)
        engine.may_run.set()
        await closing
        return await answer

    assert asyncio.run(ask()).tolist() == [[7, BUDGET]] * 3

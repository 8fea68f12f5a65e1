"""Rows of many requests -> runs of the engine. Knows tokens and vectors; nothing of texts, HTTP or JSON."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import cycle, islice, repeat

import numpy as np
import numpy.typing as npt

from instructor_onnx.batches import plan_batches
from instructor_onnx.engines.engine import Engine
from instructor_onnx.server.errors import ApiError
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.tokens import Tokens

Float32 = npt.NDArray[np.float32]

# Rows of like length are looked for among so many runs' worth of waiting tokens: a wider look pads less and costs
# more time between two runs.
WINDOW_RUNS = 4
MAX_RETRY_AFTER = 60  # seconds


class Job:
    """The rows of one request."""

    def __init__(self, tokens: Tokens, embedding_dim: int) -> None:
        lengths = tokens.lengths
        self.tokens = tokens
        self.lengths: list[int] = lengths.tolist()
        # the longest first, as in `plan_batches`, so that a large request fills its own runs with rows of like length
        self.waiting = dict.fromkeys(np.argsort(-lengths, kind="stable").tolist())
        self.unfinished = len(self.lengths)
        self.vectors = np.zeros((len(self.lengths), embedding_dim), dtype=np.float32)
        self.future: Future[Float32] = Future()
        self.queued_at = time.perf_counter()
        self.started = False


Place = tuple[Job, int]  # one row of a job


class Batcher:
    """A bounded queue and the one thread that empties it, run by run.

    Requests take turns: a run is built around the request that has waited longest for its turn, and filled with
    rows of like length of any request. So neither a large request nor a stream of small ones holds up the others.

    Args:
        token_budget: most tokens of one run, padding counted; a longer row is a run of its own.
        max_queue_tokens: most tokens that wait.
        end: called, in the thread, with an error that ends the thread; every request has failed then.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        embedding_dim: int,
        token_budget: int,
        max_queue_tokens: int,
        metrics: Metrics,
        end: Callable[[BaseException], None],
    ) -> None:
        self._engine = engine
        self._embedding_dim = embedding_dim
        self._token_budget = token_budget
        self._max_queue_tokens = max_queue_tokens
        self._metrics = metrics
        self._end = end
        self._unanswered: set[Job] = set()
        self._jobs: dict[Job, None] = {}  # those with waiting rows, in the order of their turns
        self._queue_tokens = 0  # of waiting rows
        self._tokens_done, self._seconds_busy = 0, 0.0  # since the start, for Retry-After
        self._closed = self._failed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    async def embed(self, tokens: Tokens) -> Float32:
        """The vectors of all rows, float32 [rows, embedding_dim]. Cancelling it frees the place in the queue.

        Raises:
            ApiError: overloaded: the queue is full; backend: the model failed on these rows.
        """
        job = Job(tokens, self._embedding_dim)
        self._add(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            self._withdraw(job)

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _add(self, job: Job) -> None:
        count = sum(job.lengths)
        with self._changed:
            if self._failed:
                raise ApiError("stopping", "The server failed and is being stopped; try again later.", retry_after=1)
            if self._queue_tokens and self._queue_tokens + count > self._max_queue_tokens:
                seconds = self._queue_tokens * self._seconds_busy / max(1, self._tokens_done)
                raise ApiError(
                    "overloaded",
                    f"{self._queue_tokens:,} tokens are waiting already; try again later.",
                    retry_after=min(MAX_RETRY_AFTER, max(1, math.ceil(seconds))),
                )
            self._unanswered.add(job)
            self._jobs[job] = None
            self._count(count)
            self._changed.notify()

    def _withdraw(self, job: Job) -> None:
        """Forget the job, and the rows of it that wait still."""
        with self._changed:
            self._unanswered.discard(job)
            if job in self._jobs:
                del self._jobs[job]
                self._count(-sum(job.lengths[row] for row in job.waiting))

    def _count(self, tokens: int) -> None:
        self._queue_tokens += tokens
        self._metrics.queue_tokens.set(self._queue_tokens)

    def _work(self) -> None:
        try:
            self._empty()
        except BaseException as error:  # nobody else would learn of it, and every request would wait for ever
            with self._changed:
                self._failed = True
                unanswered = list(self._unanswered)
            for job in unanswered:
                self._fail(job, error)
            self._end(error)

    def _empty(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                places = self._next_run()
            self._run(places)

    def _next_run(self) -> list[Place]:
        """Take the rows of one run out of the queue. Holds the lock."""
        window: list[Place] = []
        tokens = 0
        for job, row in _in_turn(self._jobs):
            window.append((job, row))
            tokens += job.lengths[row]
            if tokens >= WINDOW_RUNS * self._token_budget:
                break
        lengths = np.array([job.lengths[row] for job, row in window])
        # a row has at least one token: the budget bounds the rows too
        batches = plan_batches(
            lengths,
            batch_size=self._token_budget,
            token_budget=self._token_budget,
            run_cost=self._engine.run_cost,
        )
        chosen = [window[index] for index in next(batch for batch in batches if 0 in batch)]
        now = time.perf_counter()
        for job, row in chosen:
            del job.waiting[row]
            if not job.started:
                job.started = True
                self._metrics.queue_wait.observe(now - job.queued_at)
        for job in {job: None for job, _ in chosen}:  # its next turn is after all others'
            del self._jobs[job]
            if job.waiting:
                self._jobs[job] = None
        self._count(-sum(job.lengths[row] for job, row in chosen))
        return chosen

    def _run(self, places: list[Place]) -> None:
        try:
            vectors = self._vectors(places)
        except BaseException as error:  # whatever an engine raises is the request's failure, not the thread's
            jobs = {job: None for job, _ in places}
            if len(jobs) == 1:
                self._fail(places[0][0], error)
            else:  # one request's rows must not fail the others
                for job in jobs:
                    self._run([place for place in places if place[0] is job])
            return
        for (job, row), vector in zip(places, vectors, strict=True):
            if not np.isfinite(vector).all():
                self._fail(job, ArithmeticError(f"the vector of input {row} has numbers that are not finite"))
                continue
            job.vectors[row] = vector
            job.unfinished -= 1
            if not job.unfinished:
                with suppress(InvalidStateError):  # the client has left meanwhile
                    job.future.set_result(job.vectors)

    def _vectors(self, places: list[Place]) -> Float32:
        tokens = Tokens.gather([(job.tokens, row) for job, row in places])
        started = time.perf_counter()
        vectors = self._engine.sentence_embeddings(tokens, np.arange(len(places)))
        seconds = time.perf_counter() - started
        self._tokens_done += len(tokens.ids)
        self._seconds_busy += seconds
        self._metrics.inference.observe(seconds)
        self._metrics.batch_tokens.observe(len(tokens.ids))
        self._metrics.batch_rows.observe(len(places))
        return vectors

    def _fail(self, job: Job, error: BaseException) -> None:
        self._withdraw(job)
        failure = ApiError("backend", f"The model failed on this request: {error or type(error).__name__}.")
        failure.__cause__ = error
        with suppress(InvalidStateError):
            job.future.set_exception(failure)


def _in_turn(jobs: Iterable[Job]) -> Iterator[Place]:
    """A waiting row of each job, then another of each, and so on (the `roundrobin` recipe of itertools)."""
    queues = [zip(repeat(job), job.waiting) for job in jobs]
    turns: Iterator[Iterator[Place]] = iter(queues)
    for active in range(len(queues), 0, -1):
        turns = cycle(islice(turns, active))
        yield from map(next, turns)

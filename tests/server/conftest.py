"""Servers on the loopback, in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import Engine
from instructor_onnx.server import Options
from instructor_onnx.server.run import Server
from instructor_onnx.tokens import Tokens

PRESETS = {
    "query": "Represent the question for retrieving supporting documents: ",
    "document": "Represent the document for retrieval: ",
}
Start = Callable[..., httpx.Client]


def load() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu", num_threads=1)


@contextlib.contextmanager
def serving(load: Callable[[], INSTRUCTOR], **options: Any) -> Iterator[Server]:
    """A server that runs until the block ends; ready or not."""
    server = Server(load, dataclasses.replace(Options(port=0, presets=PRESETS), **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait as long as it takes (a test that hangs is ended by its runner)."""
    while not condition():
        time.sleep(0.005)


def is_ready(client: httpx.Client) -> bool:
    return client.get("/health").status_code == 200


def metric(client: httpx.Client, name: str) -> float:
    """The value of a figure of /metrics, labels included in its name."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[-1])
    return 0.0


class HeldEngine:
    """The model's engine, which a test can hold back, and which fails on rows with a poisonous token."""

    name = "held"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.device: Device = engine.device
        self.num_threads = engine.num_threads
        self.token_budget, self.run_cost = engine.token_budget, engine.run_cost
        self.may_run = threading.Event()
        self.may_run.set()
        self.runs: list[int] = []  # rows of each run
        self.raises_on = self.gives_nan_on = -1  # token ids

    def sentence_embeddings(self, tokens: Tokens, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        self.may_run.wait()
        self.runs.append(len(rows))
        if self.raises_on in tokens.ids:
            raise RuntimeError("poison")
        vectors = self._engine.sentence_embeddings(tokens, rows)
        for place, row in enumerate(rows):
            if self.gives_nan_on in tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]:
                vectors[place, 0] = np.nan
        return vectors

    def token_embeddings(self, tokens: Tokens, rows: npt.NDArray[np.int64]) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="session")
def model() -> INSTRUCTOR:
    """The model that is served, to compare with."""
    return load()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[str]:
    """The address of a server with nothing but PRESETS set."""
    with serving(load) as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: is_ready(client))
        yield server.url


@pytest.fixture
def client(shared_server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_server, timeout=None) as http:
        yield http


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a ready server with the given options, for this test only, and get a client of it."""
    with contextlib.ExitStack() as stack:

        def started(load: Callable[[], INSTRUCTOR] = load, **options: Any) -> httpx.Client:
            server = stack.enter_context(serving(load, **options))
            http = stack.enter_context(httpx.Client(base_url=server.url, timeout=None))
            wait_until(lambda: is_ready(http))
            return http

        yield started


@pytest.fixture
def held(model: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldEngine]:
    """The engine of every server that this test starts."""
    engine = HeldEngine(model.engine)
    monkeypatch.setattr(INSTRUCTOR, "engine", engine)
    yield engine
    engine.may_run.set()  # else a server that still has rows would never stop

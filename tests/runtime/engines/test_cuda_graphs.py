"""Recorded runs, on a machine without a GPU: onnxruntime's CPU provider takes their numbers and records nothing.

tests/cuda has what onnxruntime-gpu does with them.
"""

from __future__ import annotations

import logging
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from instructor_onnx import INSTRUCTOR, loading
from instructor_onnx.engines import cuda, ort
from instructor_onnx.engines.cuda import CudaSession
from instructor_onnx.engines.cuda_graphs import MOST_TOKENS, SHAPES, CudaGraphs, Shape, fitting_shape
from instructor_onnx.engines.devices import Device

from tests.runtime.engines.test_cuda import tokens_of

CPU = Device("cpu")


@pytest.fixture
def graph(bundle: Path) -> Path:
    return bundle / "fp32/model.onnx"


class Watched:
    """A session that notes the number, shape and thread of every run, and fails those of a number in `failing`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[tuple[int, int]] = []  # number, thread
        self.failing: set[int] = set()

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        number = int(options.get_run_config_entry("gpu_graph_id"))
        self.runs.append((number, threading.get_ident()))
        if number in self.failing:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._session.run_with_iobinding(binding, options)


@pytest.fixture
def watched(graph: Path) -> tuple[CudaSession, Watched]:
    engine = CudaSession.open(graph, CPU)
    session = Watched(engine._model.session)
    engine._model.session = engine._graphs._session = session  # type: ignore[union-attr]
    return engine, session


def test_shapes_are_few_and_small() -> None:
    assert len(SHAPES) == 29
    assert max(shape.rows * shape.length for shape in SHAPES) == MOST_TOKENS
    assert all(shape.length % cuda.SEQUENCE_MULTIPLE == 0 for shape in SHAPES)


@pytest.mark.parametrize(
    ("rows", "longest", "expected"),
    [
        (1, 1, Shape(1, 8)),
        (1, 512, Shape(1, 512)),
        (1, 513, None),
        (3, 9, Shape(4, 16)),
        (16, 64, Shape(16, 64)),
        (16, 65, None),
        (17, 1, None),
    ],
)
def test_the_smallest_shape_that_holds_it(rows: int, longest: int, expected: Shape | None) -> None:
    assert fitting_shape(rows, longest) == expected


def test_the_same_vectors_as_without(graph: Path) -> None:
    with_graphs, without = CudaSession.open(graph, CPU), CudaSession.open(graph, CPU, cuda_graphs=False)
    for lengths in ([1], [37], [512], [5, 30, 2], [64] * 16, [9] * 40, [700], [3, 100, 20]):
        tokens, rows = tokens_of(lengths), np.arange(len(lengths))
        expected = without.sentence_embeddings(tokens, rows)
        assert with_graphs.sentence_embeddings(tokens, rows) == pytest.approx(expected, abs=2e-6)
        tensor = with_graphs.sentence_tensors(tokens, rows, torch)
        assert tensor.numpy() == pytest.approx(expected, abs=2e-6)
    assert set(with_graphs._graphs._recorded) == {  # type: ignore[union-attr]
        *(Shape(1, length) for length in (8, 64, 512)),
        *(Shape(4, 32), Shape(16, 64), Shape(4, 128)),
    }


def test_what_was_given_is_not_written_over(watched: tuple[CudaSession, Watched]) -> None:
    engine, _ = watched
    tokens, row = tokens_of([20]), np.arange(1)
    vectors, tensor = engine.sentence_embeddings(tokens, row), engine.sentence_tensors(tokens, row, torch)
    expected = vectors.copy()
    engine.sentence_embeddings(tokens_of([31]), row)
    assert np.array_equal(vectors, expected)
    assert np.array_equal(tensor.numpy(), expected)


def test_rows_of_an_earlier_run_leave_nothing(watched: tuple[CudaSession, Watched]) -> None:
    engine, _ = watched
    few = tokens_of([9, 8, 7])
    expected = engine.sentence_embeddings(few, np.arange(3))
    engine.sentence_embeddings(tokens_of([16] * 4), np.arange(4))
    assert np.array_equal(engine.sentence_embeddings(few, np.arange(3)), expected)


def test_a_shape_has_one_number_and_all_have_one_thread(watched: tuple[CudaSession, Watched]) -> None:
    engine, session = watched
    rows = np.arange(1)
    with futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: engine.sentence_embeddings(tokens_of([n]), rows), [5, 50, 8, 64, 600, 7, 500] * 3))
    numbers = {number for number, _ in session.runs}
    assert numbers == {SHAPES.index(Shape(1, length)) for length in (8, 64, 512)} | {-1}
    recording = {thread for number, thread in session.runs if number >= 0}
    assert len(recording) == 1
    assert not recording & {thread for number, thread in session.runs if number < 0}


def test_a_recording_that_fails_is_told_and_the_vectors_come(
    watched: tuple[CudaSession, Watched], caplog: pytest.LogCaptureFixture
) -> None:
    engine, session = watched
    tokens, rows = tokens_of([30]), np.arange(1)
    session.failing = {SHAPES.index(Shape(1, 32))}
    expected = CudaSession.open(engine._model.path, CPU, cuda_graphs=False).sentence_embeddings(tokens, rows)
    assert engine.sentence_embeddings(tokens, rows) == pytest.approx(expected, abs=2e-6)
    (record,) = caplog.records
    assert "no longer recorded" in record.getMessage()
    assert "cuda_graphs=False" in record.getMessage()
    assert "stream is capturing" in record.getMessage()
    engine.sentence_embeddings(tokens_of([8]), rows)
    assert [number for number, _ in session.runs][1:] == [-1, -1]
    assert len(caplog.records) == 1


def test_what_replays_something_else_is_not_used(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stale(self: CudaGraphs, shape: Shape, inputs: Any, take: Any) -> Any:
        return np.zeros((1, 24), np.float32)

    monkeypatch.setattr(CudaGraphs, "run", stale)
    engine = CudaSession.open(graph, CPU)
    assert engine._graphs is None
    assert "what it replays is not what it recorded" in caplog.text


def test_a_graph_that_cannot_be_recorded_is_run_without(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = ort.OnnxModel.open
    asked = []

    def refusing(*arguments: Any, cuda_graphs: bool) -> ort.OnnxModel:
        asked.append(cuda_graphs)
        if cuda_graphs:
            raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
        return opened(*arguments)

    monkeypatch.setattr(ort.OnnxModel, "open", refusing)
    caplog.set_level(logging.INFO)
    assert CudaSession.open(graph, CPU)._graphs is None
    assert asked == [True, False]
    assert "cannot be recorded" in caplog.text


def test_off_with_one_option(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "choose_device", lambda device: Device("cuda"))
    asked = []

    def opened(path: Path, device: Device, *arguments: Any, cuda_graphs: bool, **more: Any) -> CudaSession:
        asked.append(cuda_graphs)
        return CudaSession(ort.OnnxModel.open(path, CPU, 1, None))

    monkeypatch.setattr(CudaSession, "open", opened)
    for options in ({}, {"cuda_graphs": False}):
        INSTRUCTOR(bundle, variant="fp32", device="cuda", **options)  # type: ignore[arg-type]
    assert asked == [True, False]

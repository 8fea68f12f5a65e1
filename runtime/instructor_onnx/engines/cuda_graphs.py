"""Small runs on a GPU, each of a few shapes recorded once and replayed: one launch in place of a hundred.

onnxruntime records a run as a CUDA graph under a number that the run has, after two ordinary ones for what they
allocate, and replays it wherever that number comes again, from and to the same addresses. It does so thread by thread,
and gives none back before the session ends (`release_captured_graph` does nothing on CUDA, as traced in 1.31.1). So
all of it happens on one thread, and what bounds the memory is how few shapes there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent import futures
from typing import Any, NamedTuple, TypeVar

import numpy as np

from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.ort import INPUTS, Int64

T = TypeVar("T")
OUTPUT = "sentence_embedding"
MOST_TOKENS = 1024  # of a shape: beyond, a GPU takes longer to compute a layer than a CPU to launch it


class Shape(NamedTuple):
    """What a recorded run takes: smaller ones are padded."""

    rows: int
    length: int


SHAPES = [
    Shape(rows, length)
    for rows, length in itertools.product((1, 2, 4, 8, 16), (8, 16, 32, 64, 128, 256, 512))
    if rows * length <= MOST_TOKENS
]


def fitting_shape(rows: int, longest: int) -> Shape | None:
    """The shape of fewest tokens that holds so many rows of at most so many tokens; None: there is none.

    >>> fitting_shape(3, 20)
    Shape(rows=4, length=32)
    """
    holding = [shape for shape in SHAPES if shape.rows >= rows and shape.length >= longest]
    return min(holding, key=lambda shape: shape.rows * shape.length, default=None)


def run_options(number: int) -> Any:
    """onnxruntime's options of a run that is recorded and replayed under `number`; -1: of one that is not."""
    options = import_onnxruntime().RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


class CudaGraphs:
    """The recorded runs of a session, made as they are asked for. To be used by one thread at a time."""

    def __init__(self, session: Any, device: Device, embedding_dim: int) -> None:
        self._session, self._device, self._embedding_dim = session, device, embedding_dim
        self._recorded: dict[Shape, _Recorded] = {}
        self._thread = futures.ThreadPoolExecutor(1, "instructor-onnx CUDA graphs")

    def run(self, shape: Shape, inputs: tuple[Int64, ...], take: Callable[[Any], T]) -> T:
        """Run `inputs`, each [at most shape.rows, shape.length], and return what `take` makes of the vectors.

        Args:
            take: is given onnxruntime's value on the device, float32 [shape.rows, embedding_dim], of which it must
                leave nothing in use: the next run writes there. Called on the recordings' thread.
        """
        running = self._thread.submit(self._run, shape, inputs, take)
        try:
            return running.result()
        finally:
            futures.wait([running])  # after an interrupt, too, as no other run may go on beside it

    def _run(self, shape: Shape, inputs: tuple[Int64, ...], take: Callable[[Any], T]) -> T:
        if shape not in self._recorded:
            self._recorded[shape] = _Recorded.make(self, shape)
        recorded = self._recorded[shape]
        rows = len(inputs[0])
        for place, array in enumerate(inputs):
            recorded.host[place, :rows] = array
        recorded.host[:, rows:] = 0  # rows without a token, whose vectors are zero
        recorded.input.update_inplace(recorded.host)
        self._session.run_with_iobinding(recorded.binding, recorded.options)
        return take(recorded.output)


class _Recorded(NamedTuple):
    """The buffers of a recorded run, whose addresses it holds."""

    host: Int64  # [input, rows, length]
    input: Any  # the same on the device
    output: Any
    binding: Any
    options: Any

    @classmethod
    def make(cls, graphs: CudaGraphs, shape: Shape) -> _Recorded:
        values = import_onnxruntime().OrtValue
        kind, index = graphs._device.kind, graphs._device.index
        host = np.zeros((len(INPUTS), *shape), dtype=np.int64)
        on_device = values.ortvalue_from_numpy(host, kind, index)
        size = (shape.rows, graphs._embedding_dim)
        output = values.ortvalue_from_shape_and_type(size, np.float32, kind, index)
        binding = graphs._session.io_binding()
        for place, name in enumerate(INPUTS):
            address = on_device.data_ptr() + place * host[0].nbytes
            binding.bind_input(name, kind, index, np.int64, shape, address)
        binding.bind_ortvalue_output(OUTPUT, output)
        return cls(host, on_device, output, binding, run_options(SHAPES.index(shape)))

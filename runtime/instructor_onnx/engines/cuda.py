"""The engine for an NVIDIA GPU: inputs and outputs stay where they are needed, and memory that runs short is halved."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from instructor_onnx.bundle import Model
from instructor_onnx.engines import devices
from instructor_onnx.engines.cuda_graphs import CudaGraphs, fitting_shape, run_options
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.ort import INPUTS, Float32, Int64, OnnxModel, unpadded

if TYPE_CHECKING:
    from instructor_onnx.tokens import Tokens

T = TypeVar("T")
logger = logging.getLogger(__name__)

# What the attention kernel wants a sequence to be a multiple of; other lengths run unfused.
SEQUENCE_MULTIPLE = 8
# A replayed run and an ordinary one differ by how products of other shapes are added up, if at all.
REPLAYED_AS_WELL = 1e-3
# Operators that compute shapes: on a number or two, which are wanted on the CPU.
SHAPE_PATH = {"Shape", "Squeeze", "Unsqueeze", "Gather", "Range", "Concat", "Add", "Sub", "Mul"}


class GpuOutOfMemoryError(MemoryError):
    """A single text does not fit the GPU."""


class CudaSession:
    """The `Engine` of a GPU, with buffers on the device. One run at a time."""

    name = description = "onnxruntime"
    arithmetic = "onnxruntime cuda"
    token_budget = 16384  # enough work to fill a GPU
    # Not measured yet: starting some hundred kernels takes about as long as a server GPU computes so many tokens.
    run_cost = 1024.0

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self.device = model.device
        self.num_threads = model.num_threads
        # Of the session, too: a replayed run writes where it was recorded, whatever is there by then.
        self._lock = threading.Lock()
        self._graphs: CudaGraphs | None = None
        self._options = run_options(-1)  # of a run that is not recorded
        self._buffers: dict[int, tuple[Int64, Any]] = {}  # by capacity: on the host, and on the device
        self._most_tokens = sys.maxsize  # of one run, padding counted; lowered where memory was short

    @classmethod
    def open(
        cls,
        path: Path,
        device: Device,
        num_threads: int | None = None,
        *,
        sizes: Model | None = None,
        cuda_graphs: bool = True,
    ) -> CudaSession:
        """See `OnnxModel.open`; one run tells what a GPU lacks, as a missing cuDNN or kernel shows in none before.

        Args:
            cuda_graphs: record small runs and replay them, if what was replayed first is what an ordinary run gives.

        Raises:
            GpuOutOfMemoryError: there is no memory for 8 tokens.
        """
        try:
            session = cls(OnnxModel.open(path, device, num_threads, sizes, cuda_graphs=cuda_graphs))
        except RuntimeError as error:
            if not cuda_graphs or "graph capture feature" not in str(error):
                raise
            logger.info("%s: its runs cannot be recorded: %s", path, error)  # another exporter's, say
            return cls.open(path, device, num_threads, sizes=sizes, cuda_graphs=False)
        ids = np.zeros((1, SEQUENCE_MULTIPLE), np.int64)
        (first,) = session.run(["sentence_embedding"], ids, ids + 1, ids + 1)
        if cuda_graphs:
            session._record(first, (ids, ids + 1, ids + 1))
        if elsewhere := misplaced(session._model.session):
            logger.warning(
                "%s: beside %s, this part runs on the CPU, with copies back and forth: %s. onnxruntime-gpu 1.31 leaves "
                "nothing there: pip install -U 'onnxruntime-gpu[cuda,cudnn]'.",
                path,
                device,
                ", ".join(f"{count} {operator}" for operator, count in elsewhere.items()),
            )
        return session

    def run(self, outputs: list[str], input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> list[Float32]:
        """See `Session.run`; raises GpuOutOfMemoryError."""

        def copied(values: list[Any]) -> list[Float32]:
            return [value.numpy() for value in values]

        results = self._run_bound(outputs, Device("cpu"), copied, input_ids, attention_mask, pooling_mask)
        self._model.check_sizes(outputs, results, input_ids.shape)
        return results

    def sentence_embeddings(self, tokens: Tokens, rows: Int64) -> Float32:
        """See `Engine`."""

        def embed(piece: Int64) -> Float32:
            vectors = self._replayed(tokens, piece, lambda value: value.numpy()[: len(piece)].copy())
            if vectors is None:
                (vectors,) = self.run(["sentence_embedding"], *tokens.padded(piece, SEQUENCE_MULTIPLE))
            return vectors

        return np.concatenate(self._in_pieces(tokens, rows, embed))

    def token_embeddings(self, tokens: Tokens, rows: Int64) -> tuple[list[Float32], Float32]:
        """See `Engine`."""

        def embed(piece: Int64) -> tuple[list[Float32], Float32]:
            inputs = tokens.padded(piece, SEQUENCE_MULTIPLE)
            padded, vectors = self.run(["token_embeddings", "sentence_embedding"], *inputs)
            return unpadded(padded, tokens.lengths[piece]), vectors

        pieces = self._in_pieces(tokens, rows, embed)
        return [row for padded, _ in pieces for row in padded], np.concatenate([vectors for _, vectors in pieces])

    def sentence_tensors(self, tokens: Tokens, rows: Int64, torch: Any) -> Any:
        """The same as a torch tensor on this device, never in host memory: float32 [len(rows), embedding_dim].

        Args:
            torch: the module; this package never imports it by itself.
        """

        def copied(value: Any, count: int) -> Any:
            copy = torch.utils.dlpack.from_dlpack(value.__dlpack__())[:count].clone()
            if copy.is_cuda:  # onnxruntime may reuse the memory next: the copy must be done by then
                torch.cuda.current_stream(copy.device).synchronize()
            return copy

        def embed(piece: Int64) -> Any:
            tensor = self._replayed(tokens, piece, lambda value: copied(value, len(piece)))
            if tensor is None:
                inputs = tokens.padded(piece, SEQUENCE_MULTIPLE)
                outputs = ["sentence_embedding"]
                tensor = self._run_bound(outputs, self.device, lambda values: copied(values[0], len(piece)), *inputs)
            return tensor

        return torch.cat(self._in_pieces(tokens, rows, embed))

    def _record(self, expected: Float32, inputs: tuple[Int64, ...]) -> None:
        """Record small runs from here on, if one of `inputs` gives what is expected, or say that it did not."""
        self._graphs = CudaGraphs(self._model.session, self.device, expected.shape[1])
        shape = fitting_shape(*inputs[0].shape)
        assert shape is not None
        try:
            for _ in range(2):  # the second replays the first
                found = self._graphs.run(shape, inputs, lambda value: value.numpy().copy())
                if not np.allclose(found, expected, atol=REPLAYED_AS_WELL, equal_nan=True):
                    raise RuntimeError("what it replays is not what it recorded")
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            self._record_no_more(error)

    def _record_no_more(self, error: Exception) -> None:
        self._graphs = None
        logger.warning(
            "%s: small runs are no longer recorded and replayed as CUDA graphs, and take longer. "
            "INSTRUCTOR(..., cuda_graphs=False) avoids the attempt. onnxruntime: %s",
            self._model.path,
            error,
        )

    def _replayed(self, tokens: Tokens, rows: Int64, take: Callable[[Any], T]) -> T | None:
        """What `take` makes of the vectors of a recorded run; None: it is to be an ordinary one."""
        with self._lock:
            if self._graphs is None:
                return None
            shape = fitting_shape(len(rows), int(tokens.lengths[rows].max(initial=1)))
            if shape is None:
                return None
            try:
                return self._graphs.run(shape, tokens.padded(rows, shape.length), take)
            except Exception as error:  # onnxruntime's exceptions share no base but Exception
                self._record_no_more(error)
                return None

    def _run_bound(self, outputs: list[str], target: Device, take: Callable[[list[Any]], T], *inputs: Int64) -> T:
        """One run from a buffer on the device: what `take` makes of its outputs, onnxruntime's values on `target`."""
        size = inputs[0].size
        with self._lock, self._model.errors(size, _memory_error):
            host, buffer = self._buffer(3 * size)
            np.concatenate([array.ravel() for array in inputs], out=host[: 3 * size])
            buffer.update_inplace(host)  # one copy for all three
            binding = self._model.session.io_binding()
            for place, (name, array) in enumerate(zip(INPUTS, inputs, strict=True)):
                address = buffer.data_ptr() + place * array.nbytes
                binding.bind_input(name, self.device.kind, self.device.index, np.int64, array.shape, address)
            for name in outputs:
                binding.bind_output(name, target.kind, target.index)
            self._model.session.run_with_iobinding(binding, self._options)
            values = binding.get_outputs_as_ortvaluevector()
            return take([values[place] for place in range(len(outputs))])

    def _buffer(self, numbers: int) -> tuple[Int64, Any]:
        """Room for so many int64 on the host and on the device; sizes are powers of two, so there are few."""
        capacity = 1 << (numbers - 1).bit_length()
        if capacity not in self._buffers:
            host = np.zeros(capacity, dtype=np.int64)
            kind, index = self.device.kind, self.device.index
            self._buffers[capacity] = host, import_onnxruntime().OrtValue.ortvalue_from_numpy(host, kind, index)
        return self._buffers[capacity]

    def _in_pieces(self, tokens: Tokens, rows: Int64, embed: Callable[[Int64], T]) -> list[T]:
        """What `embed` gives for all rows, in order: at once if memory allows, else by halves."""
        waiting, results = [rows], []
        while waiting:
            piece = waiting.pop()
            longest = int(tokens.lengths[piece].max(initial=1))
            size = len(piece) * -(-longest // SEQUENCE_MULTIPLE) * SEQUENCE_MULTIPLE
            try:
                if len(piece) > 1 and size > self._most_tokens:
                    waiting += _halves(piece)
                else:
                    results.append(embed(piece))
            except GpuOutOfMemoryError:
                if len(piece) == 1:
                    raise
                self._most_tokens = size // 2
                logger.warning(
                    "%s has no memory for %d texts of %d tokens: halving, and running at most %d tokens at a time from "
                    "here on. INSTRUCTOR(..., token_budget=%d) avoids the attempt.",
                    self.device,
                    len(piece),
                    longest,
                    self._most_tokens,
                    self._most_tokens,
                )
                waiting += _halves(piece)
        return results


def misplaced(session: Any) -> dict[str, int]:
    """The operators that a session for a GPU runs on the CPU, how often each, without those of the shape path.

    None where onnxruntime does not tell (before 1.24).
    """
    if devices.PROVIDER not in session.get_providers() or not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    parts = session.get_provider_graph_assignment_info()
    nodes = (node for part in parts if part.ep_name != devices.PROVIDER for node in part.get_nodes())
    return dict(Counter(node.op_type for node in nodes if node.op_type not in SHAPE_PATH))


def _memory_error(tokens: int, error: Exception) -> MemoryError:
    return GpuOutOfMemoryError(
        f"the GPU has no memory for a run of {tokens} tokens: free some of it (`nvidia-smi` shows who uses it), "
        f"lower max_seq_length, or use device='cpu'. onnxruntime: {error}"
    )


def _halves(rows: Int64) -> list[Int64]:
    """The second half, then the first, which is to be popped first."""
    middle = (len(rows) + 1) // 2
    return [rows[middle:], rows[:middle]]

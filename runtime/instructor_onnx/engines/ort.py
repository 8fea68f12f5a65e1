"""Any variant on onnxruntime: provider, threads, run."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from instructor_onnx.bundle import BundleError, Model
from instructor_onnx.engines import devices, saturation
from instructor_onnx.engines.cpus import thread_count
from instructor_onnx.engines.devices import Device, DeviceError

if TYPE_CHECKING:
    from instructor_onnx.tokens import Tokens

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

INPUTS = ("input_ids", "attention_mask", "pooling_mask")
# How onnxruntime's errors say that memory is short: its arena in two ways, C++, the driver, and cuBLAS.
OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory for requested buffer|smaller than requested bytes|bad_alloc|out of memory"
    r"|STATUS_ALLOC_FAILED"
)


@dataclass
class OnnxModel:
    """A model that onnxruntime has opened, on any device: its errors are Python's, its outputs of the right sizes."""

    session: Any  # onnxruntime's
    path: Path  # for errors
    device: Device
    num_threads: int
    sizes: Model | None

    @classmethod
    def open(
        cls, path: Path, device: Device, num_threads: int | None, sizes: Model | None, *, cuda_graphs: bool = False
    ) -> OnnxModel:
        """Open `path` on `device`.

        Args:
            num_threads: CPU threads of one run; None: what affinity and container quota allow.
            sizes: of the bundle's manifest: what a run gives must have them. None: it may have any.
            cuda_graphs: on a GPU, runs are recorded, but for those with `cuda_graphs.run_options(-1)`.

        Raises:
            ImportError: onnxruntime is not installed, named with the line that installs it.
            DeviceError: the GPU cannot be had.
            MemoryError: there is none for the weights.
            RuntimeError: onnxruntime refuses the model.
            ValueError: more threads than an engine takes.
        """
        threads = thread_count(num_threads)
        onnxruntime = devices.import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal ones only: errors are raised, and a library prints nothing
        options.enable_mem_pattern = False  # a plan is kept for every new input shape, and texts are ragged
        # A spinning thread saves a wake-up per operator: on two idle cores 0.2 ms of a small model's 1 ms query, 0 to
        # 1 % of a base model's run. Beside one busy process, it costs a third to a half of the speed.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        on_gpu = device.kind == "cuda"
        providers: list[Any] = ["CPUExecutionProvider"]
        if on_gpu:
            told = devices.provider_options(device, onnxruntime.__version__, cuda_graphs=cuda_graphs)
            providers.insert(0, (devices.PROVIDER, told))
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # for CudaSession
        with devices.libraries_loaded(onnxruntime) if on_gpu else contextlib.nullcontext(io.StringIO()) as said:
            try:
                # For any variant and device: int8 products run on the CPU wherever the rest does, and where there are
                # none the option does nothing.
                if saturation.saturates(onnxruntime):
                    options.add_session_config_entry("session.x64quantprecision", "1")
                # Without the fallback to the CPU, in the midst of a run, that onnxruntime has for a failing provider.
                session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            except Exception as error:  # onnxruntime's exceptions share no base but Exception
                raise _refusal(onnxruntime, path, device, providers, said.getvalue(), str(error)) from error
        if on_gpu and devices.PROVIDER not in session.get_providers():
            raise _not_started(onnxruntime, device, said.getvalue())
        return cls(session, path, device, threads, sizes)

    @contextlib.contextmanager
    def errors(self, tokens: int, memory_error: Callable[[int, Exception], MemoryError]) -> Iterator[None]:
        """onnxruntime's many errors of a run, as two of Python's."""
        try:
            yield
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            if OUT_OF_MEMORY.search(str(error)):
                raise memory_error(tokens, error) from error
            if self.device.kind == "cuda" and (reason := devices.trouble(str(error))):
                raise DeviceError(_unusable(self.device, reason, str(error))) from error
            raise RuntimeError(
                f"{self.path}: onnxruntime failed on a run of {tokens:,} tokens: {error}. `instructor-onnx check` "
                "tells whether the bundle is whole; if it is, export the checkpoint again."
            ) from error

    def check_sizes(self, outputs: list[str], results: list[Float32], shape: tuple[int, ...]) -> None:
        """Raise BundleError where an output of a run over [batch, sequence] is not of the manifest's sizes."""
        if self.sizes is None:
            return
        widths = {"sentence_embedding": self.sizes.embedding_dim, "token_embeddings": self.sizes.d_model}
        for name, found in zip(outputs, results, strict=True):
            expected = (*shape[: 1 if name == "sentence_embedding" else 2], widths[name])
            if getattr(found, "shape", None) != expected or found.dtype != np.float32:
                raise BundleError(
                    f"{self.path}: {name} is {getattr(found, 'dtype', type(found).__name__)} "
                    f"{getattr(found, 'shape', '')} after a run of {shape} tokens, by the manifest float32 {expected}. "
                    "Export the checkpoint again."
                )


class Session:
    """The `Engine` of every variant on a CPU; cuda.py has that of a GPU."""

    name = description = "onnxruntime"
    arithmetic = "onnxruntime cpu"
    token_budget = 1024  # whose activations about fit a core's L2 cache
    # Measured on CPUs, where a run starts a few hundred operators: 2 to 9 tokens of the base shape, 20 to 30 of
    # instructor-mini, and about 24 of the base shape where AMX computes them.
    run_cost = 24.0

    def __init__(self, model: OnnxModel, even_tokens: bool) -> None:
        self._model = model
        self._even_tokens = even_tokens
        self.device = model.device
        self.num_threads = model.num_threads

    @classmethod
    def open(
        cls,
        path: Path,
        device: Device,
        num_threads: int | None = None,
        *,
        even_tokens: bool = False,
        sizes: Model | None = None,
    ) -> Session:
        """See `OnnxModel.open`.

        Args:
            even_tokens: give a run an even number of tokens, padding counted. For int4, whose MatMulNBits computes
                tokens in pairs on x86-64 and rounds a last one without a partner otherwise: in an odd run a text's
                vector would depend on its batch.
        """
        return cls(OnnxModel.open(path, device, num_threads, sizes), even_tokens)

    def run(self, outputs: list[str], input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> list[Float32]:
        """One run of the graph; inputs int64 [batch, sequence].

        Args:
            outputs: any of "sentence_embedding" -> float32 [batch, embedding_dim] and
                "token_embeddings" -> float32 [batch, sequence, d_model].

        Raises:
            MemoryError, RuntimeError: onnxruntime failed; names the file and the fix.
            BundleError: an output is not of the manifest's sizes.
        """
        feeds = dict(zip(INPUTS, (input_ids, attention_mask, pooling_mask), strict=True))
        with self._model.errors(input_ids.size, self._memory_error):
            results: list[Float32] = self._model.session.run(outputs, feeds)
        self._model.check_sizes(outputs, results, input_ids.shape)
        return results

    def sentence_embeddings(self, tokens: Tokens, rows: Int64) -> Float32:
        """See `Engine`."""
        return self.run(["sentence_embedding"], *self._padded(tokens, rows))[0]

    def token_embeddings(self, tokens: Tokens, rows: Int64) -> tuple[list[Float32], Float32]:
        """See `Engine`."""
        padded, vectors = self.run(["token_embeddings", "sentence_embedding"], *self._padded(tokens, rows))
        return unpadded(padded, tokens.lengths[rows]), vectors

    def sentence_tensors(self, tokens: Tokens, rows: Int64, torch: Any) -> Any:
        """See `Engine`."""
        return torch.from_numpy(self.sentence_embeddings(tokens, rows))

    def _memory_error(self, tokens: int, error: Exception) -> MemoryError:
        return MemoryError(
            f"{self._model.path}: no memory for a run of {tokens:,} tokens. Free some, or lower max_seq_length, "
            f"batch_size or token_budget. onnxruntime: {error}"
        )

    def _padded(self, tokens: Tokens, rows: Int64) -> tuple[Int64, Int64, Int64]:
        """What a run is fed; where the number of its tokens must be even, the width of an odd batch is."""
        return tokens.padded(rows, 2 if self._even_tokens and len(rows) % 2 else 1)


def unpadded(padded: Float32, lengths: Int64) -> list[Float32]:
    """The real tokens of each row; copies, as a view would keep the whole padded batch alive."""
    return [row[:length].copy() for row, length in zip(padded, lengths, strict=True)]


def _refusal(onnxruntime: Any, path: Path, device: Device, providers: list[Any], said: str, error: str) -> Exception:
    """What to raise where onnxruntime does not open a model: the memory's trouble, the device's, else the model's."""
    on_gpu = device.kind == "cuda"
    if OUT_OF_MEMORY.search(error):
        where = "the GPU" if on_gpu else "this machine"
        fix = "`nvidia-smi` shows who uses it; fp16 takes half of fp32's" if on_gpu else "free some"
        return MemoryError(f"{path}: {where} has no memory for its weights ({fix}). onnxruntime: {error}")
    if on_gpu and (reason := devices.trouble(error)):
        return DeviceError(_unusable(device, reason, error))
    # A model for GPUs may be refused for want of the provider alone.
    if on_gpu and not _provider_starts(onnxruntime, providers):
        return _not_started(onnxruntime, device, said + (error if "CUDA failure" in error else ""))
    return RuntimeError(f"{path}: onnxruntime {onnxruntime.__version__} cannot open it: {error}")


def _provider_starts(onnxruntime: Any, providers: list[Any]) -> bool:
    """Whether the first provider starts, asked with a model that any onnxruntime opens without it."""
    try:
        session = onnxruntime.InferenceSession(saturation.PROBE, providers=providers, enable_fallback=0)
    except Exception:  # CUDA's own, from within
        return False
    return providers[0][0] in session.get_providers()


def _not_started(onnxruntime: Any, device: Device, said: str) -> DeviceError:
    return DeviceError(f"device='{device}': {devices.not_started(onnxruntime, said)}, {devices.OR_CPU}")


def _unusable(device: Device, reason: str, error: str) -> str:
    said = re.search(r"CUDA failure [^;]*|(?<=Status Message: )[\s\S]*", error)
    what = " ".join((said.group() if said else error).split())
    return f"device='{device}': {reason}, {devices.OR_CPU} onnxruntime says: {what}"

"""What computes vectors: what an engine is, and which one runs a variant. Only here are there several."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from instructor_onnx.bundle import Manifest, Variant
from instructor_onnx.engines import devices, native
from instructor_onnx.engines.cuda import CudaSession
from instructor_onnx.engines.devices import Device, DeviceError, import_onnxruntime
from instructor_onnx.engines.ort import Session

if TYPE_CHECKING:
    from instructor_onnx.tokens import Tokens

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

# Those of a CPU by name; on a GPU, CudaSession is onnxruntime's.
ENGINES: dict[str, type[native.NativeSession] | type[Session]] = {
    "native": native.NativeSession,
    "onnxruntime": Session,
}

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """An opened model. Its methods are thread-safe and keep no state between calls."""

    @property
    def name(self) -> str:
        """What runs, one of ENGINES."""

    @property
    def description(self) -> str:
        """The same with the instruction set, where the engine has several: "native avx2"."""

    @property
    def arithmetic(self) -> str:
        """What is the same wherever vectors are, bit for bit (native), or nearly (onnxruntime, whose sums differ)."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    @property
    def num_threads(self) -> int:
        """CPU threads of one run."""

    @property
    def token_budget(self) -> int:
        """Most tokens of one run, padding counted, where the user names none."""

    @property
    def run_cost(self) -> float:
        """What a run costs besides its tokens, in tokens: padding less is worth another run; inf: nothing is padded."""

    def sentence_embeddings(self, tokens: Tokens, rows: Int64) -> Float32:
        """One run over the given rows of `tokens`: float32 [len(rows), embedding_dim]."""

    def token_embeddings(self, tokens: Tokens, rows: Int64) -> tuple[list[Float32], Float32]:
        """The same with every token: for each row float32 [length, d_model], and the sentence embeddings."""

    def sentence_tensors(self, tokens: Tokens, rows: Int64, torch: Any) -> Any:
        """`sentence_embeddings` as a tensor of the module `torch`, on the engine's device."""


def fits(weight_type: str, device: Device) -> tuple[str, ...]:
    """The engines that are made for such a variant there, onnxruntime first; `why_not` says what keeps one from it."""
    on_kernels = weight_type in native.WEIGHT_TYPES and device.kind == "cpu"
    return ("onnxruntime", "native") if on_kernels else ("onnxruntime",)


def arithmetics(weight_type: str, kinds: Iterable[Device]) -> list[str]:
    """`Engine.arithmetic` of all that run such a variant on these devices."""
    on_gpu = {"onnxruntime": CudaSession}
    found = [
        (on_gpu if device.kind == "cuda" else ENGINES)[name].arithmetic
        for device in kinds
        for name in reversed(fits(weight_type, device))
    ]
    return list(dict.fromkeys(found))


def why_not(engine: str) -> str | None:
    """Why this machine cannot run what fits an engine, or not well; None: it can. Raises as `native.why_not`."""
    if engine == "native":
        return native.why_not()
    try:
        import_onnxruntime()
    except ImportError as error:
        return str(error)
    return None


def missing_gpu(variant: Variant) -> str | None:
    """What this machine lacks for a variant that is for GPUs only; None: nothing, or the variant is for CPUs too."""
    if "cpu" in variant.devices:
        return None
    onnxruntime = import_onnxruntime()
    return devices.missing(onnxruntime, 0) or devices.too_old(onnxruntime.__version__, variant.weight_type)


def default_engine(weight_type: str, device: Device) -> str:
    """The engine that runs a variant on a device where none is named: native where it fits and is verified here."""
    return "native" if "native" in fits(weight_type, device) and native.is_verified() else "onnxruntime"


def open_engine(
    manifest: Manifest,
    variant: str,
    path: Path,
    device: Device,
    name: str | None,
    num_threads: int | None,
    cuda_graphs: bool = True,
) -> Engine:
    """Open the model `path` of a variant on the engine of that name; None: on the default, if that knows the model."""
    weight_type = manifest.variants[variant].weight_type
    if (name or default_engine(weight_type, device)) == "native":
        try:
            return native.NativeSession.open(path, manifest.model, num_threads)
        except native.UnknownGraphError as error:  # of another exporter, say
            if name is not None or native.named_instruction_set():
                raise
            logger.info("onnxruntime runs it: %s", error)
    if device.kind == "cuda":
        if reason := devices.too_old(import_onnxruntime().__version__, weight_type):
            raise DeviceError(f"variant={variant!r}: {reason}.")
        return CudaSession.open(path, device, num_threads, sizes=manifest.model, cuda_graphs=cuda_graphs)
    try:
        return Session.open(path, device, num_threads, even_tokens=weight_type == "int4", sizes=manifest.model)
    except ImportError as error:
        raise ImportError(f"variant={variant!r}: {error}{_without_onnxruntime(manifest, variant)}") from error


def _without_onnxruntime(manifest: Manifest, variant: str) -> str:
    """What the native engine can do for who has no onnxruntime, or why it does not."""
    cpu = Device("cpu")
    fitting = [name for name, other in manifest.variants.items() if "native" in fits(other.weight_type, cpu)]
    if not fitting:
        return "."
    if reason := native.why_not():
        return f". The native engine would run {' and '.join(fitting)} without it, but {reason}."
    if variant in fitting:
        return ", or use engine='native', which runs it without."
    return f", or use variant={fitting[0]!r}, which the native engine runs without it."

"""The native engine: fp32, int8 and int4 on the CPU kernels. The only module that imports kernels.py.

Reads the weights of the variant's own ONNX model; there is no second copy on disk. Blocks of int4 are expanded to int8
when a model is opened: the small file at the speed of int8.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from instructor_onnx.bundle import BundleError, Model
from instructor_onnx.engines.cpus import thread_count
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.onnx_file import Array, read_initializers
from instructor_onnx.extras import pip_install

if TYPE_CHECKING:
    from instructor_onnx.tokens import Tokens

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

WEIGHT_TYPES = frozenset({"float32", "int8", "int4"})  # of the variants that the kernels run
# One number for the bits that the kernels give of a model, on every instruction set. A change that gives others
# counts it up, and so changes the fingerprint of every vector: tests/kernels/test_native.py has the bits.
ARITHMETIC = 1
ISA_VARIABLE = "INSTRUCTOR_ONNX_ISA"  # names the instruction set to use, for tests and benchmarks
EPSILON = "encoder.layer_norm_epsilon"  # a number in the file, beside the weights
# The weights in the order of the kernels' header: name, type in an int8 file and in an int4 file. An fp32 file has
# float32 everywhere, and no scales.
WEIGHTS = (
    ("shared.weight", np.int8, np.int8),
    ("shared.weight.scale", np.float32, np.float32),
    ("encoder.relative_attention_bias", np.float32, np.float32),
    ("encoder.final_layer_norm.weight", np.float32, np.float32),
    ("dense.linear.weight", np.float32, np.float16),
)
BLOCK = (  # of each encoder.block
    ("layer.0.layer_norm.weight", np.float32, np.float32),
    ("layer.0.SelfAttention.qkv.weight", np.int8, np.uint8),
    ("layer.0.SelfAttention.qkv.weight.scale", np.float32, np.float16),
    ("layer.0.SelfAttention.o.weight", np.int8, np.uint8),
    ("layer.0.SelfAttention.o.weight.scale", np.float32, np.float16),
    ("layer.1.layer_norm.weight", np.float32, np.float32),
    ("layer.1.DenseReluDense.wi.weight", np.int8, np.uint8),  # of a model that is not gated
    ("layer.1.DenseReluDense.wi.weight.scale", np.float32, np.float16),
    ("layer.1.DenseReluDense.wi_0.weight", np.int8, np.uint8),  # of one that is
    ("layer.1.DenseReluDense.wi_0.weight.scale", np.float32, np.float16),
    ("layer.1.DenseReluDense.wi_1.weight", np.int8, np.uint8),
    ("layer.1.DenseReluDense.wi_1.weight.scale", np.float32, np.float16),
    ("layer.1.DenseReluDense.wo.weight", np.int8, np.uint8),
    ("layer.1.DenseReluDense.wo.weight.scale", np.float32, np.float16),
)


class UnknownGraphError(BundleError):
    """A model that the kernels do not know, and onnxruntime may."""


class NativeSession:
    """The weights of one variant, rearranged for this machine: the `Engine` of CPUs."""

    name = "native"
    arithmetic = f"native {ARITHMETIC}"
    device = Device("cpu")
    run_cost = math.inf  # nothing is padded

    def __init__(self, model: Any, sizes: Model, isa: str, num_threads: int) -> None:
        self._model = model
        self._sizes = sizes
        self.isa = isa
        self.num_threads = num_threads
        self.token_budget = token_budget(num_threads)

    @classmethod
    def open(cls, path: Path, sizes: Model, num_threads: int | None = None) -> NativeSession:
        """Open the fp32, int8 or int4 model `path` of a bundle whose manifest gives `sizes`.

        Args:
            num_threads: CPU threads of one run; None: what affinity and container quota allow.

        Raises:
            ImportError: the kernels are not installed, named with the line that installs them.
            RuntimeError: no instruction set of this machine passed its self-check.
            UnknownGraphError: the model is not one that the kernels know.
            BundleError: it is damaged.
            MemoryError: there is none for the weights.
            ValueError: more threads than an engine takes.
        """
        kernels = import_kernels()
        threads = thread_count(num_threads)
        isa = instruction_set()
        initializers = read_initializers(path)
        config, tensors = arguments(initializers, sizes, path)
        try:
            model = kernels.Model(kernels.Config(**config), tensors, isa, threads)
        except MemoryError:
            raise MemoryError(
                f"{path}: no memory for its weights on the native kernels. Free some, or take a smaller variant."
            ) from None
        except kernels.KernelError as error:
            for name, array in initializers.items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise BundleError(f"{path}: {name} holds NaN or infinity. Export the checkpoint again.") from None
            raise UnknownGraphError(
                f"{path}: the native kernels cannot run it: {error} Use engine='onnxruntime'."
            ) from None
        return cls(model, sizes, isa, threads)

    @property
    def description(self) -> str:
        """The engine and what it runs on: "native avx2"."""
        return f"{self.name} {self.isa}"

    def sentence_embeddings(self, tokens: Tokens, rows: Int64) -> Float32:
        """See `Engine`; MemoryError where there is none for a run."""
        return self._encode(tokens, rows, None)

    def token_embeddings(self, tokens: Tokens, rows: Int64) -> tuple[list[Float32], Float32]:
        """See `Engine`."""
        lengths = tokens.lengths[rows]
        packed = np.empty((int(lengths.sum()), self._sizes.d_model), dtype=np.float32)
        vectors = self._encode(tokens, rows, packed)
        ends = np.cumsum(lengths)
        return [packed[end - length : end].copy() for end, length in zip(ends, lengths, strict=True)], vectors

    def sentence_tensors(self, tokens: Tokens, rows: Int64, torch: Any) -> Any:
        """See `Engine`."""
        return torch.from_numpy(self.sentence_embeddings(tokens, rows))

    def _encode(self, tokens: Tokens, rows: Int64, packed: Float32 | None) -> Float32:
        kernels = import_kernels()
        ids = np.ascontiguousarray(tokens.ids, dtype=np.int32)
        offsets, starts, rows = (np.ascontiguousarray(a, dtype=np.int64) for a in (tokens.offsets, tokens.starts, rows))
        vectors = np.empty((len(rows), self._sizes.embedding_dim), dtype=np.float32)
        try:
            self._model.encode(ids, offsets, starts, rows, vectors, packed, threads=self.num_threads)
        except MemoryError:
            longest = tokens.lengths[rows].max(initial=0)
            raise MemoryError(
                f"no memory to run {len(rows):,} texts of up to {longest:,} tokens on the native kernels. "
                "Free some, or lower max_seq_length, batch_size or the number of threads."
            ) from None
        except kernels.KernelError as error:
            raise RuntimeError(f"the native kernels failed: {error} Use engine='onnxruntime', and report it.") from None
        return vectors


def token_budget(threads: int) -> int:
    """All the rows of a batch: the kernels cut their own units of work, of whole texts.

    While one of many threads has a long text, each other one needs as much to do: of mixed lengths, 128 cores are
    simulated to do 4 times as much with 512 tokens each as with 128 (docs/kernels.md).
    """
    return max(16384, 512 * threads)


def import_kernels() -> Any:
    """The module kernels.py, of whose compiled library an installation may lack.

    Raises:
        ImportError: with what to do about it.
    """
    try:
        return importlib.import_module("instructor_onnx.engines.kernels")
    except ImportError as error:
        raise ImportError(
            f"the native kernels are missing ({error}). With a C++17 compiler (Debian: apt install g++): "
            f"{pip_install()} --force-reinstall --no-deps"
        ) from error


def is_verified() -> bool:
    """Whether this engine is the default here; raises as `why_not`."""
    return why_not() is None


def why_not() -> str | None:
    """Why this engine is not the default here; None: it is.

    Raises:
        ImportError, RuntimeError: INSTRUCTOR_ONNX_ISA asks for this engine, and it cannot be had.
    """
    named = named_instruction_set()
    try:
        fast = instruction_set() != "scalar"
    except (ImportError, RuntimeError) as error:
        if named:
            raise
        return str(error)
    if fast or named or find_spec("onnxruntime") is None:  # slower than onnxruntime, and better than nothing
        return None
    return "of the native kernels only scalar code runs on this machine"


def named_instruction_set() -> str | None:
    """What INSTRUCTOR_ONNX_ISA asks for; None: nothing."""
    return os.environ.get(ISA_VARIABLE) or None


def instruction_set() -> str:
    """The best instruction set that gave every bit of the scalar code's result on this machine, in this process.

    INSTRUCTOR_ONNX_ISA names another one; it has to pass too.

    Raises:
        ImportError: the kernels are not installed.
        RuntimeError: the one that was named cannot be had, or failed.
    """
    return _checked(named_instruction_set())


@functools.cache
def _checked(named: str | None) -> str:
    kernels = import_kernels()
    for isa in [named] if named else kernels.instruction_sets():
        try:
            kernels.self_check(isa)
        except kernels.KernelError as error:
            if named:
                raise RuntimeError(
                    f"{ISA_VARIABLE}={named:.60}: {error} Name another, or leave the variable unset."
                ) from None
        else:
            return str(isa)
    raise RuntimeError("the native kernels failed their self-check on this machine; use engine='onnxruntime'.")


def arguments(initializers: Mapping[str, Array], sizes: Model, path: Path) -> tuple[dict[str, Any], list[Array]]:
    """What the kernels want to know: the fields of their Config, and the weights in the order of their header."""
    weight_type = _weight_type(initializers)
    tensors = [_weight(initializers, name, dtype, path) for name, dtype in _names(sizes, weight_type)]
    bias = initializers["encoder.relative_attention_bias"]
    if bias.ndim != 2:  # [num_heads, 2 * max_distance + 1]
        raise UnknownGraphError(
            f"{path}: encoder.relative_attention_bias has {bias.ndim} dimensions, expected 2. "
            "Use engine='onnxruntime', or export the checkpoint again."
        )
    config = {
        "d_model": sizes.d_model,
        "d_ff": sizes.d_ff,
        "d_kv": sizes.d_kv,
        "num_heads": sizes.num_heads,
        "num_layers": sizes.num_layers,
        "vocab_size": sizes.vocab_size,
        "embedding_dim": sizes.embedding_dim,
        "max_distance": bias.shape[1] // 2,
        "gated": sizes.feed_forward == "gated-gelu",
        "dense": sizes.dense,
        "normalize": sizes.normalize,
        "weight_type": import_kernels().WEIGHT_TYPES[weight_type],
        "layer_norm_epsilon": _epsilon(initializers, path),
    }
    outside = [name for name, value in config.items() if not 0 <= value < 1 << 31]
    if outside:
        raise UnknownGraphError(f"{path}: {outside[0]} is {config[outside[0]]}.")
    return config, tensors


def _weight_type(initializers: Mapping[str, Array]) -> str:
    """One of WEIGHT_TYPES, by the first product; int8 where there is none, which is then missing."""
    first = initializers.get("encoder.block.0.layer.0.SelfAttention.qkv.weight")
    if first is not None and first.dtype == np.uint8:  # [out, blocks, block_size / 2], two weights a byte
        return "int4"
    return "float32" if first is not None and first.dtype == np.float32 else "int8"


def _names(sizes: Model, weight_type: str) -> Iterator[tuple[str, type[np.generic]]]:
    """Every weight in the order of the kernels' header, and its type in the file."""
    absent = {"wi"} if sizes.feed_forward == "gated-gelu" else {"wi_0", "wi_1"}
    if not sizes.dense:
        absent.add("dense")
    blocks = ((f"encoder.block.{index}.{name}", *types) for index in range(sizes.num_layers) for name, *types in BLOCK)
    for name, in_int8, in_int4 in itertools.chain(WEIGHTS, blocks):
        if not absent.isdisjoint(name.split(".")):
            continue
        if weight_type != "float32":
            yield name, in_int4 if weight_type == "int4" else in_int8
        elif not name.endswith(".scale"):
            yield name, np.float32


def _weight(initializers: Mapping[str, Array], name: str, dtype: type[np.generic], path: Path) -> Array:
    """A weight of a type that the kernels know; its size is theirs to check. They take the Dense in float32."""
    array = initializers.get(name)
    if array is None or array.dtype != dtype:
        raise UnknownGraphError(
            f"{path}: {name} is {'missing' if array is None else array.dtype}, the native kernels expect "
            f"{np.dtype(dtype)}. Use engine='onnxruntime', or export the checkpoint again."
        )
    return array.astype(np.float32, copy=False) if name == "dense.linear.weight" else array


def _epsilon(initializers: Mapping[str, Array], path: Path) -> float:
    """What every RMS norm adds to its mean: the manifest does not say it, the graph does."""
    if EPSILON not in initializers:  # all else is there; onnxruntime would run it, and slower, without a word
        raise BundleError(
            f"{path}: {EPSILON} is missing, as the bundle is older than that name. Export the checkpoint again, or use "
            "engine='onnxruntime'."
        )
    epsilon = _weight(initializers, EPSILON, np.float32, path)
    if epsilon.size != 1:
        raise UnknownGraphError(
            f"{path}: {EPSILON} has {epsilon.size:,} numbers, expected one. "
            "Use engine='onnxruntime', or export the checkpoint again."
        )
    return float(epsilon.reshape(()))

"""The C interface of the native kernels (include/instructor_kernels.h), through ctypes; needs nothing but Python.

Arrays go in as addresses: whoever calls keeps them alive, contiguous and of the type that the header names.
ctypes lets go of the GIL during a call.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path

__version__ = "0.1.0"
__all__ = [
    "Config",
    "KernelError",
    "KernelMemoryError",
    "Model",
    "Tokens",
    "built_instruction_sets",
    "instruction_sets",
    "measure_peak",
    "self_check",
    "why_not",
]

ABI = 2
MESSAGE_SIZE = 512
OUT_OF_MEMORY = 3  # IK_OUT_OF_MEMORY


class KernelError(Exception):
    """A call that the kernels refused; says what was wrong."""


class KernelMemoryError(KernelError, MemoryError):
    """A call that found no memory."""


class Config(ctypes.Structure):
    """`ik_config`: what the model computes."""

    _fields_ = [
        ("d_model", ctypes.c_int32),
        ("d_ff", ctypes.c_int32),
        ("d_kv", ctypes.c_int32),
        ("num_heads", ctypes.c_int32),
        ("num_layers", ctypes.c_int32),
        ("vocab_size", ctypes.c_int32),
        ("embedding_dim", ctypes.c_int32),
        ("max_distance", ctypes.c_int32),
        ("gated", ctypes.c_int32),
        ("dense", ctypes.c_int32),
        ("normalize", ctypes.c_int32),
        ("int4", ctypes.c_int32),
        ("layer_norm_epsilon", ctypes.c_float),
    ]


class Tensor(ctypes.Structure):
    """`ik_tensor`: where a weight lies, and its bytes."""

    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_int64)]


class Tokens(ctypes.Structure):
    """`ik_tokens`: packed texts."""

    _fields_ = [
        ("ids", ctypes.c_void_p),
        ("ids_count", ctypes.c_int64),
        ("offsets", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("texts", ctypes.c_int64),
    ]


def _load() -> ctypes.CDLL:
    path = next(Path(__file__).parent.glob("_kernels.*"), None)
    if path is None:
        raise ImportError(f"{Path(__file__).parent}: the compiled library is missing; install the package again.")
    library = ctypes.CDLL(str(path))
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    said = [ctypes.c_char_p, size]
    signatures = {
        "ik_abi": ([], ctypes.c_int),
        "ik_isa_count": ([], ctypes.c_int),
        "ik_isa_name": ([ctypes.c_int], ctypes.c_char_p),
        "ik_isa_missing": ([ctypes.c_int], ctypes.c_char_p),
        "ik_self_check": ([ctypes.c_int, *said], ctypes.c_int),
        "ik_model_create": ([pointer, pointer, integer, ctypes.c_int, ctypes.c_int, pointer, *said], ctypes.c_int),
        "ik_model_free": ([pointer], None),
        "ik_encode": (
            [pointer, pointer, pointer, integer, ctypes.c_int, pointer, integer, pointer, integer, *said],
            ctypes.c_int,
        ),
        "ik_measure_peak": ([ctypes.c_int, ctypes.c_int, ctypes.c_double, pointer, *said], ctypes.c_int),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    if library.ik_abi() != ABI:
        raise ImportError(f"{path}: the compiled library is of another version; install the package again.")
    return library


_library = _load()


def _call(name: str, *arguments: object) -> None:
    message = ctypes.create_string_buffer(MESSAGE_SIZE)
    if code := getattr(_library, name)(*arguments, message, MESSAGE_SIZE):
        kind = KernelMemoryError if code == OUT_OF_MEMORY else KernelError
        raise kind(message.value.decode(errors="replace"))


def built_instruction_sets() -> list[str]:
    """Those of this build, best first; "scalar" is always the last."""
    return [_library.ik_isa_name(index).decode() for index in range(_library.ik_isa_count())]


def instruction_sets() -> list[str]:
    """Those of this build that this machine has, best first."""
    return [isa for isa in built_instruction_sets() if why_not(isa) is None]


def why_not(isa: str) -> str | None:
    """Why this machine cannot use an instruction set of this build; None: it can."""
    missing = _library.ik_isa_missing(_index(isa))
    return None if missing is None else str(missing.decode())


def _index(isa: str) -> int:
    built = built_instruction_sets()
    if isa not in built:
        machine = ", ".join(instruction_sets())
        raise KernelError(f"{isa!r} is no instruction set of this build; this machine has {machine}.")
    return built.index(isa)


def self_check(isa: str) -> None:
    """Run small fixed models through `isa` and through scalar code, some milliseconds.

    Raises:
        KernelError: the machine lacks it, or a single bit differs.
    """
    _call("ik_self_check", _index(isa))


def measure_peak(isa: str, threads: int, seconds: float = 0.5) -> float:
    """Integer operations a second of the innermost loop on data in the first-level cache."""
    found = ctypes.c_double()
    _call("ik_measure_peak", _index(isa), threads, seconds, ctypes.addressof(found))
    return found.value


class Model:
    """Weights, rearranged for one instruction set. Thread-safe."""

    def __init__(self, config: Config, tensors: Sequence[tuple[int, int]], isa: str, threads: int) -> None:
        """Copy the weights.

        Args:
            tensors: (address, bytes) in the header's order; they are copied.
            threads: that do the work of rearranging.

        Raises:
            KernelError: a size that does not fit, an instruction set that the machine lacks, no memory.
        """
        self._pointer = ctypes.c_void_p()
        table = (Tensor * len(tensors))(*(Tensor(*tensor) for tensor in tensors))
        _call(
            "ik_model_create",
            ctypes.addressof(config),
            ctypes.addressof(table),
            len(tensors),
            _index(isa),
            threads,
            ctypes.addressof(self._pointer),
        )
        # Not a __del__: that may run when the interpreter has ended, and half of what it needs is gone.
        weakref.finalize(self, _library.ik_model_free, self._pointer).atexit = False

    def encode(
        self,
        tokens: Tokens,
        rows: int,
        row_count: int,
        threads: int,
        sentences: int,
        sentence_count: int,
        token_embeddings: int | None = None,
        token_count: int = 0,
    ) -> None:
        """`ik_encode`: rows, sentences and token_embeddings are addresses; counts are of their numbers.

        Raises:
            KernelError: an index, id or size that does not fit; nothing of the results is then to be used.
        """
        _call(
            "ik_encode",
            self._pointer,
            ctypes.addressof(tokens),
            rows,
            row_count,
            threads,
            sentences,
            sentence_count,
            token_embeddings,
            token_count,
        )

"""The C interface of the native kernels (kernels/include/instructor_kernels.h), through ctypes.

Arrays are anything with the buffer protocol, numpy's for one; each is checked, and held until the call returns.
ctypes lets go of the GIL during a call.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructor_onnx import engines

__all__ = [
    "Config",
    "KernelError",
    "KernelMemoryError",
    "Model",
    "built_instruction_sets",
    "instruction_sets",
    "measure_peak",
    "self_check",
    "why_not",
]

ABI = 4
LIBRARIES = (".so", ".dylib", ".dll")  # and not what a linker leaves beside them
Message = ctypes.c_char * 512
OUT_OF_MEMORY = 3  # IK_OUT_OF_MEMORY
# A buffer's format in the machine's byte order, with the bytes of a number; `l` has 4 on Windows.
KINDS = {
    ("b", 1): "int8",
    ("B", 1): "uint8",
    ("e", 2): "float16",
    ("f", 4): "float32",
    ("i", 4): "int32",
    ("l", 4): "int32",
    ("l", 8): "int64",
    ("q", 8): "int64",
}
WEIGHT_TYPES = {"int8": 0, "int4": 1, "float32": 2}  # IK_INT8, IK_INT4, IK_FP32
WEIGHT_KINDS = ("int8", "uint8", "float16", "float32")


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
        ("weight_type", ctypes.c_int32),  # one of WEIGHT_TYPES
        ("layer_norm_epsilon", ctypes.c_float),
    ]


class _Tensor(ctypes.Structure):
    """`ik_tensor`."""

    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_int64), ("mapped", ctypes.c_int32)]


class _Tokens(ctypes.Structure):
    """`ik_tokens`."""

    _fields_ = [
        ("ids", ctypes.c_void_p),
        ("ids_count", ctypes.c_int64),
        ("offsets", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("texts", ctypes.c_int64),
    ]


class _PyBuffer(ctypes.Structure):
    """CPython's `Py_buffer`, which tells the address of read-only memory too; nothing else of it is read."""

    _fields_ = [("buf", ctypes.c_void_p), ("others", ctypes.c_void_p * 15)]  # 10 pointers' room on 64 bits


# Prototypes of our own: those that hang on `ctypes.pythonapi` are everybody's.
_get_buffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)(
    ("PyObject_GetBuffer", ctypes.pythonapi)
)
_release_buffer = ctypes.PYFUNCTYPE(None, ctypes.POINTER(_PyBuffer))(("PyBuffer_Release", ctypes.pythonapi))


class _Array:
    """A caller's array, of one of `kinds`; nobody resizes it while this lives.

    Raises:
        KernelError: it is no such array, has gaps, or is read-only where results go; begins with `name`.
    """

    __slots__ = ("address", "count", "view")

    def __init__(self, name: str, array: Any, *kinds: str, writable: bool = False) -> None:
        try:
            self.view = view = memoryview(array)
        except (TypeError, ValueError, BufferError):
            raise KernelError(f"{name}: found {type(array).__name__}, expected {' or '.join(kinds)}.") from None
        kind = KINDS.get((view.format, view.itemsize))
        if kind not in kinds:
            raise KernelError(f"{name}: found {kind or view.format}, expected {' or '.join(kinds)}.")
        if not view.c_contiguous:
            raise KernelError(f"{name}: found gaps between the numbers, expected a contiguous array.")
        if writable and view.readonly:
            raise KernelError(f"{name}: found a read-only array, expected room for results.")
        buffer = _PyBuffer()
        _get_buffer(view, buffer, 0)
        self.address = buffer.buf or 0
        _release_buffer(buffer)
        if self.address % view.itemsize:
            raise KernelError(f"{name}: found an array that is not aligned, expected one that is.")
        self.count = view.nbytes // view.itemsize


def _load() -> ctypes.CDLL:
    # Of a development install, the compiled library does not lie beside this file, but where the package has it too.
    folders = map(Path, engines.__path__)
    found = (file for folder in folders for file in folder.glob("_kernels.*"))
    path = next((file for file in found if file.suffix in LIBRARIES), None)
    if path is None:
        raise ImportError("they could not be compiled when this package was installed")
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
        "ik_measure_peak": ([*[ctypes.c_int] * 3, ctypes.c_double, pointer, *said], ctypes.c_int),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    if library.ik_abi() != ABI:
        raise ImportError(f"{path} is of another version")
    return library


_library = _load()


def _call(name: str, *arguments: object) -> None:
    message = Message()
    if code := getattr(_library, name)(*arguments, message, len(message)):
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


def measure_peak(isa: str, weight_type: str, threads: int, seconds: float = 0.5) -> float:
    """Operations a second of the innermost loop for one of WEIGHT_TYPES on data in the first-level cache."""
    found = ctypes.c_double()
    _call("ik_measure_peak", _index(isa), WEIGHT_TYPES[weight_type], threads, seconds, ctypes.byref(found))
    return found.value


def _is_mapped(view: memoryview) -> bool:
    """Whether these are bytes of a file that nobody can write through this: views of views of its mapping."""
    owner: Any = view
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return owner is not None and memoryview(owner).readonly


class Model:
    """Weights, rearranged for one instruction set. Thread-safe."""

    def __init__(self, config: Config, tensors: Sequence[Any], isa: str, threads: int) -> None:
        """Copy the weights.

        Args:
            tensors: arrays in the header's order.
            threads: that do the work of rearranging.

        Raises:
            KernelError: an array or size that does not fit, an instruction set that the machine lacks.
            KernelMemoryError: no memory.
        """
        self._pointer = ctypes.c_void_p()
        arrays = [_Array(f"tensor {index}", tensor, *WEIGHT_KINDS) for index, tensor in enumerate(tensors)]
        table = (_Tensor * len(arrays))(
            *(_Tensor(array.address, array.view.nbytes, _is_mapped(array.view)) for array in arrays)
        )
        pointer = ctypes.byref(self._pointer)
        _call("ik_model_create", ctypes.byref(config), table, len(table), _index(isa), threads, pointer)
        # Not a __del__: that may run when the interpreter has ended, and half of what it needs is gone.
        weakref.finalize(self, _library.ik_model_free, self._pointer).atexit = False

    def encode(
        self,
        ids: Any,
        offsets: Any,
        starts: Any,
        rows: Any,
        sentence_embeddings: Any,
        token_embeddings: Any = None,
        *,
        threads: int,
    ) -> None:
        """`ik_encode`.

        Args:
            ids: int32, of all texts one after another.
            offsets: int64 [texts + 1], where each begins and the last ends.
            starts: int64 [texts], the first pooled position of each.
            rows: int64, the texts to embed.
            sentence_embeddings: float32 [rows, embedding_dim], written.
            token_embeddings: float32 [tokens of all rows, d_model], written; None: not wanted.

        Raises:
            KernelError: an array, index, id or size that does not fit; nothing of the results is then to be used.
            KernelMemoryError: no memory.
        """
        ids = _Array("ids", ids, "int32")
        offsets = _Array("offsets", offsets, "int64")
        starts = _Array("starts", starts, "int64")
        rows = _Array("rows", rows, "int64")
        sentences = _Array("sentence_embeddings", sentence_embeddings, "float32", writable=True)
        own = None
        if token_embeddings is not None:
            own = _Array("token_embeddings", token_embeddings, "float32", writable=True)
        if offsets.count != starts.count + 1:
            raise KernelError(f"offsets: found {offsets.count} numbers, expected {starts.count + 1}.")
        tokens = _Tokens(ids.address, ids.count, offsets.address, starts.address, starts.count)
        _call(
            "ik_encode",
            self._pointer,
            ctypes.byref(tokens),
            rows.address,
            rows.count,
            threads,
            sentences.address,
            sentences.count,
            None if own is None else own.address,
            0 if own is None else own.count,
        )

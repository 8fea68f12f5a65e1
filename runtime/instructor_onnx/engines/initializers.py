"""The initializers of an ONNX model without the onnx package: name -> array, mapped from the files.

Knows the few fields of onnx.proto that say where a tensor lies. The files may be a stranger's: every place is
checked against what the file holds.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from instructor_onnx.bundle import BundleError
from instructor_onnx.engines.external_data import fields, read_model, varint

Array = npt.NDArray[Any]

MOST_DIMS = 8  # of a weight; the exporter's have 3
# TensorProto.DataType; others are no weights
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    10: np.dtype("<f2"),
}


def read_initializers(path: Path) -> dict[str, Array]:
    """Read a model file and map the data files that it names (which `check_external_data` has allowed).

    Returns:
        Every initializer of one of DTYPES by its name; read-only.

    Raises:
        BundleError: not an ONNX model, or a weight lies outside its file.
    """
    initializers: dict[str, Array] = {}
    mapped: dict[str, mmap.mmap] = {}
    try:
        for graph in _messages(read_model(path), 7):  # ModelProto.graph
            for tensor in _messages(graph, 5):  # GraphProto.initializer
                name, array = _tensor(tensor, path.parent, mapped)
                if array is not None:
                    initializers[name] = array
    except (IndexError, ValueError, OverflowError, OSError) as error:
        raise BundleError(f"{path}: its weights cannot be read ({error}). Copy the bundle again.") from None
    return initializers


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    return (content for number, content in fields(data) if number == wanted and not isinstance(content, int))


def _text(data: memoryview) -> str:
    return bytes(data).decode()


def _tensor(data: memoryview, folder: Path, mapped: dict[str, mmap.mmap]) -> tuple[str, Array | None]:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9, external_data 13; None for a type that is no weight."""
    dims: list[int] = []
    data_type, name, raw, external = 0, "", None, {}
    for number, content in fields(data):
        if number == 1:
            dims += [content] if isinstance(content, int) else _packed(content)
            if len(dims) > MOST_DIMS:  # the product of a million numbers takes minutes
                raise ValueError(f"a weight of more than {MOST_DIMS} dimensions")
        elif isinstance(content, int):
            data_type = content if number == 2 else data_type
        elif number == 8:
            name = _text(content)
        elif number == 9:
            raw = content
        elif number == 13:  # StringStringEntryProto: key 1, value 2
            entry = {number: _text(part) for number, part in fields(content) if not isinstance(part, int)}
            external[entry.get(1, "")] = entry.get(2, "")
    if data_type not in DTYPES:
        return name, None
    dtype = DTYPES[data_type]
    length = math.prod(dims) * dtype.itemsize
    if external:
        location = external.get("location", "")
        if location not in mapped:
            if not (folder / location).is_file():  # a pipe would be waited for
                raise ValueError(f"{location!r:.200} is no regular file")
            with (folder / location).open("rb") as file:
                mapped[location] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        first = int(external.get("offset", "0"))
        if first < 0 or int(external.get("length", length)) != length or first + length > len(mapped[location]):
            raise ValueError(f"{name} lies outside {location!r:.200}")
        array = np.frombuffer(mapped[location], dtype, math.prod(dims), first)
    else:
        if raw is None or len(raw) != length:
            raise ValueError(f"{name} has {0 if raw is None else len(raw)} bytes, its shape needs {length}")
        array = np.frombuffer(bytes(raw), dtype)
    return name, np.require(array, requirements="A").reshape(dims)


def _packed(data: memoryview) -> list[int]:
    values: list[int] = []
    place = 0
    while place < len(data) and len(values) <= MOST_DIMS:
        value, place = varint(data, place)
        values.append(value)
    return values

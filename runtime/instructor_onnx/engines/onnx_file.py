"""An ONNX file read without the onnx package: its initializers mapped, external data kept inside the bundle.

A model may name any path for its weights, and onnxruntime 1.20 for one follows it out of the folder. The files may be
a stranger's: every place is checked against what the file holds. Knows the few messages of onnx.proto that lead to a
tensor, and where it lies; nothing else of ONNX.
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

Array = npt.NDArray[Any]

MOST_MODEL = 4 << 20  # bytes of a model beside its data: instructor-xl's has 0.1 million; a hostile byte takes 2 µs
MOST_DIMS = 8  # of a weight; the exporter's have 3
# TensorProto.DataType; others are no weights
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    10: np.dtype("<f2"),
}
# Message -> {field number: message}, from onnx.proto: every way from a model to the weights of a tensor.
_MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2  # of an entry (StringStringEntryProto); keys are location, offset, length and checksum


def check_external_data(path: Path, allowed: set[str]) -> None:
    """Refuse a model whose weights lie in any file but the `allowed` ones beside it.

    Raises:
        BundleError: it names another file, is no ONNX model at all, or holds its weights itself.
    """
    try:
        locations = set(_locations(_read_model(path), "model"))
    except (IndexError, ValueError, RecursionError):
        raise BundleError(f"{path}: not an ONNX model. Copy the bundle again.") from None
    for location in locations:
        if location not in allowed:
            raise BundleError(
                f"{path}: takes weights from {location!r:.200}, which is not in the manifest. Do not trust this bundle."
            )


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
        for graph in _messages(_read_model(path), 7):  # ModelProto.graph
            for tensor in _messages(graph, 5):  # GraphProto.initializer
                name, array = _tensor(tensor, path.parent, mapped)
                if array is not None:
                    initializers[name] = array
    except (IndexError, ValueError, OverflowError, OSError) as error:
        raise BundleError(f"{path}: its weights cannot be read ({error}). Copy the bundle again.") from None
    return initializers


def _locations(data: memoryview, message: str) -> Iterator[str]:
    """Every location of every external_data entry at or below `message`; also one that a later one replaces."""
    parts = ((number, content) for number, content in _fields(data) if not isinstance(content, int))
    if message == "entry":
        keys, values = set(), []
        for number, content in parts:
            if number == _KEY:
                keys.add(bytes(content))
            elif number == _VALUE:
                values.append(bytes(content).decode(errors="replace"))
        yield from values if b"location" in keys else ()
        return
    for number, content in parts:
        if number in _MESSAGES[message]:
            yield from _locations(content, _MESSAGES[message][number])


def _tensor(data: memoryview, folder: Path, mapped: dict[str, mmap.mmap]) -> tuple[str, Array | None]:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9, external_data 13; None for a type that is no weight."""
    dims: list[int] = []
    data_type, name, raw, external = 0, "", None, {}
    for number, content in _fields(data):
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
        elif number == 13:
            entry = {number: _text(part) for number, part in _fields(content) if not isinstance(part, int)}
            external[entry.get(_KEY, "")] = entry.get(_VALUE, "")
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
        value, place = _varint(data, place)
        values.append(value)
    return values


def _text(data: memoryview) -> str:
    return bytes(data).decode()


def _read_model(path: Path) -> memoryview:
    """The bytes of a model file, of which every one is looked at.

    Raises:
        BundleError: there are too many, or it is no file that can be read.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise BundleError(f"{path}: missing. Copy the bundle again, whole.")
        if (size := path.stat().st_size) > MOST_MODEL:
            raise BundleError(
                f"{path}: {size:,} bytes, a model beside its data has at most {MOST_MODEL:,}. "
                "Export the checkpoint again."
            )
        return memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}).") from None


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    return (content for number, content in _fields(data) if number == wanted and not isinstance(content, int))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The whole numbers and length-delimited fields of a protobuf message, by field number.

    Raises:
        ValueError, IndexError: not a protobuf message.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            whole, place = _varint(data, place)
            yield number, whole
        elif wire_type == 1:
            place += 8
        elif wire_type == 5:
            place += 4
        elif wire_type == 2:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise ValueError("truncated")
            yield number, data[place : place + length]
            place += length
        else:
            raise ValueError("groups are not used by ONNX")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A base-128 number at `place`, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")

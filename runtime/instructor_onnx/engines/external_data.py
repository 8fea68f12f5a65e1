"""Which files an ONNX model takes its weights from, read before onnxruntime opens them.

A model may name any path for its weights, and onnxruntime 1.20 for one follows it out of the folder. This walks
the few protobuf messages that lead to a tensor; it knows nothing else of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from instructor_onnx.bundle import BundleError

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
_KEY, _VALUE = 1, 2  # of an entry; keys are location, offset, length and checksum
MOST_MODEL = 4 << 20  # bytes of a model beside its data: instructor-xl's has 0.1 million; a hostile byte takes 2 µs


def check_external_data(path: Path, allowed: set[str]) -> None:
    """Refuse a model whose weights lie in any file but the `allowed` ones beside it.

    Raises:
        BundleError: it names another file, is no ONNX model at all, or holds its weights itself.
    """
    try:
        locations = set(_locations(read_model(path), "model"))
    except (IndexError, ValueError, RecursionError):
        raise BundleError(f"{path}: not an ONNX model. Copy the bundle again.") from None
    for location in locations:
        if location not in allowed:
            raise BundleError(
                f"{path}: takes weights from {location!r:.200}, which is not in the manifest. Do not trust this bundle."
            )


def _locations(data: memoryview, message: str) -> Iterator[str]:
    """Every location of every external_data entry at or below `message`; also one that a later one replaces."""
    parts = ((number, content) for number, content in fields(data) if not isinstance(content, int))
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


def read_model(path: Path) -> memoryview:
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


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The whole numbers and length-delimited fields of a protobuf message, by field number.

    Raises:
        ValueError, IndexError: not a protobuf message.
    """
    place = 0
    while place < len(data):
        tag, place = varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            whole, place = varint(data, place)
            yield number, whole
        elif wire_type == 1:
            place += 8
        elif wire_type == 5:
            place += 4
        elif wire_type == 2:
            length, place = varint(data, place)
            if place + length > len(data):
                raise ValueError("truncated")
            yield number, data[place : place + length]
            place += length
        else:
            raise ValueError("groups are not used by ONNX")


def varint(data: memoryview, place: int) -> tuple[int, int]:
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

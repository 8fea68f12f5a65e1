"""Protobuf messages as trees of fields: read, changed at random, written, also as no writer would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.fuzz.mutate import damage

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Message -> {field number: message}, of onnx.proto.
ONNX = {
    "model": {7: "graph", 8: "opset", 14: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "tensor": {13: "entry"},
    "value": {2: "type"},
    "type": {1: "tensor_type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "dim"},
}
# Message -> {field number: message}, of sentencepiece_model.proto.
SENTENCEPIECE = {"model": {1: "piece", 2: "trainer", 3: "normalizer"}}
Schema = dict[str, dict[int, str]]
Payload = int | bytes | list["Field"]


@dataclass
class Field:
    """One field of a message; `overlong` and `claimed` are what a hostile writer adds."""

    number: int
    wire_type: int
    payload: Payload
    message: str = ""  # what `payload` is, where it is a list
    overlong: int = 0  # bytes that the tag is longer than it need be
    claimed: int | None = None  # the length that it says it has


def read(data: bytes, schema: Schema, message: str = "model") -> list[Field]:
    """The fields of a message that is well formed, the messages of `schema` in it read too."""
    fields, place = [], 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        payload: Payload
        if wire_type == VARINT:
            payload, place = _read_varint(data, place)
        else:
            length = {FIXED64: 8, FIXED32: 4}.get(wire_type, 0)
            if wire_type == BYTES:
                length, place = _read_varint(data, place)
            payload, place = data[place : place + length], place + length
        inner = schema.get(message, {}).get(number, "")
        if inner and isinstance(payload, bytes):
            payload = read(payload, schema, inner)
        fields.append(Field(number, wire_type, payload, inner))
    return fields


def write(fields: list[Field]) -> bytes:
    """The bytes of a message."""
    data = bytearray()
    for field in fields:
        data += varint(field.number << 3 | field.wire_type, field.overlong)
        if isinstance(field.payload, int):
            data += varint(field.payload)
            continue
        payload = write(field.payload) if isinstance(field.payload, list) else field.payload
        if field.wire_type in (BYTES, VARINT):  # a length where a number is expected is a hostile writer's
            data += varint(len(payload) if field.claimed is None else field.claimed)
        data += payload
    return bytes(data)


def varint(value: int, overlong: int = 0) -> bytes:
    """A base-128 number, of 64 bits where it is negative."""
    value &= (1 << 64) - 1 if value < 0 else (1 << 80) - 1
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    for _ in range(overlong):
        data[-1] |= 128
        data.append(0)
    return bytes(data)


def messages(fields: list[Field], kind: str) -> Iterator[list[Field]]:
    """Every message of a kind at or below a message."""
    for field in fields:
        if isinstance(field.payload, list):
            if field.message == kind:
                yield field.payload
            yield from messages(field.payload, kind)


def change(rng: Random, fields: list[Field]) -> None:
    """Change one field of a message, in place."""
    if not fields:
        fields.append(Field(rng.randrange(1, 30), VARINT, rng.choice(ODD_NUMBERS)))
        return
    index = rng.randrange(len(fields))
    field = fields[index]
    operation = rng.randrange(10)
    if operation == 0:
        del fields[index]
    elif operation == 1:
        fields.insert(index, field)
    elif operation == 2:
        other = rng.choice(fields)
        field.payload, other.payload = other.payload, field.payload
        field.message, other.message = other.message, field.message
    elif operation == 3:
        field.number = rng.choice((0, 1, 2, 5, 8, 9, 13, 14, field.number + 1, 1 << 28, (1 << 29) - 1))
    elif operation == 4:
        field.wire_type = rng.choice((VARINT, FIXED64, BYTES, 3, 4, FIXED32, 6, 7))
    elif operation == 5:
        field.overlong = rng.choice((1, 4, 9, 12))
    elif operation == 6 and not isinstance(field.payload, int):
        field.claimed = rng.choice((0, 1, 100, 1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1))
    elif isinstance(field.payload, int):
        near = (field.payload + 1, field.payload - 1, field.payload * 2, field.payload // 2)
        field.payload = rng.choice((*near, *ODD_NUMBERS))
    else:
        payload = write(field.payload) if isinstance(field.payload, list) else field.payload
        field.payload, field.message = damage(rng, payload), ""


ODD_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    10,
    16,
    127,
    128,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 40,
    1 << 62,
    (1 << 64) - 1,
    -1,
    -3,
)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        shift += 7
        place += 1
        if data[place - 1] < 128:
            return value, place

"""Do onnxruntime's 8-bit products saturate on this processor? Asked of the processor, by a product that would.

Imports nothing heavy: the onnxruntime module is handed in by session.py, which alone imports it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

DEPTH, WIDTH = 64, 32  # a whole step of every kernel of onnxruntime
LARGEST = 255  # of a uint8; beside 127, two products are more than 16 bits hold
WEIGHTS = np.tile(np.array([127, -127], np.int8), (DEPTH, WIDTH // 2))
EXPECTED = np.float32(LARGEST) * WEIGHTS.sum(axis=0, dtype=np.float32)  # whole numbers that fp32 holds exactly
HEIGHTS = (1, 16)  # one row, which may have a kernel of its own, and many


@functools.cache
def saturates(onnxruntime: Any) -> bool:
    """Whether products of uint8 by int8 are added in saturating 16-bit pairs here, once per process, some 0.5 ms.

    So do AVX2 and AVX-512 without VNNI. The session option session.x64quantprecision = 1 makes onnxruntime use an
    exact product there, which elsewhere costs more than half of the speed and changes nothing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    full = (np.full((rows, DEPTH), LARGEST, np.uint8) for rows in HEIGHTS)
    return not all((session.run(None, {"a": a})[0] == EXPECTED).all() for a in full)


def _probe() -> bytes:
    """An ONNX model, uint8 a [rows, DEPTH] -> float32 y [rows, WIDTH]: the product of an int8 variant, by itself.

    The field numbers are those of onnx.proto.
    """
    float32, uint8, int8 = 1, 2, 3

    def tensor(name: bytes, data_type: int, dims: tuple[int, ...], values: bytes) -> tuple[int, bytes]:
        return 5, _message(*((1, size) for size in dims), (2, data_type), (8, name), (9, values))

    def value(number: int, name: bytes, data_type: int, width: int) -> tuple[int, bytes]:
        shape = _message((1, _message((2, b"rows"))), (1, _message((1, width))))
        return number, _message((1, name), (2, _message((1, _message((1, data_type), (2, shape))))))

    inputs = [b"a", b"b", b"a_scale", b"b_scale", b"a_zero_point", b"b_zero_point"]
    node = _message(*((1, name) for name in inputs), (2, b"y"), (4, b"MatMulIntegerToFloat"), (7, b"com.microsoft"))
    graph = _message(
        (1, node),
        (2, b"saturation"),
        tensor(b"b", int8, (DEPTH, WIDTH), WEIGHTS.tobytes()),
        tensor(b"a_scale", float32, (), np.float32(1).tobytes()),
        tensor(b"b_scale", float32, (WIDTH,), np.ones(WIDTH, np.float32).tobytes()),
        tensor(b"a_zero_point", uint8, (), bytes(1)),
        tensor(b"b_zero_point", int8, (), bytes(1)),
        value(11, b"a", uint8, DEPTH),
        value(12, b"y", float32, WIDTH),
    )
    opsets = (_message((1, b""), (2, 18)), _message((1, b"com.microsoft"), (2, 1)))
    return _message((1, 9), (7, graph), *((8, opset) for opset in opsets))


def _message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protobuf message of whole numbers and bytes, by field number; onnx_file.py reads them."""
    encoded = b""
    for number, content in fields:
        if isinstance(content, int):
            encoded += _varint(number << 3) + _varint(content)
        else:
            encoded += _varint(number << 3 | 2) + _varint(len(content)) + content
    return encoded


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


PROBE = _probe()

"""How a product with a weight matrix is written: in fp32, in int8 with a scale per row and column, or in int4 blocks.

A precision answers three questions for graph.py: how tokens are looked up, how an activation is prepared for
products, and how a prepared activation is multiplied. half.py has fp16 and bf16. Knows nothing about layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto

from instructor_onnx_export.graph.attention import Attention, StockAttention
from instructor_onnx_export.graph.gptq import quantize_blocks
from instructor_onnx_export.graph.model_file import MICROSOFT, Float32, ModelWriter, RangeError

Int8 = npt.NDArray[np.int8]

SMALLEST_DIVISOR = 1e-30  # so that a row of zeros is quantised to zeros: 255 divided by it is still finite
# A row whose largest number is above it has a scale that keeps its digits; a smaller one is as good as zeros.
SMALLEST_ROW = 127 * np.finfo(np.float32).tiny
QUANTISED_AT_ONCE = 1 << 20  # numbers
BLOCK_SIZES = (128, 64, 32, 16)  # inputs that share a scale of int4: the first that divides them


class Prepared(NamedTuple):
    """An activation [..., in] ready for products; float or half, or uint8 with a scale for int8."""

    values: str
    scale: str | None = None  # [..., 1], None where the values are the activation itself
    zero_point: int = 0


class Precision(Protocol):
    """One way to write the products of a model."""

    element_type: int  # ONNX type that attention is computed from
    gain_type: int  # ONNX type that a norm before a product is written in
    attention: Attention
    batch_invariant: bool  # whether a row's numbers must be the same to the bit in any batch

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        """Rows of `table` [vocab, d_model] -> float [batch, sequence, d_model]."""
        ...

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        """An activation of any sign, of type `element_type`: [..., in]."""
        ...

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        """The output of a ReLU, float [..., in], still to be multiplied by `scale` [..., 1] if given."""
        ...

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        """x @ weight as attention takes it; weight [in, 3 * inner] -> `element_type` [..., 3 * inner]."""
        ...

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        """x @ weight; weight [in, out] -> float [..., out]."""
        ...

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        """Like `matmul`, but leaves the row scale [..., 1] to be multiplied in later (None: there is none)."""
        ...

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        """The weight of the Dense layer, [d_model, embedding_dim], as float32."""
        ...


class Fp32:
    """Products as they are."""

    element_type = gain_type = int(TensorProto.FLOAT)
    attention: Attention = StockAttention()
    batch_invariant = True

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        return str(model.node("Gather", model.weight(name, table), input_ids))

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        return Prepared(x)

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        return Prepared(x)

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return self.matmul(model, name, x, weight)

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return str(model.node("MatMul", x.values, model.weight(name, weight)))

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        return self.matmul(model, name, x, weight), None

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return model.weight(name, weight)


class Int4Blocks(Fp32):
    """Weights of 4 bits in blocks with a scale each, for the smallest file; activations float between products.

    onnxruntime multiplies them with activations in int8, block by block of a row (accuracy level 4), which on a
    CPU is never slower than its float path and for single texts three times faster. The embedding table is int8 a
    row: in 4 bits it alone would cost more than all other weights together. Scales and Dense are stored in float16
    and become float32 when a session is opened.
    """

    def __init__(self, samples: Mapping[str, torch.Tensor]) -> None:
        """`samples`: inputs of each product seen while calibrating, [tokens, in], by the weight's name."""
        self._samples = samples

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        return _embed_int8(model, name, table, input_ids)

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        inputs, outputs = weight.shape
        block_size = next((size for size in BLOCK_SIZES if inputs % size == 0), BLOCK_SIZES[-1])
        padding = (0, -inputs % block_size)  # inputs that are always zero
        padded = torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(weight.T)), padding)
        sample = torch.nn.functional.pad(self._samples[name], padding)
        try:
            values, scales = quantize_blocks(padded, sample, block_size)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise RangeError(f"int4: the inputs of {name} leave the range of float32. Export without int4.") from None
        unsigned = (values.numpy() + 8).astype(np.uint8).reshape(outputs, -1, block_size)
        return str(
            model.node(
                "MatMulNBits",
                x.values,
                model.weight(name, unsigned[..., ::2] | unsigned[..., 1::2] << 4),  # the first in the low half
                self._from_float16(model, f"{name}.scale", scales.float().numpy()),
                domain=MICROSOFT,
                K=inputs,
                N=outputs,
                bits=4,
                block_size=block_size,
                accuracy_level=4,
            )
        )

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return self._from_float16(model, name, weight)

    def _from_float16(self, model: ModelWriter, name: str, array: Float32) -> str:
        return str(model.node("Cast", model.weight(name, array, TensorProto.FLOAT16), to=TensorProto.FLOAT))


class Int8PerRow:
    """Weights int8 with one scale per output channel, activations uint8 with one scale per row (token).

    Products are exact integers, everything between them fp32, and a row's numbers depend on that row alone:
    that is why a text has the same vector in any batch. uint8 by int8 is the pair of types that every fast
    kernel of onnxruntime wants.
    """

    element_type = gain_type = int(TensorProto.FLOAT)
    attention: Attention = StockAttention()
    batch_invariant = True

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        return _embed_int8(model, name, table, input_ids)

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        # Symmetric around a zero point of 128: x / scale is in -127 ... 127.
        return self._quantize(model, x, model.node("Abs", x), levels=127, zero_point=128, scale=None)

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        # No sign to keep, so twice as many steps, just where T5's outliers sit.
        return self._quantize(model, x, x, levels=255, zero_point=0, scale=scale)

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return self.matmul(model, name, x, weight)

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        values, scale = self.matmul_unscaled(model, name, x, weight)
        return values if scale is None else str(model.node("Mul", values, scale))

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        values, scales = quantize(weight, axis=0)
        product = model.node(
            "MatMulIntegerToFloat",  # MatMulInteger, Cast and Mul by the column scales in one pass
            x.values,
            model.weight(name, values),
            model.constant(1.0, np.float32),
            model.weight(f"{name}.scale", scales[0]),
            model.constant(x.zero_point, np.uint8),
            # May be left out, but onnxruntime 1.20 then crashes on AVX2, as 1.31 does if products share one.
            model.weight(f"{name}.zero_point", np.zeros((), dtype=np.int8)),
            domain=MICROSOFT,
        )
        return product, x.scale

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return model.weight(name, weight)

    def _largest(self, model: ModelWriter, magnitude: str) -> str:
        """What one scale covers: each row. [..., in] -> [..., 1]."""
        return str(model.node("ReduceMax", magnitude, model.constant([-1], np.int64), keepdims=1))

    def _quantize(
        self, model: ModelWriter, x: str, magnitude: str, *, levels: int, zero_point: int, scale: str | None
    ) -> Prepared:
        """round(x * levels / max) + zero_point, max taken over each row of `magnitude`."""
        largest = model.node("Max", self._largest(model, magnitude), model.constant(SMALLEST_DIVISOR, np.float32))
        steps = model.node("Mul", x, model.node("Div", model.constant(levels, np.float32), largest))
        values = model.node(
            "QuantizeLinear", steps, model.constant(1.0, np.float32), model.constant(zero_point, np.uint8)
        )
        own = model.node("Mul", largest, model.constant(1 / levels, np.float32))
        return Prepared(values, own if scale is None else model.node("Mul", own, scale), zero_point)


def _embed_int8(model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
    values, scales = quantize(table, axis=1)
    rows = model.node("Gather", model.weight(name, values), input_ids)  # int8 [batch, sequence, d_model]
    scale = model.node("Gather", model.weight(f"{name}.scale", scales), input_ids)  # [batch, sequence, 1]
    return str(model.node("Mul", model.node("Cast", rows, to=TensorProto.FLOAT), scale))


def quantize(weight: Float32, axis: int) -> tuple[Int8, Float32]:
    """Symmetric int8 with one scale for all numbers along `axis`: weight ~ values * scales.

    Returns:
        values int8 of weight's shape, in -127 ... 127, and scales float32 with `axis` kept as 1.
    """
    # Without np.abs, and block by block: the embedding table of a large model is worth hundreds of megabytes.
    largest = np.maximum(weight.max(axis=axis, keepdims=True), -weight.min(axis=axis, keepdims=True))
    # What is not finite ends up in the scales, where ModelWriter finds it.
    scales = np.where(largest <= SMALLEST_ROW, 1, largest / 127).astype(np.float32)
    values = np.empty(weight.shape, dtype=np.int8)
    rows = max(1, QUANTISED_AT_ONCE // weight.shape[1])
    for first in range(0, len(weight), rows):
        block = slice(first, first + rows)
        with np.errstate(invalid="ignore"):
            values[block] = np.rint(weight[block] / (scales if axis == 0 else scales[block])).clip(-127, 127)
    return values, scales

"""int8: weights with one scale per output channel, activations with one per row (token), products in integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from instructor_onnx_export.graph.attention import Attention, StockAttention
from instructor_onnx_export.graph.model_file import MICROSOFT, Float32, ModelWriter
from instructor_onnx_export.graph.norm import Norm, StockNorm
from instructor_onnx_export.graph.precision import Prepared

Int8 = npt.NDArray[np.int8]

SMALLEST_DIVISOR = 1e-30  # so that a row of zeros is quantised to zeros: 255 divided by it is still finite
# A row whose largest number is above it has a scale that keeps its digits; a smaller one is as good as zeros.
SMALLEST_ROW = 127 * np.finfo(np.float32).tiny
QUANTISED_AT_ONCE = 1 << 20  # numbers


class Int8PerRow:
    """Weights int8 with one scale per output channel, activations uint8 with one scale per row (token).

    Products are exact integers, everything between them fp32, and a row's numbers depend on that row alone:
    that is why a text has the same vector in any batch. uint8 by int8 is the pair of types that every fast
    kernel of onnxruntime wants.
    """

    element_type = int(TensorProto.FLOAT)
    norm: Norm = StockNorm()
    attention: Attention = StockAttention()
    batch_invariant = True

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        return embed_int8(model, name, table, input_ids)

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        # Symmetric around a zero point of 128: x / scale is in -127 ... 127.
        return self._quantize_rows(model, x, model.node("Abs", x), levels=127, zero_point=128, scale=None)

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        # No sign to keep, so twice as many steps, just where T5's outliers sit.
        return self._quantize_rows(model, x, x, levels=255, zero_point=0, scale=scale)

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

    def _quantize_rows(
        self, model: ModelWriter, x: str, magnitude: str, *, levels: int, zero_point: int, scale: str | None
    ) -> Prepared:
        """round(x * levels / max) + zero_point, max taken over each row of `magnitude`."""
        largest = model.node("ReduceMax", magnitude, model.constant([-1], np.int64), keepdims=1)  # [..., 1]
        largest = model.node("Max", largest, model.constant(SMALLEST_DIVISOR, np.float32))
        steps = model.node("Mul", x, model.node("Div", model.constant(levels, np.float32), largest))
        values = model.node(
            "QuantizeLinear", steps, model.constant(1.0, np.float32), model.constant(zero_point, np.uint8)
        )
        own = model.node("Mul", largest, model.constant(1 / levels, np.float32))
        return Prepared(values, own if scale is None else model.node("Mul", own, scale), zero_point)


def embed_int8(model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
    """Rows of `table` [vocab, d_model], stored in int8 with a scale each -> float32 [batch, sequence, d_model]."""
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

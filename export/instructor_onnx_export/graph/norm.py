"""How sums and norms are written: T5's RMS norm alone, and after what a layer adds, in stock nodes or one fused one.

x / sqrt(mean(x^2) + eps) * gain, over the last axis (Zhang and Sennrich 2019).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from onnx import TensorProto

from instructor_onnx_export.checkpoint.names import EPSILON
from instructor_onnx_export.graph.model_file import MICROSOFT, Float32, ModelWriter


class Norm(Protocol):
    """One way to write the norms of a model."""

    element_type: int  # ONNX type of what the layers add up, and of its norm

    def alone(self, model: ModelWriter, x: str, name: str, gain: Float32, epsilon: float) -> str:
        """The norm of x [..., d_model]; gain [d_model] is stored as `name`."""
        ...

    def after_add(
        self, model: ModelWriter, x: str, update: str, name: str, gain: Float32, epsilon: float
    ) -> tuple[str, str]:
        """x + update, and its norm."""
        ...


class StockNorm:
    """Stock nodes in fp32, of which onnxruntime makes one kernel for the sum and one for the norm."""

    element_type = int(TensorProto.FLOAT)

    def alone(self, model: ModelWriter, x: str, name: str, gain: Float32, epsilon: float) -> str:
        return rms_norm(model, x, name, gain, epsilon)

    def after_add(
        self, model: ModelWriter, x: str, update: str, name: str, gain: Float32, epsilon: float
    ) -> tuple[str, str]:
        total = str(model.node("Add", x, update))
        return total, self.alone(model, total, name, gain, epsilon)


class FusedNorm:
    """onnxruntime's SkipSimplifiedLayerNormalization: sum and norm in one kernel, which reads and writes one type.

    On CUDA it adds up the squares in fp32, whatever that type is, since 1.27 (microsoft/onnxruntime#28682); before, the
    provider's option `enable_skip_layer_norm_strict_mode` makes it, and the runtime sets it.
    """

    def __init__(self, element_type: int, shift: int = 0) -> None:
        """`shift`: all that is added up is given divided by 2^shift, which a norm forgets, but for its epsilon."""
        self.element_type = element_type
        self._epsilon_scale = 4.0**-shift

    def alone(self, model: ModelWriter, x: str, name: str, gain: Float32, epsilon: float) -> str:
        if self.element_type != TensorProto.FLOAT:
            x = model.node("Cast", x, to=TensorProto.FLOAT)
        return rms_norm(model, x, name, gain, epsilon * self._epsilon_scale, self.element_type)

    def after_add(
        self, model: ModelWriter, x: str, update: str, name: str, gain: Float32, epsilon: float
    ) -> tuple[str, str]:
        stored = model.weight(name, gain, self.element_type)
        normed, _, _, total = model.node(
            "SkipSimplifiedLayerNormalization",
            *(x, update, stored),
            outputs=4,
            domain=MICROSOFT,
            epsilon=epsilon * self._epsilon_scale,
        )
        return total, normed


def rms_norm(
    model: ModelWriter,
    x: str,
    name: str,
    gain: Float32,
    epsilon: float,
    gain_type: int = TensorProto.FLOAT,
) -> str:
    """The norm of an fp32 x; onnxruntime fuses this pattern into one kernel.

    All is fp32 up to the gain, which makes the result one of `gain_type`.
    """
    square = model.node("Pow", x, model.constant(2, np.float32))
    mean = model.node("ReduceMean", square, model.constant([-1], np.int64), keepdims=1)
    root = model.node("Sqrt", model.node("Add", mean, model.constant(epsilon, np.float32, EPSILON)))
    unit = model.node("Div", x, root)
    if gain_type != TensorProto.FLOAT:
        unit = model.node("Cast", unit, to=gain_type)
    return str(model.node("Mul", unit, model.weight(name, gain, gain_type)))

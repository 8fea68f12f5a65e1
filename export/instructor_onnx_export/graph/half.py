"""Half precision that holds: fp16 and bf16 products, everything that adds up in fp32.

The residual stream, the norms' sums, scores and softmax (inside a fused attention), pooling, Dense and Normalize stay
fp32. bf16 has fp32's range. fp16 ends at 65,504, which T5's feed-forward passes on real weights
(huggingface/transformers#5651): here every product is given a power of two to be divided by beforehand, in its weights,
and multiplied by afterwards, in fp32, chosen from a bound that no input can pass. So there is nothing to clamp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from onnx import TensorProto

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.names import DENSE, block_names
from instructor_onnx_export.graph.attention import Attention, MultiHeadAttention
from instructor_onnx_export.graph.model_file import Float32, ModelWriter, RangeError
from instructor_onnx_export.graph.precision import Prepared

LARGEST = 65504 / 2  # of fp16; half of it, as rounding weights and activations moves a bound by far less than that


class Shift(NamedTuple):
    """Powers of two of one product."""

    fold: int = 0  # the weights are divided by 2^fold; of q, k and v together: those of v
    undo: int = 0  # the product is multiplied by 2^undo, once it is fp32


class Half:
    """Weights and the inputs of products in fp16 or bf16."""

    batch_invariant = False  # cuBLAS picks its kernel, and with it the order of additions, by the batch's size

    def __init__(self, element_type: int, attention: Attention, shifts: Mapping[str, Shift]) -> None:
        self.element_type = element_type
        self.attention = attention
        self._shifts = shifts
        # onnxruntime's fused norm on CUDA reads fp32 and writes fp16 in one pass, but has no such pair for bf16.
        self.gain_type = TensorProto.FLOAT16 if element_type == TensorProto.FLOAT16 else TensorProto.FLOAT

    @classmethod
    def fp16(cls, config: Config, weights: Mapping[str, torch.Tensor]) -> Half:
        """fp16 with shifts that fit `weights`; raises RangeError where none do."""
        return cls(TensorProto.FLOAT16, MultiHeadAttention(), fitted_shifts(config, weights))

    @classmethod
    def bf16(cls, config: Config, weights: Mapping[str, torch.Tensor]) -> Half:
        """bf16, which needs no shifts."""
        return cls(TensorProto.BFLOAT16, MultiHeadAttention(), {})

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        rows = model.node("Gather", model.weight(name, table, self.element_type), input_ids)
        return str(model.node("Cast", rows, to=TensorProto.FLOAT))

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        return Prepared(x if element_type == self.element_type else model.node("Cast", x, to=self.element_type))

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        return Prepared(x)  # still half, as matmul_unscaled left it

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        third = weight.shape[1] // 3
        folded = np.concatenate([weight[:, : 2 * third], self._folded(name, weight[:, 2 * third :])], axis=1)
        return self._product(model, name, x, folded)

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        values = model.node("Cast", self._product(model, name, x, self._folded(name, weight)), to=TensorProto.FLOAT)
        undo = self._shifts.get(name, Shift()).undo
        return str(model.node("Mul", values, model.constant(2.0**undo, np.float32))) if undo else str(values)

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        return self._product(model, name, x, self._folded(name, weight)), None

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return model.weight(name, weight)

    def _product(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return str(model.node("MatMul", x.values, model.weight(name, weight, self.element_type)))

    def _folded(self, name: str, weight: Float32) -> Float32:
        fold = self._shifts.get(name, Shift()).fold
        return np.ldexp(weight, -fold) if fold else weight


def fitted_shifts(config: Config, weights: Mapping[str, torch.Tensor]) -> dict[str, Shift]:
    """The shifts that keep every fp16 number of every layer finite, whatever the text.

    A normed row n * gain has |n| <= sqrt(d_model), so a product's number j is at most sqrt(d_model) |gain * w_j|, its
    row at most sqrt(d_model) |gain * W| (Cauchy-Schwarz; Frobenius norm). ReLU and attention's weighted means grow
    neither, and the second product's numbers are at most its input's row times |w_j|. Partial sums obey the same.

    Raises:
        RangeError: a weight passes fp16's range; or a query, a key or a gate may.
    """
    shifts: dict[str, Shift] = {}
    for name, weight in weights.items():
        if not float(weight.abs().max()) <= LARGEST and name != DENSE:
            raise RangeError(_too_large(name))
    for names in block_names(config):
        gain = weights[names.attention_norm]
        for name in (names.q, names.k):
            _within_fp16(config, gain, weights, name)
        first = _bounds(config, gain, weights[names.v])
        shifts[names.qkv], shifts[names.o] = _pair(first, weights[names.o])

        gain = weights[names.feed_forward_norm]
        number, row = _bounds(config, gain, weights[names.wi])
        if names.gate is not None:
            # gelu(x W_0) * (x W_1), |gelu(a)| <= |a|: the product is formed in fp32, and is fp16 before W_o
            gate = _within_fp16(config, gain, weights, names.gate)
            number, row = max(gate, 1.0) * number, gate * row
        shifts[names.wi], shifts[names.wo] = _pair((number, row), weights[names.wo])
    return shifts


def _within_fp16(config: Config, gain: torch.Tensor, weights: Mapping[str, torch.Tensor], name: str) -> float:
    """The largest number of a product that no shift can help; raises RangeError where fp16 does not hold it."""
    number, _ = _bounds(config, gain, weights[name])
    if number > LARGEST:
        raise RangeError(_too_large(name))
    return number


def _bounds(config: Config, gain: torch.Tensor, weight: torch.Tensor) -> tuple[float, float]:
    """The largest number and the largest row norm of norm(x) W^T; weight [out, in] as torch has it."""
    by_column = torch.linalg.vector_norm(weight.float() * gain.float(), dim=1)
    longest = math.sqrt(config.d_model)
    return longest * float(by_column.max()), longest * float(torch.linalg.vector_norm(by_column))


def _pair(first: tuple[float, float], second: torch.Tensor) -> tuple[Shift, Shift]:
    """Shifts of two products in a row, from the bounds of the first; what the second needs is split between them."""
    number, row = first
    needed = _powers(row * float(torch.linalg.vector_norm(second.float(), dim=1).max()))
    inner = max(_powers(number), -(-needed // 2))  # halved: a weight keeps its digits down to 6e-5
    outer = max(0, needed - inner)
    return Shift(fold=inner), Shift(fold=outer, undo=inner + outer)


def _powers(bound: float) -> int:
    """How often a bound must be halved to fit."""
    return max(0, math.ceil(math.log2(bound / LARGEST))) if bound > 0 else 0


def _too_large(name: str) -> str:
    return f"fp16: {name} may give numbers past fp16's range (65,504). Export bf16 instead, which has fp32's."

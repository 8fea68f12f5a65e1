"""Half precision that holds: fp16 and bf16 products, everything that adds up many numbers in fp32.

The norms' sums, scores and softmax (inside a fused attention), pooling, Dense and Normalize are fp32. What the layers
add up (the residual stream) is fp16 in fp16: two fifths less to move than in fp32, and emulated, no smallest cosine
falls by more than 0.000001, with planted outliers as well. In bf16, whose digits are three fewer, it stays fp32: with
outliers of 300 times it would cost 0.0003.

bf16 has fp32's range. fp16 ends at 65,504, which T5's feed-forward passes on real weights
(huggingface/transformers#5651): here all that is added up is held divided by a power of two, which the embedding table
and the weights of the products bring about and the next norm forgets, chosen from a bound that no input can pass. So
there is nothing to clamp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from onnx import TensorProto

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.names import DENSE, EMBEDDING, block_names
from instructor_onnx_export.graph.attention import Attention, MultiHeadAttention
from instructor_onnx_export.graph.model_file import Float32, ModelWriter, RangeError
from instructor_onnx_export.graph.norm import FusedNorm, Norm
from instructor_onnx_export.graph.precision import Prepared

LARGEST = 65504 / 2  # of fp16; half of it, as rounding weights and activations moves a bound by far less than that


class Shifts(NamedTuple):
    """Powers of two that numbers are divided by."""

    total: int = 0  # what the layers add up, from the embedding table on
    weights: Mapping[str, int] = {}  # the weights of a product, by name; of q, k and v together: those of v


class Half:
    """Weights and the inputs of products in fp16 or bf16."""

    batch_invariant = False  # cuBLAS picks its kernel, and with it the order of additions, by the batch's size

    def __init__(self, element_type: int, attention: Attention, shifts: Shifts) -> None:
        self.element_type = element_type
        self.attention = attention
        self.norm: Norm = FusedNorm(
            TensorProto.FLOAT16 if element_type == TensorProto.FLOAT16 else TensorProto.FLOAT, shifts.total
        )
        self._shifts = shifts

    @classmethod
    def fp16(cls, config: Config, weights: Mapping[str, torch.Tensor]) -> Half:
        """fp16 with shifts that fit `weights`; raises RangeError where none do."""
        return cls(TensorProto.FLOAT16, MultiHeadAttention(), fitted_shifts(config, weights))

    @classmethod
    def bf16(cls, config: Config, weights: Mapping[str, torch.Tensor]) -> Half:
        """bf16, which needs no shifts."""
        return cls(TensorProto.BFLOAT16, MultiHeadAttention(), Shifts())

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        table = _shifted(table, self._shifts.total)
        return self._summand(model, model.node("Gather", model.weight(name, table, self.element_type), input_ids))

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        return Prepared(x if element_type == self.element_type else model.node("Cast", x, to=self.element_type))

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        return Prepared(x)  # still half, as matmul_unscaled left it

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        third = weight.shape[1] // 3
        parts = weight[:, : 2 * third], self._folded(name, weight[:, 2 * third :])
        return self._product(model, name, x, np.concatenate(parts, axis=1))

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return self._summand(model, self._product(model, name, x, self._folded(name, weight)))

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        return self._product(model, name, x, self._folded(name, weight)), None

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return model.weight(name, weight)

    def _product(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return str(model.node("MatMul", x.values, model.weight(name, weight, self.element_type)))

    def _folded(self, name: str, weight: Float32) -> Float32:
        return _shifted(weight, self._shifts.weights.get(name, 0))

    def _summand(self, model: ModelWriter, x: str) -> str:
        """x in the type that the layers add up in."""
        return x if self.norm.element_type == self.element_type else str(model.node("Cast", x, to=TensorProto.FLOAT))


def _shifted(array: Float32, shift: int) -> Float32:
    return np.ldexp(array, -shift) if shift else array


def fitted_shifts(config: Config, weights: Mapping[str, torch.Tensor]) -> Shifts:
    """The shifts that keep every fp16 number of every layer finite, whatever the text.

    A normed row n * gain has |n| <= sqrt(d_model), so a product's number j is at most sqrt(d_model) |gain * w_j|, its
    row at most sqrt(d_model) |gain * W| (Cauchy-Schwarz; Frobenius norm). ReLU and attention's weighted means grow
    neither, and the second product's numbers are at most its input's row times |w_j|. What the layers add up is at
    most the sum of these and the table's largest number. Partial sums obey the same.

    Raises:
        RangeError: a weight passes fp16's range; or a query, a key or a gate may.
    """
    for name, weight in weights.items():
        if not float(weight.abs().max()) <= LARGEST and name != DENSE:
            raise RangeError(_too_large(name))
    inner: dict[tuple[str, str], int] = {}  # of the first of two products, by the names of both
    total = float(weights[EMBEDDING].abs().max())
    for names in block_names(config):
        gain = weights[names.attention_norm]
        for name in (names.q, names.k):
            _within_fp16(config, gain, weights, name)
        number, row = _bounds(config, gain, weights[names.v])
        inner[names.qkv, names.o] = _powers(number)
        total += row * _longest(weights[names.o])

        gain = weights[names.feed_forward_norm]
        number, row = _bounds(config, gain, weights[names.wi])
        if names.gate is not None:
            # gelu(x W_0) * (x W_1), |gelu(a)| <= |a|: the product is formed in fp32, and is fp16 before W_o
            gate = _within_fp16(config, gain, weights, names.gate)
            number, row = max(gate, 1.0) * number, gate * row
        inner[names.wi, names.wo] = _powers(number)
        total += row * _longest(weights[names.wo])
    shift = max(_powers(total), *inner.values())
    folds: dict[str, int] = {}
    for (first, second), least in inner.items():
        folds[first] = max(least, -(-shift // 2))  # halved: a weight keeps its digits down to 6e-5
        folds[second] = shift - folds[first]
    return Shifts(shift, folds)


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


def _longest(weight: torch.Tensor) -> float:
    """The longest row of a weight [out, in]."""
    return float(torch.linalg.vector_norm(weight.float(), dim=1).max())


def _powers(bound: float) -> int:
    """How often a bound must be halved to fit."""
    return max(0, math.ceil(math.log2(bound / LARGEST))) if bound > 0 else 0


def _too_large(name: str) -> str:
    return f"fp16: {name} may give numbers past fp16's range (65,504). Export bf16 instead, which has fp32's."

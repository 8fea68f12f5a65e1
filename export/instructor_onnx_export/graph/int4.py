"""int4: weights in blocks with a scale each, rounded by GPTQ (Frantar et al. 2022) with the scales searched for.

A column's rounding error is passed on to the columns not yet rounded, as the inputs seen while calibrating say
that it matters. On the trained small model it leaves a third of the error that rounding to the nearest does
(1 - cosine 0.0018 against 0.0053, blocks of 128).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from onnx import TensorProto

from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.int8 import embed_int8
from instructor_onnx_export.graph.model_file import MICROSOFT, Float32, ModelWriter, RangeError
from instructor_onnx_export.graph.precision import Prepared

BLOCK_SIZES = (128, 64, 32, 16)  # inputs that share a scale: the first that divides them
# Added to the diagonal of the inputs' second moments, as a share of its mean. The calibration sample has fewer
# tokens than a product has inputs; 0.1 served it best (0.01, the paper's, is for thousands of tokens).
DAMPING = 0.1
CLIPS = tuple(1 - 0.03 * step for step in range(14))  # shares of a block's largest weight that -8 may stand for
SMALLEST_SCALE = 2.0**-14  # of float16 in full precision, as the scales are stored


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
        return embed_int8(model, name, table, input_ids)

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


class Blocks(NamedTuple):
    """weight ~ values * scales, block by block along the inputs."""

    values: torch.Tensor  # int8 [out, in], in -8 ... 7
    scales: torch.Tensor  # float16 [out, in / block_size]


def quantize_blocks(weight: torch.Tensor, sample: torch.Tensor, block_size: int) -> Blocks:
    """Round `weight` to 4 bits so that products with inputs like `sample` change least.

    Args:
        weight: float32 [out, in], in a multiple of `block_size`.
        sample: float32 [tokens, in], inputs seen while calibrating.
    """
    remaining = weight.clone()
    moments = sample.T @ sample  # [in, in]
    moments.diagonal().add_(float(moments.diagonal().mean()) * DAMPING + SMALLEST_SCALE)
    importance = moments.diagonal().clone()
    # Row i of the upper Cholesky factor of the inverse: how column i's error is made good by those after it.
    passed_on = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moments)), upper=True)
    del moments
    values = torch.empty(weight.shape, dtype=torch.int8)
    scales = []
    for first in range(0, weight.shape[1], block_size):
        columns = slice(first, first + block_size)
        block = remaining[:, columns].clone()  # [out, block_size]
        scale = _best_scale(block, importance[columns])  # [out, 1]
        errors = torch.empty_like(block)
        for index in range(block_size):
            column = block[:, index : index + 1]
            rounded = _round(column, scale)
            values[:, first + index] = rounded[:, 0].to(torch.int8)
            factors = passed_on[first + index, first + index : first + block_size]
            errors[:, index : index + 1] = (column - rounded * scale) / factors[0]
            block[:, index + 1 :] -= errors[:, index : index + 1] * factors[1:]
        remaining[:, first + block_size :] -= errors @ passed_on[columns, first + block_size :]
        scales.append(scale)
    return Blocks(values, torch.cat(scales, dim=1).to(torch.float16))


def _best_scale(block: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """One scale a row, [out, 1], that leaves the smallest error weighted by `importance` [block_size].

    The largest weight becomes -8, the end of the range that has one step more; its scale may be negative.
    """
    largest = block.gather(1, block.abs().argmax(dim=1, keepdim=True))
    best = least = torch.full_like(largest, torch.inf)  # and best stays so where float16 has no scale large enough
    for clip in CLIPS:
        scale = largest * (-clip / 8)
        scale = torch.where(scale.abs() < SMALLEST_SCALE, SMALLEST_SCALE, scale).half().float()  # as stored
        error = ((_round(block, scale) * scale - block).square() * importance).sum(dim=1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def _round(weights: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (weights / scale).round().clamp(-8, 7)

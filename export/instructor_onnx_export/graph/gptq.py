"""4-bit weights in blocks: GPTQ (Frantar et al. 2022), with the scale of each block searched for.

A column's rounding error is passed on to the columns not yet rounded, as the inputs seen while calibrating say
that it matters. On the trained small model it leaves a third of the error that rounding to the nearest does
(1 - cosine 0.0018 against 0.0053, blocks of 128). Knows nothing about ONNX.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

# Added to the diagonal of the inputs' second moments, as a share of its mean. The calibration sample has fewer
# tokens than a product has inputs; 0.1 served it best (0.01, the paper's, is for thousands of tokens).
DAMPING = 0.1
CLIPS = tuple(1 - 0.03 * step for step in range(14))  # shares of a block's largest weight that -8 may stand for
SMALLEST_SCALE = 2.0**-14  # of float16 in full precision, as the scales are stored


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

"""4-bit weights: the grid they lie on, and that errors are passed on to where they cost least."""

from __future__ import annotations

import pytest
import torch
from instructor_onnx_export.graph.int4 import Blocks, quantize_blocks


def restored(blocks: Blocks, block_size: int) -> torch.Tensor:
    return blocks.values.float() * blocks.scales.float().repeat_interleave(block_size, dim=1)


def rounded(weight: torch.Tensor, block_size: int) -> torch.Tensor:
    """To the nearest, the largest weight of each block at -8: what a quantiser without a sample does."""
    blocks = weight.reshape(len(weight), -1, block_size)
    largest = blocks.gather(2, blocks.abs().argmax(dim=2, keepdim=True))
    scale = largest / -8
    return ((blocks / scale).round().clamp(-8, 7) * scale).reshape(weight.shape)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(48, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sample() -> torch.Tensor:
    """Inputs whose channels go together and differ in size, as those of a trained model do."""
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(200, 24, generator=generator) @ torch.randn(24, 128, generator=generator)
    return mixed * torch.logspace(-0.3, 0.3, 128) + 0.1 * torch.randn(200, 128, generator=generator)


@pytest.mark.parametrize("block_size", [16, 32, 128])
def test_products_change_less_than_by_rounding(weight: torch.Tensor, sample: torch.Tensor, block_size: int) -> None:
    exact = sample @ weight.T
    ours = sample @ restored(quantize_blocks(weight, sample, block_size), block_size).T
    nearest = sample @ rounded(weight, block_size).T
    assert float((ours - exact).norm()) < 0.65 * float((nearest - exact).norm())


def test_other_inputs_gain_too(weight: torch.Tensor, sample: torch.Tensor) -> None:
    blocks = quantize_blocks(weight, sample[:100], 32)
    exact = sample[100:] @ weight.T
    ours, nearest = sample[100:] @ restored(blocks, 32).T, sample[100:] @ rounded(weight, 32).T
    assert float((ours - exact).norm()) < 0.65 * float((nearest - exact).norm())


def test_types_and_range(weight: torch.Tensor, sample: torch.Tensor) -> None:
    values, scales = quantize_blocks(weight, sample, 32)
    assert (values.dtype, tuple(values.shape)) == (torch.int8, (48, 128))
    assert (scales.dtype, tuple(scales.shape)) == (torch.float16, (48, 4))
    assert -8 <= int(values.min()) <= int(values.max()) <= 7


def test_weights_on_the_grid_stay(sample: torch.Tensor) -> None:
    values = torch.randint(-8, 8, (8, 128), generator=torch.Generator().manual_seed(2))
    values[:, ::32] = -8
    weight = values.float() * 0.25
    assert torch.equal(restored(quantize_blocks(weight, sample, 32), 32), weight)


@pytest.mark.parametrize("tokens", [1, 3])
def test_silent_inputs_and_weights_of_zero(weight: torch.Tensor, tokens: int) -> None:
    blocks = quantize_blocks(weight, torch.zeros(tokens, 128), 32)
    assert torch.isfinite(restored(blocks, 32)).all()
    blocks = quantize_blocks(torch.zeros(4, 128), torch.ones(tokens, 128), 32)
    assert not restored(blocks, 32).any()

"""NaN and infinity never arrive in a written file: what a variant's numbers cannot hold costs that variant."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx import Manifest
from instructor_onnx_export import CheckpointError, RangeError, export
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.attention import MultiHeadAttention
from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.half import Half, Shifts
from instructor_onnx_export.graph.int4 import Int4Blocks, quantize_blocks
from instructor_onnx_export.graph.int8 import Int8PerRow, quantize
from instructor_onnx_export.graph.model_file import ModelWriter
from instructor_onnx_export.graph.precision import Precision
from instructor_onnx_export.graph.t5 import write_graph
from onnx import TensorProto
from safetensors.torch import load_file, save_file

DENSE = "2_Dense/model.safetensors"
WO = "encoder.block.1.layer.1.DenseReluDense.wo.weight"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("element_type", [None, TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_what_is_not_finite_is_not_written(value: float, element_type: int | None, tmp_path: Path) -> None:
    array = np.ones((40, 30), dtype=np.float32)
    array[17, 3] = value
    with (
        ModelWriter(tmp_path / "mine") as model,
        pytest.raises(RangeError, match="mine: a.weight would hold NaN or infinity.* range of b?float.*without mine"),
    ):
        model.weight("a.weight", array, element_type)
    assert (tmp_path / "mine/model.onnx.data").stat().st_size == 0


@pytest.mark.parametrize(
    ("element_type", "largest", "name"),
    [(TensorProto.FLOAT16, 65504.0, "float16"), (TensorProto.BFLOAT16, 3.38e38, "bfloat16")],
)
def test_what_a_type_cannot_hold_is_not_written(element_type: int, largest: float, name: str, tmp_path: Path) -> None:
    with ModelWriter(tmp_path / "mine") as model:
        model.weight("fits", np.full(1000, -largest, dtype=np.float32), element_type)
        with pytest.raises(RangeError, match=f"mine: bias would hold .* the range of {name}."):
            model.weight("bias", np.full(3, largest * 1.006, dtype=np.float32), element_type)


def test_a_dense_layer_past_float16_costs_int4(
    editable: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weight = load_file(editable / DENSE)["linear.weight"]
    save_file({"linear.weight": weight * 1e6}, editable / DENSE)
    with caplog.at_level(logging.WARNING):
        export(editable, tmp_path / "b", variants=["fp32", "int8", "int4"], show_progress=False)
    (record,) = caplog.records
    assert "int4: dense.linear.weight would hold NaN or infinity" in record.getMessage()
    assert list(Manifest.read(tmp_path / "b").variants) == ["fp32", "int8"]
    assert not (tmp_path / "b/int4").exists()
    with pytest.raises(RangeError, match=r"int4: dense.linear.weight .* the range of float16. Export it without int4"):
        export(editable, tmp_path / "c", variants=["int4"], show_progress=False)
    assert not (tmp_path / "c").exists()


def test_weights_past_the_scales_of_int4_cost_int4(editable: Path, tmp_path: Path) -> None:
    """A scale stands for an eighth of the largest weight: float16 ends at 524,032."""
    weights = load_file(editable / "model.safetensors")
    weights[WO] *= 6e5 / weights[WO].abs().max()
    save_file(weights, editable / "model.safetensors")
    with pytest.raises(RangeError, match=f"int4: {WO}.scale would hold NaN or infinity"):
        export(editable, tmp_path / "b", variants=["int4"], show_progress=False)


def test_the_largest_scale_of_int4() -> None:
    sample = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
    assert float(quantize_blocks(torch.full((2, 32), 524_000.0), sample, 32).scales.abs().max()) <= 65504
    assert torch.isinf(quantize_blocks(torch.full((2, 32), 600_000.0), sample, 32).scales).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "precision",
    [Fp32(), Int8PerRow(), Half(TensorProto.BFLOAT16, MultiHeadAttention(), Shifts())],
    ids=["fp32", "int8", "bf16"],
)
def test_no_precision_hides_it(precision: Precision, value: float, base_checkpoint: Path, tmp_path: Path) -> None:
    """As migrating outliers, which multiplies weights, could make it."""
    source = read_checkpoint(base_checkpoint)
    for name in source.weights:
        weight = source.weights[name].clone()
        weight.view(-1)[5] = value
        with pytest.raises(RangeError, match="x: .* would hold NaN or infinity"):
            write_graph(tmp_path / "x", source.config, dict(source.weights) | {name: weight}, precision)


def test_inputs_past_float32_cost_int4(base_checkpoint: Path, tmp_path: Path) -> None:
    source = read_checkpoint(base_checkpoint)
    inner = {"wo": source.config.d_ff}
    samples = {
        name.replace(".q.", ".qkv."): torch.full((4, inner.get(name.split(".")[-2], source.config.d_model)), 1e30)
        for name in source.weights
    }
    with pytest.raises(RangeError, match="int4: the inputs of encoder.block.0.* leave the range of float32"):
        write_graph(tmp_path / "int4", source.config, source.weights, Int4Blocks(samples))


def test_weights_too_small_for_a_scale_are_zeros() -> None:
    weight = np.full((8, 4), 1e-42, dtype=np.float32)
    weight[0] = 1.0
    for axis in (0, 1):
        values, scales = quantize(weight, axis)
        assert np.isfinite(scales).all()
        np.testing.assert_allclose(values * scales, weight, atol=1e-30)


def test_a_checkpoint_that_torch_makes_no_numbers_of(editable: Path, tmp_path: Path) -> None:
    save_file({"linear.weight": torch.full((24, 32), 3e38)}, editable / DENSE)
    with pytest.raises(CheckpointError, match="instructor-base: PyTorch itself gives NaN or infinity"):
        export(editable, tmp_path / "b", show_progress=False)
    assert not (tmp_path / "b").exists()

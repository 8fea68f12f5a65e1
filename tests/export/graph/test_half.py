"""fp16 and bf16: that no text can overflow them, how near they are to fp32, and what their graphs are made of.

Their numbers are those of a GPU, emulated (tests/half_graphs.py); tests/cuda has the real thing.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.cli import main
from instructor_onnx.engines import devices
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.ort import Session
from instructor_onnx.inputs import Row
from instructor_onnx_export import RangeError, export, verify_bundle
from instructor_onnx_export.checkpoint.read import Checkpoint, read_checkpoint
from instructor_onnx_export.graph.attention import Attention, MultiHeadAttention, StockAttention
from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.half import LARGEST, Half, Shifts, fitted_shifts
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.verify import cosines, probe_rows
from onnx import TensorProto

from tests.checkpoints import make_checkpoint
from tests.conftest import FAMILY
from tests.half_graphs import emulated

Float32 = npt.NDArray[np.float32]
MINI = Path(__file__).resolve().parents[3] / "checkpoints/instructor-mini"
ROWS = probe_rows(512)[:44:2]  # under every instruction and none, up to a few hundred tokens
# Promised is 0.9995; these pin what was seen, with a little room.
NEAR = {"fp16": 0.99999, "bf16": 0.9998}


@pytest.fixture(scope="module", params=["base", "xl", "gated"])
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint, of each kind that half precision writes differently."""
    return make_checkpoint(tmp_path_factory.mktemp("member") / "instructor-member", **FAMILY[request.param])


@pytest.fixture(scope="module")
def half_bundle(member: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fp32, fp16 and bf16 of `member`."""
    folder = tmp_path_factory.mktemp("half") / "bundle"
    export(member, folder, variants=["fp32", "fp16", "bf16"], show_progress=False)
    return folder


def feeds(bundle: Path, rows: list[Row]) -> dict[str, npt.NDArray[np.int64]]:
    return INSTRUCTOR(bundle, variant="fp32", device="cpu").tokenize(rows)


def vectors_of(session: Any, inputs: dict[str, npt.NDArray[np.int64]]) -> Float32:
    (vectors,) = session.run(["sentence_embedding"], inputs)
    assert vectors.dtype == np.float32
    return np.asarray(vectors)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_near_to_fp32_for_every_member(half_bundle: Path, variant: str) -> None:
    expected = INSTRUCTOR(half_bundle, variant="fp32", device="cpu").encode(ROWS)
    found = vectors_of(emulated(half_bundle / variant / "model.onnx"), feeds(half_bundle, ROWS))
    assert cosines(expected, found).min() >= NEAR[variant]
    assert np.abs(expected - found).max() > 1e-6  # it is another arithmetic, not fp32 under another name


def test_near_to_fp32_on_trained_weights(tmp_path: Path) -> None:
    export(MINI, tmp_path / "b", variants=["fp32", *NEAR], show_progress=False)
    expected = INSTRUCTOR(tmp_path / "b", variant="fp32", device="cpu").encode(ROWS)
    for variant, near in NEAR.items():
        found = vectors_of(emulated(tmp_path / "b" / variant / "model.onnx"), feeds(tmp_path / "b", ROWS))
        assert cosines(expected, found).min() >= near


def scaled(source: Checkpoint, factors: dict[str, float]) -> dict[str, torch.Tensor]:
    """The weights, with those whose name within a block is in `factors` multiplied."""
    return {name: tensor * factors.get(name.rpartition(".layer.")[2], 1.0) for name, tensor in source.weights.items()}


@pytest.mark.parametrize(
    "factors",
    [
        {"1.DenseReluDense.wi.weight": 300.0, "1.DenseReluDense.wo.weight": 3000.0},
        {"1.layer_norm.weight": 300.0, "1.DenseReluDense.wi.weight": 1000.0, "1.DenseReluDense.wo.weight": 0.1},
        {"0.SelfAttention.v.weight": 1000.0, "0.SelfAttention.o.weight": 3000.0},
    ],
    ids=["wo", "wi", "o"],
)
def test_weights_that_overflow_naive_fp16_do_not_overflow_ours(
    base_checkpoint: Path, bundle: Path, tmp_path: Path, factors: dict[str, float]
) -> None:
    source = read_checkpoint(base_checkpoint)
    weights = scaled(source, factors)
    write_graph(tmp_path / "fp32", source.config, weights, Fp32())
    write_graph(tmp_path / "naive", source.config, weights, Half(TensorProto.FLOAT16, MultiHeadAttention(), Shifts()))
    write_graph(tmp_path / "ours", source.config, weights, Half.fp16(source.config, weights))
    inputs = feeds(bundle, ROWS)
    (expected,) = Session.open(tmp_path / "fp32/model.onnx", Device("cpu")).run(
        ["sentence_embedding"], *inputs.values()
    )
    assert not np.isfinite(vectors_of(emulated(tmp_path / "naive/model.onnx"), inputs)).all()
    found = vectors_of(emulated(tmp_path / "ours/model.onnx"), inputs)
    assert np.isfinite(found).all()
    assert cosines(expected, found).min() >= NEAR["fp16"]


@pytest.mark.parametrize("gated", [False, True], ids=["relu", "gated"])
def test_no_input_passes_the_bounds(tmp_path: Path, gated: bool) -> None:
    """The worst rows there are: normed so that all of their length lies along one weight."""
    source = read_checkpoint(make_checkpoint(tmp_path / "ck", gated=gated))
    weights = scaled(source, {"1.DenseReluDense.wo.weight": 3e4, "0.SelfAttention.o.weight": 3e4})
    weights["encoder.block.0.layer.1.layer_norm.weight"][3] = 40.0  # an outlier channel
    shifts = fitted_shifts(source.config, weights)
    for index in range(source.config.num_layers):
        layer = f"encoder.block.{index}.layer.1"
        gain, dense = weights[f"{layer}.layer_norm.weight"], f"{layer}.DenseReluDense"
        names = ("wi_0", "wi_1", "wo") if gated else ("wi", "wi", "wo")
        gate, first, second = (weights[f"{dense}.{name}.weight"] for name in names)
        directions = torch.cat([first * gain, -first * gain, gate * gain])
        rows = directions / directions.norm(dim=1, keepdim=True) * source.config.d_model**0.5 * gain
        inner, outer = shifts.weights[f"{dense}.{names[1]}.weight"], shifts.weights[f"{dense}.wo.weight"]
        assert shifts.total == inner + outer > 0
        hidden = rows @ first.T / 2**inner
        if gated:
            hidden = torch.nn.functional.gelu(rows @ gate.T, approximate="tanh") * hidden
        hidden = hidden if gated else hidden.relu()
        assert hidden.abs().max() <= LARGEST
        assert (hidden @ second.T / 2**outer).abs().max() <= LARGEST


def test_ordinary_weights_need_no_shift(base_checkpoint: Path) -> None:
    source = read_checkpoint(base_checkpoint)
    shifts = fitted_shifts(source.config, source.weights)
    assert {shifts.total, *shifts.weights.values()} == {0}


@pytest.mark.parametrize("name", ["shared.weight", "encoder.block.1.layer.0.SelfAttention.k.weight"])
def test_what_no_shift_can_hold_is_refused(base_checkpoint: Path, name: str) -> None:
    source = read_checkpoint(base_checkpoint)
    weights = dict(source.weights) | {name: source.weights[name] * 1e6}
    with pytest.raises(RangeError, match=rf"fp16: {name} may give numbers past fp16's range .* Export bf16"):
        fitted_shifts(source.config, weights)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_operators_types_and_weights(half_bundle: Path, variant: str) -> None:
    model = onnx.load(half_bundle / variant / "model.onnx", load_external_data=False)
    element_type = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[variant]
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 18, "com.microsoft": 1}
    assert model.ir_version <= 10  # what onnxruntime 1.20 reads
    layers = Manifest.read(half_bundle).model.num_layers
    norm = "SkipSimplifiedLayerNormalization"
    assert [node.op_type for node in model.graph.node if node.domain] == ["MultiHeadAttention", norm, norm] * layers
    large = {tensor.name: tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2}
    halves = {name for name, data_type in large.items() if data_type == element_type}
    assert large.keys() - halves <= {"dense.linear.weight"}  # Dense is fp32
    sizes = {v: (half_bundle / v / "model.onnx.data").stat().st_size for v in ("fp32", variant)}
    assert sizes[variant] < 0.6 * sizes["fp32"]


@pytest.mark.parametrize("attention", [StockAttention, MultiHeadAttention])
def test_every_way_to_write_attention_is_the_same(
    base_checkpoint: Path, bundle: Path, tmp_path: Path, attention: type[Attention]
) -> None:
    source = read_checkpoint(base_checkpoint)
    precision = Fp32()
    precision.attention = attention()
    write_graph(tmp_path, source.config, source.weights, precision)
    inputs = feeds(bundle, ROWS)
    session = Session.open(tmp_path / "model.onnx", Device("cpu"))
    found, _ = session.run(["sentence_embedding", "token_embeddings"], *inputs.values())
    assert found == pytest.approx(INSTRUCTOR(bundle, variant="fp32", device="cpu").encode(ROWS), abs=2e-6)


def test_unverified_where_there_is_no_gpu(half_bundle: Path, member: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if devices.visible_gpus() and not devices.missing(import_onnxruntime(), 0):
        pytest.skip("there is a GPU: tests/cuda covers what is verified on it")
    manifest = Manifest.read(half_bundle)
    assert {name for name, variant in manifest.variants.items() if not variant.verification} == {"fp16", "bf16"}
    assert manifest.variants["fp16"].devices == manifest.variants["bf16"].devices == ("cuda",)
    assert set(verify_bundle(half_bundle, member, show_progress=False)) == {"fp32"}
    card = (half_bundle / "README.md").read_text()
    assert "| fp16 | float16 |" in card
    assert "| bf16 | bfloat16 |" in card
    assert card.count("not verified on this device") == 2
    assert main(["info", str(half_bundle)]) == main(["check", str(half_bundle)]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^(?:fp16|bf16) .* not verified$", out, flags=re.M)) == 2
    assert len(re.findall(r"^--  (?:fp16|bf16): not opened, it is for cuda.*not verified on a GPU", out, re.M)) == 2


def test_a_gpu_without_cuda_leaves_variants_unverified(
    half_bundle: Path, member: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver is there, onnxruntime's part is not: nothing is lost of an export, and the reason is told."""
    if devices.PROVIDER in import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has CUDA: tests/cuda covers it")
    monkeypatch.setattr(devices, "visible_gpus", lambda: 1)
    manifest = export(member, tmp_path / "b", variants=["fp32", "fp16"], show_progress=False)
    assert manifest.variants["fp32"].verification
    assert not manifest.variants["fp16"].verification
    (record,) = caplog.records
    assert re.match(r"fp16 was not verified: device='cuda': .*CPU-only package", record.getMessage())
    caplog.clear()
    assert set(verify_bundle(half_bundle, member, show_progress=False)) == {"fp32"}
    assert [record.getMessage()[:21] for record in caplog.records] == ["fp16 was not verified", "bf16 was not verified"]


def test_a_bundle_that_cannot_be_opened_here_is_no_success(
    half_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "missing", lambda onnxruntime, index: "there is no GPU")
    manifest = Manifest.read(half_bundle)
    shutil.copytree(half_bundle, tmp_path / "b")
    halves = {name: variant for name, variant in manifest.variants.items() if name != "fp32"}
    dataclasses.replace(manifest, variants=halves).write(tmp_path / "b")
    assert main(["check", str(tmp_path / "b")]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("not opened, it is for cuda and there is no GPU") == 2
    assert "this machine can open none of its variants (fp16, bf16)" in captured.err

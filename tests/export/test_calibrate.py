"""Outlier migration: the same model in fp32, a better one in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.ort import Session
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_export import CalibrationError, export
from instructor_onnx_export.calibrate import Observed, best_scale, observe, products, read_rows, smooth
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.int8 import Int8PerRow
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.verify import cosines
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint

PROBES = [
    Row("Represent the sentence: ", "the river rises in the hills"),
    Row("", "Bread needs flour, water, salt and time."),
    Row("Represent the Science title: ", "the theory of sets"),
]


def plant_outliers(checkpoint: Path, factor: float) -> None:
    """Two residual channels far above the rest, from the first block on, as trained T5 has them."""
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    for name, weight in weights.items():
        if name.endswith("DenseReluDense.wo.weight"):
            weight[[3, 17]] *= factor
    save_file(weights, file)


def vectors(folder: Path, checkpoint: Path, rows: list[Row]) -> np.ndarray:
    source = read_checkpoint(checkpoint)
    tokenizer = Tokenizer.load(checkpoint / "tokenizer.json", vocab_size=source.config.vocab_size, eos_token_id=1)
    session = Session.open(folder / "model.onnx", Device("cpu"))
    return session.run(["sentence_embedding"], *tokenizer(rows, 512).padded(np.arange(len(rows))))[0]


@pytest.mark.parametrize("gated", [False, True])
def test_fp32_is_unchanged_and_int8_is_nearer(tmp_path: Path, gated: bool) -> None:
    checkpoint = make_checkpoint(tmp_path / "c", gated=gated, num_layers=3)
    plant_outliers(checkpoint, 100)
    source = read_checkpoint(checkpoint)
    oracle = Oracle(source)
    expected = np.stack([vector for vector, _ in oracle.encode(PROBES)])
    observed, _ = observe(oracle, source.config, read_rows(), int)
    smoothed = smooth(source.weights, source.config, observed, int)
    assert set(smoothed) == set(source.weights)

    write_graph(tmp_path / "fp32", source.config, smoothed, Fp32())
    assert np.abs(vectors(tmp_path / "fp32", checkpoint, PROBES) - expected).max() <= 1e-5

    write_graph(tmp_path / "plain", source.config, source.weights, Int8PerRow())
    write_graph(tmp_path / "smoothed", source.config, smoothed, Int8PerRow())
    plain, migrated = (1 - cosines(vectors(tmp_path / v, checkpoint, PROBES), expected) for v in ("plain", "smoothed"))
    if not gated:  # a gate multiplies two activations, and their range token by token is what remains
        assert migrated.mean() < plain.mean() / 2


def test_the_scale_that_suits_an_outlier() -> None:
    """One channel 100 times the rest: without migration its step swallows the others."""
    random = torch.Generator().manual_seed(0)
    sample = torch.randn(64, 32, generator=random)
    sample[:, 5] *= 100
    weight = torch.randn(16, 32, generator=random)
    scale = best_scale([weight], Observed(sample.abs().amax(dim=0), sample), positive=False)
    others = torch.cat([scale[:5], scale[6:]])
    assert scale[5] > 3 * others.max()
    assert scale.log().mean() == pytest.approx(0, abs=1e-5)


def test_a_silent_channel_is_not_blown_up() -> None:
    sample = torch.rand(64, 8) + 1
    sample[:, 2] = 0
    scale = best_scale([torch.randn(4, 8)], Observed(sample.abs().amax(dim=0), sample), positive=True)
    assert scale.max() / scale.min() < 100


def test_every_product_is_watched(tmp_path: Path) -> None:
    source = read_checkpoint(make_checkpoint(tmp_path / "c"))
    observed, _ = observe(Oracle(source), source.config, PROBES, int)
    assert list(observed) == [name for name, _, _ in products(source.config)]
    widths = {name.rpartition(".")[2]: len(seen.largest) for name, seen in observed.items()}
    assert widths == {"q": 32, "o": 32, "wi": 32, "wo": 64}
    assert all((seen.sample.abs() <= seen.largest).all() for seen in observed.values())


def test_the_shipped_texts() -> None:
    rows = read_rows()
    assert len(rows) >= 40
    assert len({row.instruction for row in rows}) > 25


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no texts"),
        ('["i", "t"]\n\nnot json\n', "line 3: "),
        ('["i", "t"]\n["i", 3]\n', "line 2: row 2: its text is int"),
        ('{"query": "t"}\n', "line 1: row 1: found a dict"),
    ],
)
def test_bad_calibration_texts(base_checkpoint: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    with pytest.raises(CalibrationError, match=message):
        export(base_checkpoint, tmp_path / "b", calibrate=tmp_path / "texts.jsonl", show_progress=False)
    assert not (tmp_path / "b").exists()


def test_ones_own_texts(base_checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('["Represent the sentence: ", "the sea"]\n"a text without"\n')
    export(base_checkpoint, tmp_path / "b", calibrate=tmp_path / "texts.jsonl", show_progress=False)
    model, other = (INSTRUCTOR(folder, variant="int8", device="cpu") for folder in (tmp_path / "b", bundle))
    assert not np.array_equal(model.encode(PROBES), other.encode(PROBES))
    assert (tmp_path / "b/fp32/model.onnx.data").read_bytes() == (bundle / "fp32/model.onnx.data").read_bytes()

"""The oracle: against the reference's own vectors, and the steps that those do not show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.oracle import Oracle

from tests.checkpoints import make_checkpoint

ROWS = [
    ("Represent the Science title: ", "The river rises in the hills"),
    ("", "herring and cod"),
    ("Represent the sentence: ", ""),
    ("query", "salt " * 600),
]


@pytest.mark.parametrize("name", ["tiny", "tinyxl"])
def test_reference_vectors(name: str, shared: Path) -> None:
    cases: dict[str, Any] = json.loads((shared / "reference/cases.json").read_text(encoding="utf-8"))
    oracle = Oracle(read_checkpoint(shared / "reference" / name))
    with np.load(shared / f"reference/{name}.vectors.npz") as file:
        expected = dict(file)
    for case, sentences in cases.items():
        if case not in expected:  # the reference raises on it
            continue
        rows = [sentences] if isinstance(sentences, str) else sentences
        found = oracle.encode([("", row) if isinstance(row, str) else (row[0], row[1]) for row in rows])
        vectors = np.stack([vector for vector, _ in found])
        # float32 sums in another order; measured: 1.7e-7 on vectors, 3.2e-7 on token embeddings
        np.testing.assert_allclose(vectors, np.atleast_2d(expected[case]), rtol=0, atol=1e-5, err_msg=case)
        for index, (_, tokens) in enumerate(found):
            if f"{case}/{index}" in expected:
                np.testing.assert_allclose(tokens, expected[f"{case}/{index}"], rtol=0, atol=1e-5, err_msg=case)


def test_shapes_and_types(family: Path) -> None:
    checkpoint = read_checkpoint(family)
    for vector, tokens in Oracle(checkpoint).encode(ROWS):
        assert vector.dtype == tokens.dtype == np.float32
        assert vector.shape == (checkpoint.config.embedding_dim,)
        assert tokens.shape[1] == checkpoint.config.d_model
        assert np.isfinite(vector).all()
        if checkpoint.config.normalize:
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_bare_model_is_the_mean_of_its_tokens(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(make_checkpoint(tmp_path / "x", dense_dim=None, normalize=False))
    instruction = "Represent the Science title: "
    (vector, tokens), (whole, all_tokens) = Oracle(checkpoint).encode(
        [(instruction, "the river"), ("", instruction + "the river")]
    )
    np.testing.assert_array_equal(tokens, all_tokens)  # the encoder sees the instruction either way
    np.testing.assert_allclose(vector, tokens[5:].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(whole, tokens.mean(axis=0), atol=1e-6)


def test_cut_at_the_checkpoints_length(tmp_path: Path) -> None:
    oracle = Oracle(read_checkpoint(make_checkpoint(tmp_path / "x", max_seq_length=7)))
    ((long, tokens), (short, _)) = oracle.encode([("query", "salt " * 9), ("query", " salt" * 5)])
    assert len(tokens) == 7
    np.testing.assert_array_equal(long, short)  # query + 5 x salt + </s>


def testencoder_is_what_transformers_loads(base_checkpoint: Path) -> None:
    oracle = Oracle(read_checkpoint(base_checkpoint))
    encoder = transformers.T5EncoderModel.from_pretrained(base_checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_checkpoint)
    text = "The boats go out again to look for herring and cod."
    with torch.inference_mode():
        expected = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(oracle.encode([("", text)])[0][1], expected.numpy(), rtol=0, atol=1e-6)


def test_float32_weights_are_not_copied(base_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(base_checkpoint)
    held = {parameter.data_ptr() for parameter in Oracle(checkpoint).encoder.parameters()}
    assert held <= {tensor.data_ptr() for tensor in checkpoint.weights.values()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_computed_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    half = Oracle(read_checkpoint(make_checkpoint(tmp_path / "half", dtype=dtype)))
    full = Oracle(read_checkpoint(make_checkpoint(tmp_path / "full")))
    for (ours, _), (theirs, _) in zip(half.encode(ROWS), full.encode(ROWS), strict=True):
        assert ours.dtype == np.float32
        assert not np.array_equal(ours, theirs)
        np.testing.assert_allclose(ours, theirs, atol=0.02)  # bfloat16 has 8 bits


def test_nothing_is_printed(base_checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Oracle(read_checkpoint(base_checkpoint)).encode(ROWS)
    assert capfd.readouterr() == ("", "")

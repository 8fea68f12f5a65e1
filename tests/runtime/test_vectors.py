"""Precisions, cuts and similarities, beside sentence-transformers' own functions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, quantize_embeddings, truncate_embeddings
from instructor_onnx.vectors import (
    PRECISIONS,
    Form,
    as_floats,
    normalize,
    pairwise_similarities,
    similarities,
    symmetric_ranges,
)

theirs = pytest.importorskip("sentence_transformers.util")
DIM = 20  # no multiple of eight


@pytest.fixture(scope="module")
def model() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu")


@pytest.fixture
def vectors() -> Any:
    return normalize(np.random.default_rng(1).normal(size=(130, DIM)).astype(np.float32))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("ranges", [None, np.stack([np.linspace(-0.5, -0.1, DIM), np.linspace(0.1, 0.5, DIM)])])
def test_quantised_as_sentence_transformers_does(vectors: Any, precision: Any, ranges: Any) -> None:
    ours = quantize_embeddings(vectors, precision, ranges)
    expected = theirs.quantize_embeddings(vectors, precision, ranges)
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)


def test_ranges_of_calibration_embeddings(vectors: Any) -> None:
    ours = quantize_embeddings(vectors[:2], "int8", calibration_embeddings=vectors)
    np.testing.assert_array_equal(ours, theirs.quantize_embeddings(vectors[:2], "int8", calibration_embeddings=vectors))


def test_symmetric_ranges_round_to_the_nearest_step(vectors: Any) -> None:
    scale = 0.004
    codes = quantize_embeddings(vectors, "int8", symmetric_ranges(scale, DIM))
    wanted = np.clip(np.round(vectors.astype(np.float64) / scale), -128, 127)
    assert np.abs(codes - wanted).max() <= 1  # a number between two steps may go to either
    assert (codes != wanted).mean() < 0.001
    assert not quantize_embeddings(np.zeros((1, 3), np.float32), "int8", symmetric_ranges(scale, 3)).any()
    np.testing.assert_array_equal(
        quantize_embeddings(vectors, "uint8", symmetric_ranges(scale, DIM)), codes.astype(int) + 128
    )


@pytest.mark.parametrize(
    ("embeddings", "options", "sentence"),
    [
        ([[0.5]], {"precision": "int4"}, "precision: found 'int4', expected one of 'float32', 'int8'"),
        (np.zeros((1, 8), np.int8), {"precision": "binary"}, "found int8, expected floats"),
        ([[0.5, 0.1]], {"precision": "int8"}, "a single vector tells none"),
        ([[0.5, 0.1]], {"precision": "uint8", "ranges": np.zeros((2, 3))}, r"found \[2, 3\], expected \[2, 2\]"),
    ],
)
def test_what_cannot_be_quantised(embeddings: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quantize_embeddings(embeddings, **options)


def test_ranges_of_a_few_vectors_are_warned_of(vectors: Any, caplog: pytest.LogCaptureFixture) -> None:
    quantize_embeddings(vectors[:5], "int8")
    assert "taken of 5 vectors" in caplog.text


def test_a_cut_vector_has_unit_length_again(vectors: Any) -> None:
    cut = truncate_embeddings(vectors, 7)
    assert cut.shape == (130, 7)
    assert np.linalg.norm(cut, axis=1) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(cut, normalize(vectors[:, :7]))
    np.testing.assert_array_equal(truncate_embeddings(vectors, None), vectors)


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_are_sentence_transformers(vectors: Any, name: Any) -> None:
    function = theirs.SimilarityFunction
    a, b = vectors[:50] * 3, vectors[50:100]
    np.testing.assert_allclose(
        similarities(name, a, b), function.to_similarity_fn(name)(a, b).numpy(), atol=2e-6, rtol=1e-6
    )
    np.testing.assert_allclose(
        pairwise_similarities(name, a, b), function.to_similarity_pairwise_fn(name)(a, b).numpy(), atol=2e-6, rtol=1e-6
    )


def test_codes_compare_as_the_vectors_they_stand_for(vectors: Any) -> None:
    ranges = symmetric_ranges(float(np.abs(vectors).max()) / 127, DIM)
    floats = similarities("cosine", vectors, vectors)
    bytewise: list[Any] = ["int8", "uint8"]
    for precision in bytewise:
        codes = as_floats(quantize_embeddings(vectors, precision, ranges), DIM)
        assert np.abs(similarities("cosine", codes, codes) - floats).max() < 0.02
    signs = np.where(vectors > 0, 1, -1).astype(np.float32)
    packed: list[Any] = ["binary", "ubinary"]
    for precision in packed:
        np.testing.assert_array_equal(as_floats(quantize_embeddings(vectors, precision), DIM), signs)


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_codes_of_a_cut_vector_are_the_first_of_the_whole(precision: Any, vectors: Any) -> None:
    ranges = symmetric_ranges(0.005, DIM)
    whole = Form(DIM, precision, False, ranges)(vectors)
    np.testing.assert_array_equal(Form(8, precision, True, ranges[:, :8])(vectors), whole[:, :8])


class TestEncode:
    TEXTS: ClassVar = [
        ["Represent the sentence: ", text] for text in ("a cat", "the river rises", "", "rates rose " * 40)
    ]

    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("dim", [None, 384, 100, 4096])
    def test_every_precision_and_width(self, model: INSTRUCTOR, precision: Any, dim: int | None) -> None:
        floats = model.encode(self.TEXTS)
        found = model.encode(self.TEXTS, precision=precision, truncate_dim=dim)
        kept = min(dim or 384, 384)
        if precision == "float32":
            expected = floats if kept == 384 else truncate_embeddings(floats, kept)
        else:
            ranges = None if "binary" in precision else model.int8_ranges[:, :kept]
            expected = quantize_embeddings(floats[:, :kept], precision, ranges)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)

    def test_a_row_has_the_same_codes_alone(self, model: INSTRUCTOR) -> None:
        together = model.encode(self.TEXTS, precision="int8")
        for row, codes in zip(self.TEXTS, together, strict=True):
            np.testing.assert_array_equal(model.encode([row], precision="int8")[0], codes)

    def test_few_numbers_of_the_calibrated_range_are_clipped(self, model: INSTRUCTOR) -> None:
        codes = model.encode(self.TEXTS, precision="int8").astype(int)
        assert np.abs(codes).max() > 60  # the range is not far too wide
        assert (np.abs(codes) >= 127).mean() < 0.01

    def test_tensors(self, model: INSTRUCTOR) -> None:
        torch = pytest.importorskip("torch")
        codes = model.encode(self.TEXTS, precision="ubinary", truncate_dim=64, convert_to_tensor=True)
        assert codes.dtype == torch.uint8
        np.testing.assert_array_equal(codes, model.encode(self.TEXTS, precision="ubinary", truncate_dim=64))
        cut = model.encode(self.TEXTS, truncate_dim=64, convert_to_tensor=True)
        np.testing.assert_allclose(cut, model.encode(self.TEXTS, truncate_dim=64), atol=1e-6)
        assert [row.dtype for row in model.encode(self.TEXTS, precision="int8", convert_to_numpy=False)] == [
            torch.int8
        ] * 4

    def test_one_text_and_everything_of_it(self, model: INSTRUCTOR) -> None:
        assert model.encode("a cat", precision="binary").shape == (48,)
        everything = model.encode("a cat", output_value=None, precision="int8", truncate_dim=10)
        assert everything["sentence_embedding"].dtype == np.int8
        assert everything["sentence_embedding"].shape == (10,)
        assert everything["token_embeddings"].dtype == np.float32
        with pytest.raises(ValueError, match="token_embeddings are float32"):
            model.encode("a cat", output_value="token_embeddings", precision="int8")

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"precision": "float16"}, "precision: found 'float16'"),
            ({"truncate_dim": 0}, "truncate_dim: found 0"),
            ({"truncate_dim": True}, "truncate_dim: found True"),
        ],
    )
    def test_bad_options(self, model: INSTRUCTOR, options: Any, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            model.encode(["a cat"], **options)

    def test_an_old_bundle_has_no_range(self, bundle: Path, tmp_path: Path) -> None:
        old = shutil.copytree(bundle, tmp_path / "old")
        manifest = json.loads((old / "manifest.json").read_text())
        for name in ("prompts", "default_prompt_name", "similarity_fn_name", "int8_scale"):
            del manifest[name]
        (old / "manifest.json").write_text(json.dumps(manifest))
        model = INSTRUCTOR(old, device="cpu")
        assert model.encode("a", precision="binary").shape == (3,)
        with pytest.raises(ValueError, match="Export the checkpoint again"):
            model.encode("a", precision="int8")

    def test_the_model_may_cut_by_itself(self) -> None:
        model = INSTRUCTOR("instructor-mini", truncate_dim=32, device="cpu")
        assert model.encode("a").shape == (32,)
        assert model.encode("a", truncate_dim=16).shape == (16,)
        assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 32
        with model.truncate_embeddings(None):
            assert model.encode("a").shape == (384,)
        assert model.encode("a").shape == (32,)

    def test_similarity_of_mixed_precisions(self, model: INSTRUCTOR) -> None:
        question, texts = model.encode("a cat"), model.encode(self.TEXTS)
        floats = model.similarity(question, texts)
        bytewise: list[Any] = ["int8", "uint8"]
        for precision in bytewise:
            assert (
                np.abs(model.similarity(question, model.encode(self.TEXTS, precision=precision)) - floats).max() < 0.01
            )
        packed: list[Any] = ["binary", "ubinary"]
        for precision in packed:
            signs = model.similarity(question, model.encode(self.TEXTS, precision=precision))
            assert signs[0].argmax() == floats[0].argmax()
        with pytest.raises(ValueError, match="vectors of 384 and of 100 numbers"):
            model.similarity(question, texts[:, :100])

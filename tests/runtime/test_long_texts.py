"""Long texts: where they are cut, and that every vector is the one that `encode` gives for the part it is of."""

from __future__ import annotations

import itertools
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instructor_onnx import INSTRUCTOR, BundleError
from instructor_onnx import long_texts as subject
from instructor_onnx.inputs import Row
from instructor_onnx.long_texts import Chunk, Cuts, Window, windows
from instructor_onnx.tokens import Tokenizer

INSTRUCTION = "Represent the sentence: "
SENTENCES = (
    "The river rises in the hills, turns east at the old mill and reaches the sea after ninety kilometres. ",
    "Every winter the harbour freezes; every spring the boats go out again to look for herring and cod.\n\n",
    "Bread needs flour, water, salt and time.  The oven needs wood, and the baker needs sleep. ",
)
LONG = "".join(SENTENCES * 30)  # 4,500 tokens of the small vocabulary
SHORT = "the theory of sets"
DIM = 24
# Words, a word without end, characters that become many tokens or none, an added token, spaces of every kind.
PIECES = (
    "river ",
    "sea, ",
    "the",
    "x" * 70,
    "ﬁ½" * 9,
    "é",
    "水" * 30,
    "</s>",
    " \n\t ",
    "\u200b",
    " " * 700,
    "\xa0",
    "! ",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_files: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_files / "tokenizer.json", vocab_size=10_000, eos_token_id=1)


@pytest.fixture(scope="module", params=["native", "onnxruntime"])
def model(request: pytest.FixtureRequest, bundle: Path) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, variant="fp32", device="cpu", engine=request.param)


def spread(tokenizer: Tokenizer, row: Row, most: int | None = None, overlap: int = 0, limit: int = 64) -> list[Window]:
    return list(windows(tokenizer, row, Cuts("chunks", most, overlap), limit))


class TestWindows:
    @settings(max_examples=150, deadline=None)
    @given(
        text=TEXTS,
        instruction=st.sampled_from(["", " ", INSTRUCTION, "Represent the", "query"]),
        most=st.sampled_from([None, 3, 20]),
        overlap=st.sampled_from([0, 2, 9]),
    )
    def test_every_word_is_in_one_and_none_is_longer_than_the_model_takes(
        self, tokenizer: Tokenizer, text: str, instruction: str, most: int | None, overlap: int
    ) -> None:
        found = spread(tokenizer, Row(instruction, text), most, overlap)
        covered = np.zeros(len(text), dtype=bool)
        for window in found:
            assert 0 <= window.start <= window.end <= len(text)
            covered[window.start : window.end] = True
        missing = "".join(character for character, there in zip(text, covered, strict=True) if not there)
        assert missing.strip().strip("\u200b") == ""
        starts = [window.start for window in found]
        assert starts == sorted(set(starts))
        tokens = tokenizer([Row(instruction, text[window.start : window.end]) for window in found], 64)
        assert tokens.truncated == 0

    def test_a_text_that_fits_is_one(self, tokenizer: Tokenizer) -> None:
        (window,) = spread(tokenizer, Row(INSTRUCTION, f"  {SHORT}\n"))
        assert window[:2] == (2, 2 + len(SHORT))
        assert spread(tokenizer, Row(INSTRUCTION, " \n"))[0][:2] == (0, 0)
        assert len(spread(tokenizer, Row("", ""))) == 1

    def test_a_text_that_just_fits_is_one(self, tokenizer: Tokenizer) -> None:
        text = LONG[:300].strip()
        exactly = int(tokenizer([Row(INSTRUCTION, text)], 512).lengths[0])
        assert len(spread(tokenizer, Row(INSTRUCTION, text), limit=exactly)) == 1
        assert len(spread(tokenizer, Row(INSTRUCTION, text), limit=exactly - 1)) == 2

    def test_words_are_whole_and_windows_full(self, tokenizer: Tokenizer) -> None:
        found = spread(tokenizer, Row(INSTRUCTION, LONG))
        assert all(LONG[window.end].isspace() and not LONG[window.end - 1].isspace() for window in found[:-1])
        assert all(LONG[window.start - 1].isspace() for window in found[1:])
        lengths = tokenizer([Row(INSTRUCTION, LONG[window.start : window.end]) for window in found], 512).lengths
        assert lengths.max() <= 64
        assert lengths[:-1].min() > 48

    def test_windows_follow_each_other_and_count_their_tokens(self, tokenizer: Tokenizer) -> None:
        found = spread(tokenizer, Row(INSTRUCTION, LONG), most=20)
        assert all(not LONG[a.end : b.start].strip() for a, b in itertools.pairwise(found))
        assert max(window.tokens for window in found) <= 20
        assert sum(window.tokens for window in found) == len(tokenizer.places(Row("", LONG), 10_000).starts)

    def test_windows_repeat_the_end_of_the_one_before(self, tokenizer: Tokenizer) -> None:
        found = spread(tokenizer, Row(INSTRUCTION, LONG), most=40, overlap=15)
        for before, after in itertools.pairwise(found):
            common = LONG[after.start : before.end]
            assert 0 < after.repeated <= 15
            assert after.repeated == len(tokenizer.places(Row("", common), 512).starts)
        total = sum(window.tokens - window.repeated for window in found)
        assert total == len(tokenizer.places(Row("", LONG), 10_000).starts)

    def test_more_overlap_than_half_a_window_is_half(self, tokenizer: Tokenizer) -> None:
        assert spread(tokenizer, Row("", LONG), 20, 1000) == spread(tokenizer, Row("", LONG), 20, 10)

    def test_an_instruction_that_leaves_no_room_is_cut_as_ever(self, tokenizer: Tokenizer) -> None:
        (window,) = spread(tokenizer, Row(INSTRUCTION * 40, LONG))
        assert LONG[window.start : window.end] == LONG.strip()

    def test_a_text_without_a_space_is_cut_between_tokens(self, tokenizer: Tokenizer) -> None:
        text = "river" * 500
        found = spread(tokenizer, Row(INSTRUCTION, text), overlap=7)
        assert len(found) > 5
        assert (found[0].start, found[-1].end) == (0, len(text))
        assert all(a.end == b.start for a, b in itertools.pairwise(found))


class TestEncode:
    @pytest.mark.parametrize("options", [{}, {"tokens_per_chunk": 50}, {"tokens_per_chunk": 50, "chunk_overlap": 12}])
    def test_a_chunks_vector_is_that_of_its_text(self, model: INSTRUCTOR, options: dict[str, Any]) -> None:
        rows = [[INSTRUCTION, LONG], ["", SHORT], [INSTRUCTION, ""]]
        found = model.encode(rows, long_texts="chunks", **options)
        assert [len(chunks) > 1 for chunks in found] == [True, False, False]
        for (instruction, text), chunks in zip(rows, found, strict=True):
            assert all(isinstance(chunk, Chunk) and chunk.embedding.dtype == np.float32 for chunk in chunks)
            alone = model.encode([[instruction, text[chunk.start : chunk.end]] for chunk in chunks])
            assert np.array_equal([chunk.embedding for chunk in chunks], alone)

    @pytest.mark.parametrize("how", ["mean", "chunks", "late_chunks"])
    def test_short_texts_have_the_same_bits(self, model: INSTRUCTOR, how: Any) -> None:
        rows = [[INSTRUCTION, SHORT], ["", ""], ["a", "b"], ["query", " hi there "], "Represent"]
        found = model.encode([*rows, [INSTRUCTION, LONG]], long_texts=how)[: len(rows)]
        if how != "mean":
            assert [len(chunks) for chunks in found] == [1] * len(rows)
            found = [chunks[0].embedding for chunks in found]
        assert np.array_equal(found, model.encode(rows))

    def test_the_mean_is_weighted_by_the_tokens_that_windows_add(self, model: INSTRUCTOR) -> None:
        cuts = Cuts("mean", 200, 50)
        found = list(windows(model.tokenizer, Row(INSTRUCTION, LONG), cuts, 512))
        vectors = model.encode([[INSTRUCTION, LONG[window.start : window.end]] for window in found])
        expected = sum((w.tokens - w.repeated) * vector for w, vector in zip(found, vectors, strict=True))
        (mean,) = model.encode([[INSTRUCTION, LONG]], long_texts="mean", tokens_per_chunk=200, chunk_overlap=50)
        assert mean == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
        assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
    def test_late_chunks_pool_what_encode_pools(self, bundle: Path, variant: str) -> None:
        model = INSTRUCTOR(bundle, variant=variant, device="cpu")
        text = LONG[:900]
        (chunks,) = model.encode([[INSTRUCTION, text]], long_texts="late_chunks", tokens_per_chunk=40)
        (detail,) = model.encode([[INSTRUCTION, text]], output_value=None)
        assert len(chunks) > 3
        dense = subject._dense(model)
        assert dense is not None
        ends = [len(model.tokenizer.places(Row(INSTRUCTION, text[: chunk.end]), 511).starts) for chunk in chunks]
        ends[-1] += 1  # </s>
        first = int(detail["attention_mask"].argmax())
        whole = detail["token_embeddings"][first:].mean(axis=0) @ dense
        assert detail["sentence_embedding"] == pytest.approx(whole / np.linalg.norm(whole), abs=1e-5)
        for begin, end, chunk in zip([first, *ends], ends, chunks, strict=False):
            pooled = detail["token_embeddings"][begin:end].mean(axis=0) @ dense
            assert chunk.embedding == pytest.approx(pooled / np.linalg.norm(pooled), abs=1e-5)

    def test_one_late_chunk_is_the_vector_itself(self, model: INSTRUCTOR) -> None:
        (chunks,) = model.encode([[INSTRUCTION, LONG[:900]]], long_texts="late_chunks", tokens_per_chunk=500)
        assert len(chunks) == 1
        assert np.array_equal(chunks[0].embedding, model.encode([[INSTRUCTION, LONG[:900]]])[0])

    @pytest.mark.parametrize("overlap", [0, 60])
    def test_late_chunks_cover_a_text_once(self, model: INSTRUCTOR, overlap: int) -> None:
        (chunks,) = model.encode(
            [[INSTRUCTION, LONG]], long_texts="late_chunks", tokens_per_chunk=100, chunk_overlap=overlap
        )
        assert chunks[0].start == 0
        assert chunks[-1].end == len(LONG.rstrip())
        assert all(a.end <= b.start and not LONG[a.end : b.start].strip() for a, b in itertools.pairwise(chunks))

    def test_late_chunks_see_the_rest_of_the_window(self, model: INSTRUCTOR) -> None:
        (late,) = model.encode([[INSTRUCTION, LONG[:900]]], long_texts="late_chunks", tokens_per_chunk=60)
        (alone,) = model.encode([[INSTRUCTION, LONG[:900]]], long_texts="chunks", tokens_per_chunk=60)
        assert [chunk[:2] for chunk in late] == [chunk[:2] for chunk in alone]
        cosines = [float(a.embedding @ b.embedding) for a, b in zip(late, alone, strict=True)]
        assert all(0.5 < cosine < 1 - 1e-6 for cosine in cosines)

    @pytest.mark.parametrize("how", ["mean", "chunks", "late_chunks"])
    def test_batches_change_nothing(self, bundle: Path, how: Any) -> None:
        model = INSTRUCTOR(bundle, variant="int8", engine="native")
        rows = [[INSTRUCTION, LONG], [INSTRUCTION, LONG[70:3000]], ["", LONG[200:]], SHORT]
        together = model.encode(rows, long_texts=how, tokens_per_chunk=90, batch_size=32)
        for row, expected in zip(rows, together, strict=True):
            (alone,) = model.encode([row], long_texts=how, tokens_per_chunk=90, batch_size=1)
            for one, other in zip(alone, expected, strict=True):
                assert np.array_equal(one, other) if how == "mean" else np.array_equal(one.embedding, other.embedding)

    def test_return_forms(self, model: INSTRUCTOR) -> None:
        assert model.encode([], long_texts="mean").shape == (0, DIM)
        assert model.encode([], long_texts="chunks") == []
        assert model.encode(LONG, long_texts="mean").shape == (DIM,)
        one = model.encode(LONG, long_texts="chunks")
        assert isinstance(one[0], Chunk)
        for stacked in (True, False):
            (tensors,) = model.encode([LONG], long_texts="chunks", convert_to_tensor=stacked, convert_to_numpy=False)
            assert all(isinstance(chunk.embedding, torch.Tensor) for chunk in tensors)
            assert np.array_equal([chunk.embedding.numpy() for chunk in tensors], [chunk.embedding for chunk in one])
        mean = model.encode([LONG, SHORT], long_texts="mean", convert_to_tensor=True)
        assert isinstance(mean, torch.Tensor)
        assert mean.shape == (2, DIM)

    def test_forms_of_vectors(self, model: INSTRUCTOR) -> None:
        whole = model.encode([LONG], long_texts="mean", tokens_per_chunk=60)
        assert np.array_equal(
            model.encode([LONG], long_texts="mean", tokens_per_chunk=60, precision="ubinary", truncate_dim=16),
            np.packbits(whole[:, :16] > 0, axis=-1),
        )
        (chunks,) = model.encode([LONG], long_texts="chunks", truncate_dim=8)
        texts = [LONG[chunk.start : chunk.end] for chunk in chunks]
        assert np.array_equal([chunk.embedding for chunk in chunks], model.encode(texts, truncate_dim=8))

    @pytest.mark.parametrize("how", ["mean", "chunks", "late_chunks"])
    def test_a_models_own_truncate_dim(self, bundle: Path, how: Any) -> None:
        narrow, model = INSTRUCTOR(bundle, variant="fp32", truncate_dim=8), INSTRUCTOR(bundle, variant="fp32")
        found = narrow.encode([LONG, SHORT], long_texts=how)
        expected = model.encode([LONG, SHORT], long_texts=how, truncate_dim=8)
        if how == "mean":
            assert np.array_equal(found, expected)
            return
        for one, other in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
            assert one.embedding.shape == (8,)
            assert np.array_equal(one.embedding, other.embedding)

    def test_a_pool_of_devices(self, model: INSTRUCTOR) -> None:
        pool = model.start_multi_process_pool(["cpu", "cpu"])
        rows = [[INSTRUCTION, LONG], SHORT, LONG[:2000]]
        found = model.encode(rows, pool=pool, chunk_size=1, long_texts="chunks")
        expected = model.encode(rows, long_texts="chunks")
        assert [[chunk[:2] for chunk in row] for row in found] == [[chunk[:2] for chunk in row] for row in expected]

    def test_a_model_without_dense_and_normalize(self, family_bundle: Path) -> None:
        model = INSTRUCTOR(family_bundle, variant="fp32", device="cpu")
        late = model.encode([[INSTRUCTION, LONG[:900]]], long_texts="late_chunks", tokens_per_chunk=60)[0]
        mean = model.encode([[INSTRUCTION, LONG]], long_texts="mean")
        normal = model.manifest.model.normalize
        for vector in (*(chunk.embedding for chunk in late), *mean):
            assert vector.shape == (model.get_sentence_embedding_dimension(),)
            assert (abs(np.linalg.norm(vector) - 1) < 1e-5) == normal

    def test_nothing_is_said_of_cuts(self, model: INSTRUCTOR, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            for how in ("mean", "chunks", "late_chunks"):
                model.encode([[INSTRUCTION, LONG]], long_texts=how)
        assert caplog.messages == []

    def test_what_is_cut_all_the_same_is_told(self, model: INSTRUCTOR, caplog: pytest.LogCaptureFixture) -> None:
        model.encode([SHORT, [INSTRUCTION * 200, LONG], LONG, ["environm", "ent"]], long_texts="chunks")
        assert "1 of 4 texts were cut" in caplog.text
        assert "row 3:" in caplog.text

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"long_texts": "max"}, "long_texts: found 'max', expected one of 'cut', 'mean', 'chunks', 'late_chunks'"),
            ({"long_texts": "chunks", "tokens_per_chunk": 0}, "tokens_per_chunk: found 0"),
            ({"long_texts": "chunks", "tokens_per_chunk": 1.5}, "tokens_per_chunk: found 1.5"),
            ({"long_texts": "chunks", "chunk_overlap": -1}, "chunk_overlap: found -1, expected a whole number from 0"),
            ({"long_texts": "chunks", "chunk_overlap": None}, "chunk_overlap: found None"),
            ({"tokens_per_chunk": 100}, "need long_texts="),
            ({"long_texts": "mean", "output_value": "token_embeddings"}, "leave output_value"),
        ],
    )
    def test_mistakes_are_named(self, model: INSTRUCTOR, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            model.encode([SHORT], **options)

    def test_a_file_without_the_denses_weights(self, model: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subject, "read_initializers", lambda path: {})
        with pytest.raises(BundleError, match=r"dense\.linear\.weight is missing"):
            model.encode([SHORT], long_texts="late_chunks")


@pytest.mark.parametrize("how", ["mean", "chunks", "late_chunks"])
@pytest.mark.slow
def test_memory_does_not_grow_with_a_text(how: Any) -> None:
    """tracemalloc counts Python's and numpy's memory: the text's parts, and the tokens' vectors of late chunks."""
    model = INSTRUCTOR("instructor-mini")
    text = LONG * 20  # 90 windows

    def peak(text: str) -> int:
        tracemalloc.start()
        model.encode([text], long_texts=how, batch_size=2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(text)
    vectors = 0 if how == "mean" else 4 * 384 * len(model.encode([text], long_texts=how, batch_size=2)[0])
    windows = 4 * 384 * 90
    assert peak(2 * text) - peak(text) < 3 * max(vectors, windows) + 100_000

"""The untrained student: its table reads back as the teacher's vectors, its vocabulary is T5's kind."""

from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_training.start import NULL, Shape, start_student, static_table
from instructor_onnx_training.tokens import make_batch
from instructor_onnx_training.vocabulary import train_vocabulary

TEXTS = [f"the {a} {b} of number {n}" for n, a in enumerate(("cat", "river", "theory")) for b in ("runs", "sits", "is")]


class FakeTeacher:
    """384 numbers that depend on a text's letters."""

    def encode(self, texts: list[str], *, progress: bool = False) -> np.ndarray:
        return np.stack([np.random.default_rng(list(text.encode())).normal(size=384) for text in texts]).astype("f4")


def test_the_table_holds_weight_times_direction_and_every_row_is_as_long() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 24)).astype(np.float32)
    weights = np.linspace(0, 1, 50)
    table, dense = static_table(vectors, weights, d_model=24 + NULL)  # room for every component: nothing is lost
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), np.sqrt(24 + NULL), rtol=1e-5)
    centred = vectors - vectors.mean(0)
    directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    read = table @ dense.T / np.sqrt(24 + NULL)
    np.testing.assert_allclose(read, directions * weights[:, None], atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_vocabulary_of_t5s_kind_and_a_student_on_it(tmp_path: Path) -> None:
    tokenizer = train_vocabulary(TEXTS * 5, tmp_path / "vocabulary", size=24)
    assert [tokenizer.id_to_token(i) for i in range(3)] == ["<pad>", "</s>", "<unk>"]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "vocabulary/spiece.model"))
    for text in [*TEXTS, "The  CAT\tsits", "ﬁne", "", "  a  "]:
        assert tokenizer.encode(text).ids == [*pieces.encode(text), 1]
    again = train_vocabulary(TEXTS * 5, tmp_path / "again", size=24)
    assert again.to_str() == tokenizer.to_str()
    shape = Shape(d_model=32, d_kv=8, num_heads=2, num_layers=2, d_ff=16)
    student = start_student(tokenizer, FakeTeacher(), TEXTS, shape, seed=0)  # type: ignore[arg-type]
    rows = Tokenizer.parse(tokenizer.to_str().encode(), tmp_path, vocab_size=24, eos_token_id=1)
    with torch.inference_mode():
        vectors = student(make_batch(rows, [("", text) for text in TEXTS], max_length=16))
    assert torch.linalg.norm(vectors, dim=1).numpy() == pytest.approx(1, rel=1e-5)

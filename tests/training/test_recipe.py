"""The whole of instructor-mini on three toy sources and a teacher of random numbers: every stage, and what resumes."""

from dataclasses import replace
from pathlib import Path

import instructor_onnx_training.teacher as teaching
import numpy as np
import pytest
from instructor_onnx_training.model import load_checkpoint
from instructor_onnx_training.recipe import DISTIL, INSTRUCT, Recipe, make_mini
from instructor_onnx_training.start import Shape
from instructor_onnx_training.teacher import taught, teach


class FakeTeacher:
    """384 numbers that depend on a text's letters; counts its calls."""

    calls = 0

    @classmethod
    def load(cls, name: str) -> "FakeTeacher":
        return cls()

    def encode(self, texts: list[str], *, progress: bool = False) -> np.ndarray:
        type(self).calls += 1
        return np.stack([np.random.default_rng(list(text.encode())).normal(size=384) for text in texts]).astype("f4")


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> type[FakeTeacher]:
    monkeypatch.setattr("instructor_onnx_training.teacher.Teacher", FakeTeacher)
    monkeypatch.setattr("instructor_onnx_training.recipe.Teacher", FakeTeacher)
    monkeypatch.setattr(FakeTeacher, "calls", 0)
    return FakeTeacher


def test_from_pairs_to_a_checkpoint(data: Path, teacher: type[FakeTeacher], tmp_path: Path) -> None:
    recipe = Recipe(
        vocabulary_size=120,
        shape=Shape(d_model=32, d_kv=8, num_heads=2, num_layers=2, d_ff=16),
        distil=replace(DISTIL, steps=3, teach_batch_size=8),
        instruct=replace(INSTRUCT, steps=5, batch_size=4, teach_batch_size=8),
    )
    work, out = tmp_path / "work", tmp_path / "mini"
    make_mini(data, work, out, recipe, card="# instructor-mini\n")
    weights = (out / "model.safetensors").read_bytes()
    assert load_checkpoint(out).dense.out_features == 384
    assert (out / "spiece.model").is_file()
    assert (out / "README.md").read_text() == "# instructor-mini\n"
    calls = teacher.calls
    make_mini(data, work, tmp_path / "again", recipe)
    assert teacher.calls == calls  # the stages that were done are taken as they are
    assert (tmp_path / "again/model.safetensors").read_bytes() == weights
    make_mini(data, tmp_path / "afresh", tmp_path / "third", recipe)
    assert (tmp_path / "third/model.safetensors").read_bytes() == weights


def test_teaching_keeps_what_is_there(
    teacher: type[FakeTeacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "SHARD", 4)
    texts = [f"text {n}" for n in range(10)]
    teach(texts, tmp_path / "vectors", "a-teacher", progress=False)
    assert teacher.calls == 3
    (tmp_path / "vectors/vectors-002.npy").unlink()  # as if killed before the last shard
    kept, vectors = taught(tmp_path / "vectors")
    assert kept == texts[:8]
    assert vectors.shape == (8, 384)
    assert vectors.dtype == np.dtype(np.float16)
    teach(texts, tmp_path / "vectors", "a-teacher", progress=False)
    assert teacher.calls == 4
    assert len(taught(tmp_path / "vectors")[0]) == 10
    with pytest.raises(ValueError, match="other texts"):
        teach(texts[1:], tmp_path / "vectors", "a-teacher", progress=False)
    with pytest.raises(ValueError, match="another teacher"):
        teach(texts, tmp_path / "vectors", "someone/else", progress=False)

"""Vectors on disk, and the checkpoint in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines.engine import ENGINES
from instructor_onnx_export.verify import probe_rows

from benchmarks.quality.embedders import BundleEmbedder, Column
from benchmarks.quality.torch_model import TorchEmbedder

Float32 = npt.NDArray[np.float32]


class Counting:
    """Embeds a row as (length of the instruction, length of the text), and keeps what it was asked."""

    def __init__(self, identity: str = "counting") -> None:
        self.identity = identity
        self.asked: list[str] = []

    def encode(self, rows: list[tuple[str, str]]) -> Float32:
        self.asked += [text for _, text in rows]
        return np.array([[len(instruction), len(text)] for instruction, text in rows], dtype=np.float32)


def test_equal_texts_are_embedded_once_and_come_back_in_order(tmp_path: Path) -> None:
    embedder = Counting()
    vectors = Column("c", embedder, tmp_path).vectors("in", ["bbb", "a", "bbb", "cc"], "task")
    assert vectors.tolist() == [[2, 3], [2, 1], [2, 3], [2, 2]]
    assert embedder.asked == ["bbb", "a", "cc"]


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.quality.embedders.BLOCK", 2)

    class Killed(Counting):
        def encode(self, rows: list[tuple[str, str]]) -> Float32:
            if rows[0][1] == "3":
                raise KeyboardInterrupt
            return super().encode(rows)

    texts = ["1", "2", "3", "4", "5"]
    with pytest.raises(KeyboardInterrupt):
        Column("c", Killed(), tmp_path).vectors("in", texts, "task")
    embedder = Counting()
    assert len(Column("c", embedder, tmp_path).vectors("in", texts, "task")) == 5
    assert embedder.asked == ["3", "4", "5"]


def test_another_instruction_or_model_is_another_vector(tmp_path: Path) -> None:
    first = Counting()
    Column("c", first, tmp_path).vectors("ab", ["c"], "task")
    Column("c", first, tmp_path).vectors("a", ["bc"], "task")
    other = Counting("other")
    Column("c", other, tmp_path).vectors("ab", ["c"], "task")
    assert first.asked == ["c", "bc"]
    assert other.asked == ["c"]


def test_the_batched_checkpoint_computes_what_the_bundle_does(base_checkpoint: Path, bundle: Path) -> None:
    # every odd row that the exporter verifies with, padded and masked in batches here
    rows = [(row.instruction, row.text) for row in probe_rows(64)]
    expected = INSTRUCTOR(bundle, variant="fp32").encode(rows)
    found = TorchEmbedder.load(base_checkpoint, 1).encode(rows)
    assert np.abs(found - expected).max() < 1e-5  # the two add in another order


def test_the_encoder_may_lie_in_a_folder_of_its_own(base_checkpoint: Path, tmp_path: Path) -> None:
    from benchmarks.quality.torch_model import _encoder_folder

    assert _encoder_folder(base_checkpoint) == base_checkpoint
    inner = tmp_path / "0_Transformer"
    inner.mkdir()
    inner.joinpath("config.json").write_text('{"d_model": 8}')
    tmp_path.joinpath("config.json").write_text("{}")
    assert _encoder_folder(tmp_path) == inner
    inner.joinpath("config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        _encoder_folder(tmp_path)


def test_kernels_compiled_anew_make_other_vectors(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = pytest.importorskip("instructor_onnx.engines.kernels", exc_type=ImportError)

    def identities() -> list[str]:
        return [BundleEmbedder(bundle, "int8", engine, num_threads=1).identity for engine in ENGINES]

    first = identities()
    (tmp_path / "other.so").write_bytes(b"compiled anew")
    monkeypatch.setattr(kernels._library, "_name", str(tmp_path / "other.so"))
    assert [old == new for old, new in zip(first, identities(), strict=True)] == [name != "native" for name in ENGINES]

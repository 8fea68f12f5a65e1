"""INSTRUCTOR: loading, and encode() with its eight parameters, its return forms and its promises."""

from __future__ import annotations

import builtins
import dataclasses
import itertools
import json
import logging
import re
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instructor_onnx import INSTRUCTOR, BundleError, Manifest, loading
from instructor_onnx.engines.devices import Device
from instructor_onnx.inputs import Row
from instructor_onnx.model import Losses
from instructor_onnx_export.variants import VARIANTS

ROWS = [
    ["Represent the Science title: ", "the theory of sets"],
    ["Represent the sentence: ", "a"],
    ["", "no instruction at all, and a rather longer text about the river that rises in the hills"],
    ["Represent the Financial statement: ", "Interest rates rose by 0.25 per cent on Wednesday."],
    ["query", "hi there"],
    ["Represent the sentence: ", ""],
]
DIM, D_MODEL = 24, 32


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest, bundle: Path) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, variant=request.param, device="cpu")


@pytest.fixture(scope="module")
def fp32(bundle: Path) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, device="cpu")


@pytest.fixture(scope="module")
def int8(bundle: Path) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, variant="int8", device="cpu")


class TestReturnForms:
    def test_rows_give_a_matrix(self, model: INSTRUCTOR) -> None:
        vectors = model.encode(ROWS)
        assert vectors.shape == (len(ROWS), DIM)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)

    def test_one_string_gives_a_vector(self, model: INSTRUCTOR) -> None:
        assert model.encode("the sea").shape == (DIM,)
        assert np.array_equal(model.encode("the sea"), model.encode(["the sea"])[0])
        assert model.encode("the sea", convert_to_tensor=True).shape == (DIM,)

    def test_nothing_gives_no_rows(self, model: INSTRUCTOR) -> None:
        assert model.encode([]).shape == (0, DIM)
        assert model.encode([], convert_to_tensor=True).shape == (0, DIM)
        assert model.encode([], convert_to_numpy=False) == []
        assert model.encode([], output_value="token_embeddings") == []
        assert model.encode([], output_value=None) == []

    def test_tensors(self, model: INSTRUCTOR) -> None:
        expected = model.encode(ROWS)
        stacked = model.encode(ROWS, convert_to_tensor=True)  # wins over convert_to_numpy
        assert isinstance(stacked, torch.Tensor)
        assert np.array_equal(stacked.numpy(), expected)
        listed = model.encode(ROWS, convert_to_numpy=False)
        assert isinstance(listed, list)
        assert all(isinstance(vector, torch.Tensor) for vector in listed)
        assert np.array_equal(torch.stack(listed).numpy(), expected)

    def test_token_embeddings(self, model: INSTRUCTOR) -> None:
        found = model.encode(ROWS, output_value="token_embeddings")
        lengths = model.tokenize(ROWS)["attention_mask"].sum(axis=1)
        assert [array.shape for array in found] == [(length, D_MODEL) for length in lengths]
        tensors = model.encode(ROWS, output_value="token_embeddings", convert_to_tensor=True)
        assert all(np.array_equal(tensor.numpy(), array) for tensor, array in zip(tensors, found, strict=True))

    def test_everything(self, model: INSTRUCTOR) -> None:
        details = model.encode(ROWS, output_value=None)
        tokens = model.tokenize(ROWS)
        vectors = model.encode(ROWS)
        for row, detail in enumerate(details):
            length = tokens["attention_mask"][row].sum()
            assert detail["input_ids"].tolist() == tokens["input_ids"][row, :length].tolist()
            assert detail["attention_mask"].tolist() == tokens["pooling_mask"][row, :length].tolist()
            assert detail["token_embeddings"].shape == (length, D_MODEL)
            assert np.allclose(detail["sentence_embedding"], vectors[row], atol=1e-6)

    def test_the_mean_is_over_the_pooling_mask(self, bundle: Path, fp32: INSTRUCTOR, base_checkpoint: Path) -> None:
        """The vector, computed once more from the token embeddings and the checkpoint's Dense."""
        from safetensors.numpy import load_file

        dense = load_file(base_checkpoint / "2_Dense/model.safetensors")["linear.weight"]
        for detail in fp32.encode(ROWS, output_value=None):
            mask = detail["attention_mask"][:, None]
            pooled = (detail["token_embeddings"] * mask).sum(axis=0) / mask.sum()
            vector = dense @ pooled
            assert np.allclose(vector / np.linalg.norm(vector), detail["sentence_embedding"], atol=1e-5)


def test_a_manifest_that_says_another_width(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    manifest = json.loads((tmp_path / "b/manifest.json").read_text(encoding="utf-8"))
    manifest["model"]["embedding_dim"] = DIM + 1
    (tmp_path / "b/manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    model = INSTRUCTOR(tmp_path / "b", variant="fp32", device="cpu")
    with pytest.raises(BundleError, match=rf"sentence_embedding .* by the manifest float32 \(1, {DIM + 1}\)"):
        model.encode(["a"])


class TestPromises:
    def test_every_form_of_a_row_gives_the_same(self, model: INSTRUCTOR) -> None:
        expected = model.encode(ROWS)
        forms: list[Any] = [
            tuple(tuple(row) for row in ROWS),
            [[*row, 0] for row in ROWS],
            [{"instruction": instruction, "text": text} for instruction, text in ROWS],
            (row for row in ROWS),
            np.array(ROWS, dtype=object),
        ]
        for form in forms:
            assert np.array_equal(model.encode(form), expected)

    def test_plain_strings_have_no_instruction(self, model: INSTRUCTOR) -> None:
        assert np.array_equal(model.encode(["the sea", "a"]), model.encode([["", "the sea"], ["", "a"]]))

    @settings(max_examples=40, deadline=None)
    @given(order=st.permutations(range(len(ROWS))), batch_size=st.integers(1, 9), split=st.integers(0, len(ROWS)))
    def test_int8_in_any_order_batch_and_split(
        self, int8: INSTRUCTOR, order: list[int], batch_size: int, split: int
    ) -> None:
        expected = np.stack([int8.encode([row])[0] for row in ROWS])
        shuffled = [ROWS[row] for row in order]
        together = int8.encode(shuffled, batch_size=batch_size)
        assert np.array_equal(together, expected[order])
        parts = np.concatenate([int8.encode(shuffled[:split]), int8.encode(shuffled[split:])])
        assert np.array_equal(parts, expected[order])

    @settings(max_examples=25, deadline=None)
    @given(order=st.permutations(range(len(ROWS))), batch_size=st.integers(1, 9), token_budget=st.integers(1, 300))
    def test_fp32_order_is_restored(
        self, bundle: Path, fp32: INSTRUCTOR, order: list[int], batch_size: int, token_budget: int
    ) -> None:
        expected = np.stack([fp32.encode([row])[0] for row in ROWS])
        other = INSTRUCTOR(bundle, device="cpu", token_budget=token_budget)
        found = other.encode([ROWS[row] for row in order], batch_size=batch_size)
        assert np.allclose(found, expected[order], atol=1e-6)

    @pytest.mark.parametrize(
        "options", [{}, {"truncate_dim": 8}, {"precision": "int8"}, {"precision": "binary"}], ids=str
    )
    def test_few_rows_at_once_as_in_several_runs(self, int8: INSTRUCTOR, options: dict[str, Any]) -> None:
        at_once, apart = int8.encode(ROWS, **options), int8.encode(ROWS, batch_size=2, **options)
        assert at_once.dtype == apart.dtype
        np.testing.assert_array_equal(at_once, apart)

    def test_few_rows_past_the_token_budget_are_several_runs(
        self, bundle: Path, int8: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = INSTRUCTOR(bundle, variant="int8", device="cpu", token_budget=24)
        runs = []
        embed = model.engine.sentence_embeddings

        def watched(tokens: Any, rows: Any) -> Any:
            runs.append(tokens.lengths[rows].tolist())
            return embed(tokens, rows)

        monkeypatch.setattr(model.engine, "sentence_embeddings", watched)
        np.testing.assert_array_equal(model.encode(ROWS), int8.encode(ROWS))
        assert len(runs) > 1
        assert all(len(lengths) * max(lengths) <= 24 or len(lengths) == 1 for lengths in runs)

    def test_texts_of_any_unicode(self, int8: INSTRUCTOR) -> None:
        @settings(max_examples=50, deadline=None)
        @given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=60)), max_size=6))
        def check(rows: list[tuple[str, str]]) -> None:
            vectors = int8.encode(rows)
            assert vectors.shape == (len(rows), DIM)
            norms = np.linalg.norm(vectors, axis=1)
            assert np.all(np.isclose(norms, 1, atol=1e-5) | (norms == 0))

        check()

    def test_from_many_threads(self, int8: INSTRUCTOR) -> None:
        expected = int8.encode(ROWS)
        wrong: list[int] = []

        def work(number: int) -> None:
            rows = ROWS[number % len(ROWS) :] + ROWS[: number % len(ROWS)]
            for _ in range(5):
                if not np.array_equal(int8.encode(rows), np.roll(expected, -(number % len(ROWS)), axis=0)):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_all_masked_rows_are_zero_and_named(self, model: INSTRUCTOR, caplog: pytest.LogCaptureFixture) -> None:
        # "environment" is one token in the small vocabulary, "environm" is several: they cover all of it.
        rows = [ROWS[0], ["the river rises", ""], ["environm", "ent"]]
        starts = [model.tokenize([row])["pooling_mask"].sum() for row in rows]
        with caplog.at_level(logging.WARNING, "instructor_onnx"):
            vectors = model.encode(rows)
        zero = [row for row, count in enumerate(starts) if count == 0]
        assert zero == [2]
        assert not vectors[2].any()
        assert vectors[:2].any(axis=1).all()
        assert [record.message for record in caplog.records if "all zeros" in record.message] == [
            "row 2: the instruction covers every token, nothing is left to pool and the vector is all zeros; "
            "end the instruction with a colon and a space."
        ]

    def test_cut_texts_are_reported_once(self, model: INSTRUCTOR, caplog: pytest.LogCaptureFixture) -> None:
        long = "the river rises in the hills " * 200
        with caplog.at_level(logging.WARNING, "instructor_onnx"):
            model.encode([ROWS[0], long, long])
        assert [record.message.split(";")[0] for record in caplog.records] == [
            "2 of 3 texts were cut to max_seq_length=512 tokens (instruction included)"
        ]

    def test_nothing_is_printed(self, model: INSTRUCTOR, capfd: pytest.CaptureFixture[str]) -> None:
        model.encode(ROWS)
        assert capfd.readouterr() == ("", "")

    def test_progress_where_asked_for(self, model: INSTRUCTOR, capfd: pytest.CaptureFixture[str]) -> None:
        model.encode(ROWS, show_progress_bar=True)
        assert "Embedding: 100%" in capfd.readouterr().err


class TestManyChunks:
    """More rows than are tokenised at a time: each chunk is tokenised while the one before it runs."""

    @pytest.fixture(autouse=True)
    def chunks_of_four(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("instructor_onnx.tokens.ROWS_AT_ONCE", 4)
        monkeypatch.setattr("instructor_onnx.model.ROWS_AT_ONCE", 4)

    @pytest.mark.parametrize("count", [4, 5, 8, 23])
    def test_the_same_vectors(self, int8: INSTRUCTOR, count: int) -> None:
        rows = [[instruction, f"{text} {number}"] for number in range(4) for instruction, text in ROWS][:count]
        assert np.array_equal(int8.encode(rows), np.stack([int8.encode([row])[0] for row in rows]))
        for detail, row in zip(int8.encode(rows, output_value=None), rows, strict=True):
            (alone,) = int8.encode([row], output_value=None)
            assert all(np.array_equal(detail[name], alone[name]) for name in alone)

    def test_losses_are_told_once_with_the_callers_row_numbers(
        self, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = INSTRUCTOR(bundle, variant="int8", device="cpu")
        model.max_seq_length = 8
        rows = [["", "a"]] * 11
        rows[5] = rows[9] = ["Represent the Science title of many words: ", "b"]
        with caplog.at_level(logging.WARNING, "instructor_onnx"):
            model.encode(rows)
        assert [record.message.split(";")[0] for record in caplog.records] == [
            "2 of 11 texts were cut to max_seq_length=8 tokens (instruction included)"
        ]

    def test_masked_rows_have_the_callers_numbers(self, int8: INSTRUCTOR, caplog: pytest.LogCaptureFixture) -> None:
        rows = [["", "a"]] * 11
        rows[5] = rows[9] = ["environm", "ent"]
        with caplog.at_level(logging.WARNING, "instructor_onnx"):
            vectors = int8.encode(rows)
        assert np.flatnonzero(~vectors.any(axis=1)).tolist() == [5, 9]
        assert [record.message.split(":")[0] for record in caplog.records] == ["row 5, 9"]

    def test_losses_come_with_the_vectors_where_the_caller_tells_of_them(
        self, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = INSTRUCTOR(bundle, variant="int8", device="cpu")
        model.max_seq_length = 8
        rows = [Row("", "a")] * 11
        rows[6] = Row("", "the river rises in the hills, and falls to the sea")
        rows[5] = rows[9] = Row("environm", "ent")
        with caplog.at_level(logging.WARNING, "instructor_onnx"):
            found, losses = model._embed(rows, 32)
        assert losses == Losses(rows=11, truncated=1, masked=(5, 9), max_seq_length=8)
        assert np.array_equal(found, model.encode(rows))
        assert [record.message.split()[0] for record in caplog.records] == ["1", "row"]  # of `encode` alone

    def test_a_failure_while_tokenising_reaches_the_caller(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = INSTRUCTOR(bundle, variant="int8", device="cpu")
        joined, calls = model._tokenizer._joined, itertools.count()

        def fail_on_the_third(*arguments: Any) -> Any:
            if next(calls) == 2:
                raise MemoryError("third chunk")
            return joined(*arguments)

        monkeypatch.setattr(model._tokenizer, "_joined", fail_on_the_third)
        with pytest.raises(MemoryError, match="third chunk"):
            model.encode([["", "a"]] * 20)


class TestParameters:
    def test_max_seq_length(self, bundle: Path) -> None:
        model = INSTRUCTOR(bundle, device="cpu")
        long = "the river rises in the hills " * 200
        assert model.max_seq_length == model.get_max_seq_length() == 512
        assert model.tokenize([long])["input_ids"].shape == (1, 512)
        model.max_seq_length = 900
        assert model.tokenize([long])["input_ids"].shape == (1, 900)
        assert model.encode([long]).shape == (1, DIM)
        model.max_seq_length = 16
        assert model.tokenize([long])["input_ids"].shape == (1, 16)

    @pytest.mark.parametrize("value", [0, -1, 1.5, "512", None, True])
    def test_a_bad_max_seq_length(self, fp32: INSTRUCTOR, value: Any) -> None:
        with pytest.raises(ValueError, match="max_seq_length: found .*expected a whole number"):
            fp32.max_seq_length = value

    @pytest.mark.parametrize("value", [0, -3, 2.0])
    def test_a_bad_batch_size(self, fp32: INSTRUCTOR, value: Any) -> None:
        with pytest.raises(ValueError, match="batch_size: found"):
            fp32.encode(ROWS, batch_size=value)

    def test_a_bad_output_value(self, fp32: INSTRUCTOR) -> None:
        with pytest.raises(ValueError, match="output_value: found 'pooled', expected 'sentence_embedding'"):
            fp32.encode(ROWS, output_value="pooled")  # type: ignore[arg-type]

    def test_a_row_of_the_wrong_type(self, fp32: INSTRUCTOR) -> None:
        with pytest.raises(TypeError, match="row 1: its text is NoneType"):
            fp32.encode([ROWS[0], ["Represent: ", None]])

    def test_device(self, fp32: INSTRUCTOR) -> None:
        assert fp32.device == "cpu"
        assert np.array_equal(fp32.encode(ROWS, device="cpu"), fp32.encode(ROWS))
        with pytest.raises(ValueError, match="expected 'cpu', 'cuda' or"):
            fp32.encode(ROWS, device="tpu")

    def test_normalize_embeddings_changes_nothing(self, fp32: INSTRUCTOR) -> None:
        assert np.allclose(fp32.encode(ROWS, normalize_embeddings=True), fp32.encode(ROWS), atol=1e-7)

    def test_similarity(self, fp32: INSTRUCTOR) -> None:
        vectors = fp32.encode(ROWS)
        found = fp32.similarity(vectors, 3 * vectors[:2])
        assert found.shape == (len(ROWS), 2)
        assert found.dtype == np.float32
        assert np.allclose(found, vectors @ vectors[:2].T, atol=1e-6)
        assert fp32.similarity(vectors[0], vectors[0]) == pytest.approx(1, abs=1e-6)
        assert fp32.similarity(np.zeros(DIM), vectors).tolist() == [[0] * len(ROWS)]

    def test_dimension_and_repr(self, fp32: INSTRUCTOR) -> None:
        assert fp32.get_sentence_embedding_dimension() == DIM
        assert repr(fp32).startswith("INSTRUCTOR('instructor-base', variant='fp32', device='cpu', embedding_dim=24")

    def test_torch_is_missing(self, fp32: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch) -> None:
        real_import = builtins.__import__

        def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
            if name == "torch":
                raise ImportError("No module named 'torch'")
            return real_import(name, *arguments, **keywords)

        monkeypatch.delitem(sys.modules, "torch")
        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(ImportError, match="pip install torch, or use the default, numpy arrays"):
            fp32.encode(ROWS, convert_to_tensor=True)
        assert fp32.encode(ROWS).shape == (len(ROWS), DIM)


class TestLoading:
    def test_the_most_exact_variant_is_the_default(self, bundle: Path) -> None:
        assert INSTRUCTOR(bundle).variant == "fp32"
        assert INSTRUCTOR(str(bundle), variant="int8").variant == "int8"

    def test_no_such_variant(self, bundle: Path) -> None:
        with pytest.raises(ValueError, match="variant='fp16': .* has fp32, int8, int4. .* `--variants fp16`"):
            INSTRUCTOR(bundle, variant="fp16")
        with pytest.raises(ValueError, match="variant='int9': .* has fp32, int8, int4. ") as refused:
            INSTRUCTOR(bundle, variant="int9")
        assert "--variants" not in str(refused.value)
        assert str(refused.value).endswith("there are fp32, int8, int4, fp16, bf16.")

    def test_what_can_be_exported(self) -> None:
        assert tuple(VARIANTS) == loading.EXPORTED

    def test_a_torch_device(self, bundle: Path) -> None:
        found = INSTRUCTOR(bundle, device=torch.device("cpu"))
        assert found.device == "cpu"
        vectors = found.encode(ROWS, device=torch.device("cpu"))
        assert np.array_equal(vectors, found.encode(ROWS))
        with pytest.raises(ValueError, match="device: found 'meta', expected 'cpu', 'cuda' or 'cuda:N'"):
            found.encode(ROWS, device=torch.device("meta"))

    def test_a_torch_device_of_cuda(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("instructor_onnx.engines.devices.missing", lambda module, index: f"GPU {index} is away")
        with pytest.raises(RuntimeError, match="device='cuda:3': GPU 3 is away"):
            INSTRUCTOR(bundle, device=torch.device("cuda", 3))

    def test_a_bad_number(self, bundle: Path) -> None:
        with pytest.raises(ValueError, match="num_threads: found 0, expected a whole number from 1 up"):
            INSTRUCTOR(bundle, num_threads=0)
        with pytest.raises(ValueError, match="token_budget: found -1"):
            INSTRUCTOR(bundle, token_budget=-1)

    def test_threads(self, bundle: Path) -> None:
        assert "num_threads=3" in repr(INSTRUCTOR(bundle, num_threads=3))

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no such folder"):
            INSTRUCTOR(tmp_path / "absent" / "bundle")

    def test_a_file_is_no_bundle(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_text("")
        with pytest.raises(NotADirectoryError, match="expected a folder"):
            INSTRUCTOR(tmp_path / "model.onnx")

    def test_a_checkpoint_is_no_bundle(self, base_checkpoint: Path) -> None:
        with pytest.raises(BundleError, match="This is a checkpoint: run `instructor-onnx export`"):
            INSTRUCTOR(base_checkpoint)

    def test_a_truncated_model(self, bundle: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
        data = copy / "int8/model.onnx.data"
        data.write_bytes(data.read_bytes()[:-1])
        with pytest.raises(BundleError, match="int8/model.onnx.data: .* bytes, manifest.json says"):
            INSTRUCTOR(copy, variant="int8")
        assert INSTRUCTOR(copy, variant="fp32").encode(ROWS).shape == (len(ROWS), DIM)

    def test_the_tokenizer_of_another_model(self, bundle: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["model"]["vocab_size"] = 12
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match=r"tokenizer.json: has token id \d+, the model has 12 rows"):
            INSTRUCTOR(copy)

    @pytest.mark.parametrize("location", ["../../secret.data", "123"])
    def test_weights_that_the_manifest_does_not_name(self, bundle: Path, tmp_path: Path, location: str) -> None:
        """A model file may name any file for its weights; no engine may be led out of the bundle or past its hashes."""
        import onnx

        copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
        shutil.copy(copy / "fp32/model.onnx.data", copy / "fp32" / location)
        model = onnx.load(copy / "fp32/model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        (copy / "fp32/model.onnx").write_bytes(model.SerializeToString())
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["variants"]["fp32"]["files"][0]["bytes"] = (copy / "fp32/model.onnx").stat().st_size
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match=rf"model.onnx: takes weights from '{re.escape(location)}'.*Do not trust"):
            INSTRUCTOR(copy)

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\xff\x01", b"\xff" * 40, b"\x3a\x02\x2a\x09"])
    def test_a_file_that_is_no_model(self, bundle: Path, tmp_path: Path, content: bytes) -> None:
        copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
        (copy / "fp32/model.onnx").write_bytes(content)
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["variants"]["fp32"]["files"][0]["bytes"] = len(content)
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises((BundleError, RuntimeError), match=r"model.onnx: (not an ONNX model|onnxruntime .* cannot)"):
            INSTRUCTOR(copy)


class TestChoice:
    """Which variant runs where, with an onnxruntime that has CUDA and one that has not."""

    @pytest.fixture
    def manifest(self, bundle: Path) -> Manifest:
        return Manifest.read(bundle)

    @pytest.mark.parametrize(
        ("cuda", "variant", "device", "expected"),
        [
            (False, None, None, ("fp32", "cpu")),
            (False, "int8", None, ("int8", "cpu")),
            (True, None, None, ("fp32", "cuda:0")),
            (True, "int8", None, ("int8", "cpu")),  # int8 is for CPUs
            (True, "int8", "cuda:1", ("int8", "cuda:1")),  # but what was asked for is done
            (True, None, "cpu", ("fp32", "cpu")),
        ],
    )
    def test_pairs(
        self, monkeypatch: pytest.MonkeyPatch, manifest: Manifest, cuda: bool, variant: str | None, device: str | None,
        expected: tuple[str, str],
    ) -> None:  # fmt: skip
        providers = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        fake = SimpleNamespace(get_available_providers=lambda: providers)
        monkeypatch.setattr("instructor_onnx.engines.devices.import_onnxruntime", lambda: fake)
        monkeypatch.setattr("instructor_onnx.engines.devices.visible_gpus", lambda: 2)
        found, chosen = loading.choose(manifest, variant, device, Path("bundle"))
        assert (found, str(chosen)) == expected

    def test_a_cpu_bundle_on_a_machine_with_cuda(self, monkeypatch: pytest.MonkeyPatch, manifest: Manifest) -> None:
        fake = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider"])
        monkeypatch.setattr("instructor_onnx.engines.devices.import_onnxruntime", lambda: fake)
        monkeypatch.setattr("instructor_onnx.engines.devices.visible_gpus", lambda: 2)
        only = dataclasses.replace(manifest, variants={"int8": manifest.variants["int8"]})
        assert loading.choose(only, None, None, Path("bundle")) == ("int8", Device("cpu"))
        with pytest.raises(BundleError, match=r"no variant that runs well on cuda:0 \(it has int8\).*variant='int8'"):
            loading.choose(only, None, "cuda", Path("bundle"))

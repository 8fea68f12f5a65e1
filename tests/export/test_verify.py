"""The verdict on what was measured: refused is what is wrong on every machine, told what is wrong on this one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx.bundle import Variant, Verification
from instructor_onnx.engines import native
from instructor_onnx.engines.native import NativeSession
from instructor_onnx.engines.ort import Session
from instructor_onnx_export import VerificationError
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.variants import VARIANTS
from instructor_onnx_export.verify import ask_oracle, engines, judge, measure, probe_rows

RIGHT = Verification(
    engine="onnxruntime 1.31.1",
    processor="a processor",
    device="cpu",
    rows=52,
    max_abs_diff=1e-7,
    token_max_abs_diff=1e-7,
    cosine_mean=0.9999,
    cosine_p1=0.9998,
    cosine_min=0.9996,
    batch_invariant=True,
)
ON = {"onnxruntime": "cpu"}
FIGURES = [field.name for field in dataclasses.fields(Verification) if isinstance(getattr(RIGHT, field.name), float)]


def right(**other: Any) -> Verification:
    return dataclasses.replace(RIGHT, **other)


def native_engine(**other: Any) -> Verification:
    return right(engine="native avx2 0.1.0", **other)


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4", "fp16", "bf16"])
def test_what_is_right_passes(variant: str) -> None:
    assert judge(VARIANTS[variant], {"onnxruntime": RIGHT}) == []


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(variant: str, figure: str, value: float) -> None:
    with pytest.raises(VerificationError, match=rf"{variant}: native avx2 0.1.0 on a processor gives numbers that are"):
        judge(VARIANTS[variant], {"onnxruntime": RIGHT, "native": native_engine(**{figure: value})})


@pytest.mark.parametrize("figure", ["max_abs_diff", "token_max_abs_diff"])
def test_fp32_is_exact_or_refused(figure: str) -> None:
    with pytest.raises(VerificationError, match=r"fp32: differs from torch by 1.1e-05, allowed is 1e-05"):
        judge(VARIANTS["fp32"], {"onnxruntime": right(**{figure: 1.1e-5})})


def test_wrong_on_every_engine_is_refused() -> None:
    found = {"onnxruntime": right(cosine_min=0.98), "native": native_engine(cosine_min=0.97)}
    with pytest.raises(VerificationError, match=r"int8: the smallest cosine to torch is 0.98000, allowed is 0.99"):
        judge(VARIANTS["int8"], found)
    assert judge(VARIANTS["int8"], found, min_cosine=0.96) == []
    assert judge(VARIANTS["int4"], found) == []


@pytest.mark.parametrize(("wrong", "other"), [("onnxruntime 1.31.1", "native"), ("native avx2 0.1.0", "onnxruntime")])
def test_wrong_on_one_engine_is_told(wrong: str, other: str) -> None:
    found = {figures.engine.split()[0]: figures for figures in (RIGHT, native_engine())}
    found[wrong.split()[0]] = right(engine=wrong, cosine_min=0.5)
    (sentence,) = judge(VARIANTS["int8"], found)
    assert sentence.startswith(f"int8: with {wrong} on a processor the smallest cosine to torch is 0.50000, allowed is")
    assert sentence.endswith(f"is right (0.99960). Use engine={other!r} here.")


def test_the_batch_is_onnxruntimes_own_affair_and_the_native_engines_defect() -> None:
    found = {"onnxruntime": right(batch_invariant=False), "native": native_engine()}
    assert judge(VARIANTS["int4"], found) == []
    found["native"] = native_engine(batch_invariant=False)
    with pytest.raises(VerificationError, match=r"int4: a row's vector alone and in a batch differ, with native avx2"):
        judge(VARIANTS["int4"], found)


def test_a_number_that_is_none_is_seen_wherever_it_is(
    bundle: Path, base_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the tokens of a row that is not the first, where the vectors are fine."""
    embed = Session.token_embeddings

    def embed_badly(session: Session, *arguments: Any) -> Any:
        tokens, vectors = embed(session, *arguments)
        if len(tokens) > 1:
            tokens[1][0, 0] = math.nan
        return tokens, vectors

    expected = ask_oracle(Oracle(read_checkpoint(base_checkpoint)), probe_rows(512)[:8])
    judge(VARIANTS["fp32"], measure(bundle, "fp32", ON, expected))
    monkeypatch.setattr(Session, "token_embeddings", embed_badly)
    found = measure(bundle, "fp32", ON, expected)
    assert found["onnxruntime"].max_abs_diff <= 1e-5
    with pytest.raises(VerificationError, match="not finite"):
        judge(VARIANTS["fp32"], found)


def test_the_engines_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def variant(weight_type: str, *devices: str) -> Variant:
        return Variant(files=(), weight_type=weight_type, devices=devices, opset=18, verification={})

    monkeypatch.setattr(native, "is_verified", lambda: True)
    assert engines(variant("float32", "cpu", "cuda")) == ON | {"native": "cpu"}
    assert engines(variant("int8", "cpu")) == ON | {"native": "cpu"}
    monkeypatch.setattr(native, "is_verified", lambda: False)
    assert engines(variant("int8", "cpu")) == ON


def test_a_graph_that_the_kernels_do_not_know_is_left_to_onnxruntime(
    bundle: Path, base_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> NativeSession:
        raise native.UnknownGraphError("no such weight")

    expected = ask_oracle(Oracle(read_checkpoint(base_checkpoint)), probe_rows(512)[:8])
    monkeypatch.setattr(NativeSession, "open", refuse)
    assert list(measure(bundle, "int8", ON | {"native": "cpu"}, expected)) == ["onnxruntime"]


def test_a_length_that_a_checkpoint_claims_makes_no_endless_probe_row() -> None:
    """A million tokens, each attended to by each, would take terabytes."""
    assert max(len(row.text) for row in probe_rows(1 << 20)) < 10_000
    assert max(len(row.text.split()) for row in probe_rows(512)) == 512

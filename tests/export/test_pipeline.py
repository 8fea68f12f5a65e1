"""Export as a whole: complete or absent, refused with a reason, and what it writes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import instructor_onnx_export
import numpy as np
import pytest
from instructor_onnx import Manifest
from instructor_onnx.bundle import BundleError, InstructorOnnxError, check_hashes
from instructor_onnx.cli import main
from instructor_onnx.engines import devices, native, processor
from instructor_onnx.engines.devices import import_onnxruntime
from instructor_onnx.engines.ort import Session
from instructor_onnx_export import CheckpointError, ExportError, RangeError, VerificationError, export, verify_bundle
from instructor_onnx_export.card import model_card
from instructor_onnx_export.graph.t5 import GraphBuilder
from instructor_onnx_export.staging import staged
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", [name for name in instructor_onnx_export.__all__ if name.endswith("Error")])
def test_what_it_raises_is_ours(name: str) -> None:
    """The command prints such an error, and a traceback of any other."""
    assert issubclass(getattr(instructor_onnx_export, name), InstructorOnnxError)


def test_what_is_written(bundle: Path, base_checkpoint: Path) -> None:
    manifest = Manifest.read(bundle)
    check_hashes(bundle, manifest.files())
    assert left_in(bundle) == ["README.md", "fp32", "int4", "int8", "manifest.json", "tokenizer.json"]
    assert (bundle / "tokenizer.json").read_bytes() == (base_checkpoint / "tokenizer.json").read_bytes()
    assert manifest.model.name == "instructor-base"
    assert "model.safetensors" in manifest.model.source_sha256
    card = (bundle / "README.md").read_text()
    assert "| fp32 | float32 |" in card
    assert "| int8 | int8 |" in card
    assert "| int4 | int4 |" in card
    assert left_in(bundle.parent) == ["instructor-base"]  # no temporary folder


def test_variants_and_name(base_checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(base_checkpoint, tmp_path / "b", variants=["int8"], name="mine", show_progress=False)
    assert list(manifest.variants) == ["int8"]
    assert manifest.model.name == "mine"
    assert Manifest.read(tmp_path / "b") == manifest


def test_an_export_is_reproducible(base_checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    manifest = export(base_checkpoint, tmp_path / "again", variants=["fp32", "int8", "int4"], show_progress=False)
    assert manifest.files() == Manifest.read(bundle).files()


@pytest.mark.parametrize("variants", [[], ["fp16x"], ["fp32", "fp32"]])
def test_unknown_variants(base_checkpoint: Path, tmp_path: Path, variants: list[str]) -> None:
    with pytest.raises(ExportError, match="choose from fp32, int8, int4"):
        export(base_checkpoint, tmp_path / "b", variants=variants)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 1001, "a\ud800", "a\n"])
def test_a_name_that_no_bundle_may_have(base_checkpoint: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="name: found '.*', expected at most 1,000 printable characters"):
        export(base_checkpoint, tmp_path / "b", name=name)
    assert left_in(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no folder there has such a name")
def test_a_checkpoint_in_a_folder_whose_name_no_bundle_may_have(base_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base_checkpoint, tmp_path / "mine\n2")
    export(folder, tmp_path / "b", variants=["fp32"], show_progress=False)
    assert Manifest.read(tmp_path / "b").model.name == "mine 2"


def test_a_bundle_in_the_way_is_kept(base_checkpoint: Path, tmp_path: Path) -> None:
    export(base_checkpoint, tmp_path / "b", variants=["int8"], name="first", show_progress=False)
    with pytest.raises(ExportError, match="there is a bundle already.*--overwrite"):
        export(base_checkpoint, tmp_path / "b", show_progress=False)
    with pytest.raises(VerificationError):  # an overwrite that is refused leaves it too
        export(base_checkpoint, tmp_path / "b", variants=["int8"], min_cosine=1, overwrite=True, show_progress=False)
    assert Manifest.read(tmp_path / "b").model.name == "first"
    export(base_checkpoint, tmp_path / "b", variants=["int8"], name="second", overwrite=True, show_progress=False)
    assert Manifest.read(tmp_path / "b").model.name == "second"
    assert left_in(tmp_path) == ["b"]


def test_another_folder_in_the_way_is_never_replaced(base_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years of work")
    with pytest.raises(ExportError, match="exists and is not a bundle"):
        export(base_checkpoint, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis/chapter.tex").read_text() == "years of work"


def test_the_second_of_two_exports_is_told_before_it_works(tmp_path: Path) -> None:
    with (
        staged(tmp_path / "b", overwrite=False),
        pytest.raises(ExportError, match="b: another export writes there. Wait for it"),
    ):
        export(tmp_path / "no checkpoint", tmp_path / "b", overwrite=True)


def test_refused_by_min_cosine(base_checkpoint: Path, tmp_path: Path) -> None:
    sentence = r"int8: the smallest cosine to torch is 0\.9\d+, allowed is 1"
    with pytest.raises(VerificationError, match=sentence):
        export(base_checkpoint, tmp_path / "b", variants=["int8"], min_cosine=1, show_progress=False)
    with pytest.raises(VerificationError, match=f"{sentence}.* int4: the smallest cosine"):
        export(base_checkpoint, tmp_path / "b", variants=["int8", "int4"], min_cosine=1, show_progress=False)
    assert left_in(tmp_path) == []


def test_a_variant_that_fails_costs_itself(
    base_checkpoint: Path, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = export(base_checkpoint, tmp_path / "b", min_cosine=1, show_progress=False)
    assert list(manifest.variants) == ["fp32"]
    assert Manifest.read(tmp_path / "b") == manifest
    assert left_in(tmp_path / "b") == ["README.md", "fp32", "manifest.json", "tokenizer.json"]
    assert left_in(tmp_path) == ["b"]
    assert "| int8 |" not in (tmp_path / "b/README.md").read_text()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"left out of {tmp_path / 'b'}: int8: the smallest cosine to torch is 0.9" in record.getMessage()
    with pytest.raises(VerificationError, match=r"int8: the smallest.* int4: the smallest"):  # each is named
        verify_bundle(bundle, base_checkpoint, min_cosine=1, show_progress=False)


def test_a_variant_that_fails_is_an_exit_code(
    base_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--variants", "fp32,int8", "--min-cosine", "1", "--quiet"]
    assert main(["export", str(base_checkpoint), str(tmp_path / "b"), *options]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"instructor-onnx: warning: left out of {tmp_path / 'b'}: int8: the smallest cosine")
    assert error.startswith(f"instructor-onnx: error: {tmp_path / 'b'}: was written without int8;")
    assert list(Manifest.read(tmp_path / "b").variants) == ["fp32"]


def test_a_checkpoint_past_fp16_costs_fp16(editable: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = load_file(editable / "model.safetensors")
    save_file(weights | {"shared.weight": weights["shared.weight"] * 1e6}, editable / "model.safetensors")
    with pytest.raises(RangeError, match="fp16: shared.weight may give numbers past"):
        export(editable, tmp_path / "b", variants=["fp16"], show_progress=False)
    assert not (tmp_path / "b").exists()
    manifest = export(editable, tmp_path / "b", variants=["fp16", "fp32"], show_progress=False)
    assert list(manifest.variants) == ["fp32"]
    assert ["fp16: shared.weight may give" in record.getMessage() for record in caplog.records] == [True]


def test_a_vector_that_depends_on_its_batch_is_recorded_not_refused(
    base_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for an onnxruntime that has other kernels for other numbers of rows."""
    run = Session.run

    def run_by_size(session: Session, outputs: list[str], *inputs: Any) -> list[Any]:
        return [array + np.float32(1e-6) * len(inputs[0]) for array in run(session, outputs, *inputs)]

    monkeypatch.setattr(Session, "run", run_by_size)
    export(base_checkpoint, tmp_path / "b", variants=["int8", "int4"], show_progress=False)
    for name, variant in Manifest.read(tmp_path / "b").variants.items():
        same = {engine: found.batch_invariant for engine, found in variant.verification.items()}
        assert same == {"onnxruntime": False} | ({"native": True} if native.is_verified() else {})
        row = rf"^\| {name} \|.*\| onnxruntime \S+ \| {re.escape(processor.name())} \|.*\| no \|$"
        assert re.search(row, (tmp_path / "b/README.md").read_text(), re.MULTILINE)
    assert main(["info", str(tmp_path / "b")]) == 0
    assert len(re.findall(r"^int\d .* onnxruntime \S+ .* no$", capsys.readouterr().out, re.M)) == 2


def test_a_graph_that_is_wrong_is_refused(
    base_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake of every other exporter: pooling what the encoder sees, instruction and all."""
    pooled = GraphBuilder.sentence_embedding

    def pool_everything(builder: GraphBuilder, hidden_states: str) -> str:
        vector = pooled(builder, hidden_states)
        for node in builder.model._nodes:
            node.input[:] = ["attention_mask" if name == "pooling_mask" else name for name in node.input]
        return vector

    monkeypatch.setattr(GraphBuilder, "sentence_embedding", pool_everything)
    with pytest.raises(VerificationError, match="fp32: differs from torch by"):
        export(base_checkpoint, tmp_path / "b", variants=["fp32"], show_progress=False)
    assert left_in(tmp_path) == []


def test_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty"):
        export(tmp_path / "empty", tmp_path / "b", show_progress=False)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        export(tmp_path / "absent" / "deep", tmp_path / "b", show_progress=False)
    assert left_in(tmp_path) == ["empty"]


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(base_checkpoint: Path, tmp_path: Path, signal_number: signal.Signals) -> None:
    """Interrupted while it works, it removes what it wrote."""
    process = running_export(base_checkpoint, tmp_path)
    process.send_signal(signal_number)
    try:
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
        process.wait()
    assert left_in(tmp_path) == []


@pytest.mark.slow
def test_killed(base_checkpoint: Path, tmp_path: Path) -> None:
    """Killed outright, it leaves no bundle, and the next export removes its folder."""
    process = running_export(base_checkpoint, tmp_path)
    process.kill()
    process.wait(timeout=60)
    assert not (tmp_path / "b").exists()
    export(base_checkpoint, tmp_path / "b", variants=["int8"], show_progress=False)
    assert left_in(tmp_path) == ["b"]


def running_export(checkpoint: Path, folder: Path) -> subprocess.Popen[bytes]:
    """An export of the command line that has begun to write and then waits to be stopped."""
    code = (
        "import signal, sys, time, instructor_onnx_export.pipeline as p\n"
        # A shell's background job ignores Ctrl-C, and so would its children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "p.measure = lambda *a, **k: time.sleep(600)\n"
        "from instructor_onnx.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code, "export", str(checkpoint), str(folder / "b"), "--quiet"]
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    deadline = time.monotonic() + 60
    while not list(folder.glob(".b.partial-*/manifest.json")):
        assert process.poll() is None, "the export ended before it was stopped"
        assert time.monotonic() < deadline, "the export did not get as far as writing"
        time.sleep(0.05)
    return process


def test_verify_bundle(bundle: Path, base_checkpoint: Path, tmp_path: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    found = verify_bundle(bundle, base_checkpoint, show_progress=False)
    assert found["fp32"]["onnxruntime"].max_abs_diff <= 1e-5
    assert (bundle / "manifest.json").read_bytes() == before
    other = make_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(VerificationError, match="fp32: differs from torch"):
        verify_bundle(bundle, other, show_progress=False)


def test_what_was_measured_is_recorded(bundle: Path, base_checkpoint: Path, tmp_path: Path) -> None:
    """Of a bundle that has fp16's figures, from elsewhere, and no others."""
    if not devices.missing(import_onnxruntime(), 0):
        pytest.skip("there is a GPU: it would measure fp16")
    own = shutil.copytree(bundle, tmp_path / "b")
    manifest = Manifest.read(own)
    empty = {name: dataclasses.replace(variant, verification={}) for name, variant in manifest.variants.items()}
    figures = dataclasses.replace(manifest.variants["fp32"].verification["onnxruntime"], device="cuda:0", rows=7)
    half = dataclasses.replace(manifest.variants["fp32"], devices=("cuda",), verification={"onnxruntime": figures})
    dataclasses.replace(manifest, variants=empty | {"fp16": half}).write(own)
    with pytest.raises(VerificationError):
        verify_bundle(own, base_checkpoint, min_cosine=1, record=True, show_progress=False)
    assert not Manifest.read(own).variants["fp32"].verification  # nothing is written where something is wrong
    found = verify_bundle(own, base_checkpoint, record=True, show_progress=False)
    recorded = Manifest.read(own)
    assert recorded.variants == manifest.variants | {"fp16": half}
    assert found == {name: variant.verification for name, variant in manifest.variants.items()}
    assert (own / "README.md").read_text() == model_card(recorded)
    assert left_in(own) == left_in(bundle)


def test_a_checkpoint_of_another_shape_is_named_before_anything_is_embedded(bundle: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "wider", d_model=64, num_layers=1, dense_dim=None)
    with pytest.raises(
        VerificationError,
        match=r"was not made from wider: d_model is 32 in the bundle and 64 in the checkpoint; num_layers is 2 in the "
        r"bundle and 1 .*embedding_dim.* dense is True .*Name the checkpoint it was made from \(instructor-base\)",
    ):
        verify_bundle(bundle, other, show_progress=False)


def test_verify_bundle_reads_the_hashes_first(base_checkpoint: Path, tmp_path: Path) -> None:
    export(base_checkpoint, tmp_path / "b", variants=["int8"], show_progress=False)
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    manifest["tokenizer"]["sha256"] = "0" * 64
    (tmp_path / "b/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="tokenizer.json: sha256"):
        verify_bundle(tmp_path / "b", base_checkpoint, show_progress=False)

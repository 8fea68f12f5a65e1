"""`instructor-onnx bench`: what it measures, what it concludes, and its errors."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, cli
from instructor_onnx.bench import measure, results
from instructor_onnx.bench.results import LeftOut
from instructor_onnx.engines import native, processor
from instructor_onnx.extras import pip_install
from instructor_onnx.loading import EMBEDDED


def test_the_command_measures_every_variant(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, page, plots = tmp_path / "figures.json", tmp_path / "out.html", tmp_path / "plots"
    command = ["bench", str(bundle), "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main([*command, "--report", str(page), "--plots", str(plots)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "recommended here:" in out
    assert "What limits each (% of what the machine can do)" in out
    assert "1 threads" not in out
    found = results.read(figures)
    engines = ["native", "onnxruntime"] if native.is_verified() else ["onnxruntime"]
    names = [f"{variant} {engine}" for variant in ("fp32", "int8", "int4") for engine in engines]
    assert [variant.name for variant in found.variants] == names
    assert found.machine.processor == processor.name()
    assert found.machine.threads == 1
    for variant in found.variants:
        lengths = [item.tokens for item in variant.latency]
        assert lengths == sorted(lengths)
        for item in variant.latency:
            assert item.p50_ms <= item.p90_ms <= item.p99_ms
            assert item.calls >= 5
        assert variant.default_budget in measure.BUDGETS
        assert [item.value for item in variant.budgets] == list(measure.BUDGETS)
        assert [stage.name for stage in variant.stages] == ["open", "latency", "batches", "budgets", "threads"]
        assert variant.fingerprint == INSTRUCTOR(bundle, variant=variant.variant, engine=variant.engine).fingerprint
        if sys.platform == "linux":
            assert variant.resident_bytes is not None
            assert variant.peak_bytes is not None
            assert variant.resident_bytes <= variant.peak_bytes
            assert len(variant.memory) >= 5
    weights = {variant.name: variant.weight_bytes for variant in found.variants}
    assert weights["fp32 onnxruntime"] == 4 * weights["int8 onnxruntime"] == 8 * weights["int4 onnxruntime"]
    if native.is_verified():  # which expands int4
        assert weights["fp32 native"] == 4 * weights["int8 native"] == 4 * weights["int4 native"]
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in names)
    assert {path.stem for path in plots.iterdir()} >= {
        "latency",
        "batches",
        "threads",
        "budgets",
        "cold-start",
        "limits",
    }
    assert {path.suffix for path in plots.iterdir()} >= {".svg"}


@pytest.mark.slow
def test_a_variant_for_gpus_is_named_and_not_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, figures = Path(shutil.copytree(EMBEDDED["instructor-mini"], tmp_path / "copy")), tmp_path / "figures.json"
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["variants"]["fp16"] = manifest["variants"]["int8"] | {"devices": ["cuda"], "weight_type": "float16"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    command = ["bench", str(copy), "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    assert LeftOut("fp16", measure.FOR_GPUS) in results.read(figures).left_out
    assert f"not measured:\n  fp16: {measure.FOR_GPUS}" in capsys.readouterr().out


@pytest.fixture
def no_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed: here, and in the processes that are started from here."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')")
    monkeypatch.syspath_prepend(tmp_path / "empty")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)


@pytest.mark.usefixtures("no_onnxruntime")
@pytest.mark.skipif(not native.is_verified(), reason="needs the native kernels")
@pytest.mark.slow
def test_what_runs_without_onnxruntime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    command = ["bench", "instructor-mini", "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    found = results.read(figures)
    assert [variant.name for variant in found.variants] == ["int8 native"]
    (left_out,) = found.left_out
    assert left_out.what == "int8 on onnxruntime"
    assert left_out.why.startswith("onnxruntime is not installed")
    assert pip_install("onnxruntime") in left_out.why
    assert f"not measured:\n  {left_out.what}: {left_out.why}" in capsys.readouterr().out


@pytest.mark.usefixtures("no_onnxruntime")
def test_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(native, "why_not", lambda: "the native kernels are missing")
    assert cli.main(["bench", "instructor-mini"]) == 1
    said = capsys.readouterr().err
    assert "error: nothing to measure. int8 on native: the native kernels are missing." in said
    assert "int8 on onnxruntime: onnxruntime is not installed" in said


def test_a_model_that_cannot_be_opened_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every engine's process fails with the same sentence: there is nothing to measure, and no traceback."""
    copy = Path(shutil.copytree(EMBEDDED["instructor-mini"], tmp_path / "copy"))
    data = copy / "int8/model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert cli.main(["bench", str(copy), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "error: nothing to measure. int8 on " in said
    assert f"int8 on onnxruntime: {data}: " in said


def test_a_process_that_was_killed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*options: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(measure, "_in_own_process", killed)
    assert cli.main(["bench", "instructor-mini", "--quiet"]) == 1
    assert "Its process was killed, perhaps for want of memory." in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_of_short_texts_is_measured_at_its_own_length(tmp_path: Path) -> None:
    copy, figures = Path(shutil.copytree(EMBEDDED["instructor-mini"], tmp_path / "copy")), tmp_path / "figures.json"
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["model"]["max_seq_length"] = 8
    (copy / "manifest.json").write_text(json.dumps(manifest))
    command = ["bench", str(copy), "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    for variant in results.read(figures).variants:
        assert [item.tokens for item in variant.latency] == [8]
        assert variant.batch_tokens == 8


def test_rows_have_the_lengths_asked_for() -> None:
    model = INSTRUCTOR("instructor-mini", device="cpu", num_threads=1)
    lengths = [16, 64, 200]
    mask = model.tokenize(measure._rows(model, lengths))["attention_mask"]
    assert all(abs(int(found) - length) <= 1 for found, length in zip(mask.sum(axis=1), lengths, strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variants", "int5"], "variant='int5'"),
        (["--json", "nowhere/figures.json"], "there is no folder nowhere"),
    ],
)
def test_errors(bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert cli.main(["bench", str(bundle), *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan"])
def test_seconds_are_checked(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", "instructor-mini", "--seconds", seconds])
    assert "expected seconds, more than 0" in capsys.readouterr().err

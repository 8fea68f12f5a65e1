"""`instructor-onnx bench`: what it measures, what it concludes, and its errors."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, cli
from instructor_onnx.bench import measure, report
from instructor_onnx.engines import native, processor
from instructor_onnx.extras import pip_install
from instructor_onnx.loading import EMBEDDED

SPEED = 1000.0


def measured(**changes: object) -> report.Measured:
    """A variant with figures to reason about."""
    usual = report.Measured(
        variant="int8",
        engine="onnxruntime",
        load_seconds=0.1,
        resident_bytes=100_000_000,
        peak_bytes=200_000_000,
        latency=(report.Latency(16, 10.0, 11.0, 12.0, 5),),
        batches=(report.Setting(1, SPEED),),
        budgets=(
            report.Setting(512, 1.02 * SPEED),
            report.Setting(1024, SPEED),
            report.Setting(2048, 0.9 * SPEED),
        ),
        default_budget=1024,
        threads=(report.Setting(1, 0.6 * SPEED), report.Setting(2, SPEED)),
        weight_bytes=1e8,
        flop_per_token=2e8,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


MACHINE = report.Hardware("a processor", 2, 4, ("avx2",), copy_bytes_per_second=2e10, flop_per_second=1e12)


def test_the_command_measures_every_variant(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    command = ["bench", str(bundle), "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "fastest here:" in out
    assert "limits:" in out
    found = json.loads(figures.read_text())
    kinds = ["", " native"] if native.is_verified() else [""]
    assert list(found["variants"]) == [name + kind for name in ("fp32", "int8", "int4") for kind in kinds]
    assert found["machine"]["processor"] == processor.name()
    assert found["machine"]["threads"] == 1
    for name, variant in found["variants"].items():
        assert name == variant["variant"] + (" native" if variant["engine"] == "native" else "")
        assert [item["tokens"] for item in variant["latency"]] == sorted(item["tokens"] for item in variant["latency"])
        for item in variant["latency"]:
            assert 0 < item["p50"] <= item["p90"] <= item["p99"]
            assert item["calls"] >= 5
        assert variant["default_budget"] in measure.BUDGETS
        assert [item["value"] for item in variant["budgets"]] == list(measure.BUDGETS)
        assert all(
            item["tokens_per_second"] > 0 for part in ("batches", "budgets", "threads") for item in variant[part]
        )
        assert variant["resident_bytes"] is None or variant["resident_bytes"] <= variant["peak_bytes"]


@pytest.fixture
def no_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed: here, and in the processes that are started from here."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/onnxruntime.py").write_text("raise ImportError('No module named onnxruntime')")
    monkeypatch.syspath_prepend(tmp_path / "empty")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)


@pytest.mark.usefixtures("no_onnxruntime")
@pytest.mark.skipif(not native.is_verified(), reason="needs the native kernels")
def test_what_runs_without_onnxruntime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    command = ["bench", "instructor-mini", "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    report = json.loads(figures.read_text())
    assert list(report["variants"]) == ["int8 native"]
    (left_out,) = report["left_out"]
    assert left_out.startswith("int8 on onnxruntime: onnxruntime is not installed")
    assert pip_install("onnxruntime") in left_out
    assert f"left out:\n  {left_out}" in capsys.readouterr().out


@pytest.mark.usefixtures("no_onnxruntime")
def test_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(native, "why_not", lambda: "the native kernels are missing")
    assert cli.main(["bench", "instructor-mini"]) == 1
    said = capsys.readouterr().err
    assert "error: nothing to measure. int8 on onnxruntime: onnxruntime is not installed" in said
    assert "int8 on native: the native kernels are missing." in said


def test_a_model_that_cannot_be_opened_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every engine's process fails with the same sentence: there is nothing to measure, and no traceback."""
    copy = Path(shutil.copytree(EMBEDDED["instructor-mini"], tmp_path / "copy"))
    data = copy / "int8/model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert cli.main(["bench", str(copy), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert f"error: nothing to measure. int8 on onnxruntime: {data}: " in said


def test_a_model_of_short_texts_is_measured_at_its_own_length(tmp_path: Path) -> None:
    copy, figures = Path(shutil.copytree(EMBEDDED["instructor-mini"], tmp_path / "copy")), tmp_path / "figures.json"
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["model"]["max_seq_length"] = 8
    (copy / "manifest.json").write_text(json.dumps(manifest))
    command = ["bench", str(copy), "--seconds", "0.001", "--threads", "1", "--quiet", "--json", str(figures)]
    assert cli.main(command) == 0
    for variant in json.loads(figures.read_text())["variants"].values():
        assert [item["tokens"] for item in variant["latency"]] == [8]


def test_rows_have_the_lengths_asked_for() -> None:
    model = INSTRUCTOR("instructor-mini", device="cpu", num_threads=1)
    lengths = [16, 64, 200]
    mask = model.tokenize(measure._rows(model, lengths))["attention_mask"]
    assert all(abs(int(found) - length) <= 1 for found, length in zip(mask.sum(axis=1), lengths, strict=True))


def test_the_default_is_kept_where_another_setting_is_hardly_faster() -> None:
    assert measured().best_budget.value == 1024
    assert measured().best_threads.value == 2
    faster = (report.Setting(512, 1.2 * SPEED), report.Setting(1024, SPEED))
    assert measured(budgets=faster).best_budget.value == 512


def test_the_limits_are_named_from_the_figures() -> None:
    slow_memory = replace(MACHINE, copy_bytes_per_second=1.2e10)  # 100 MB in 10 ms is 10 GB/s
    (query, threads, vnni, cpus) = report.limits(slow_memory, {"int8": measured()})
    assert "100 MB of weights at 10.0 GB/s, 83% of what memory copies here (memory bandwidth)" in query
    assert "200 GFLOP/s, 20% of numpy's fp32 product" in query
    assert "2 threads are 1.67 times one" in threads
    assert "neither VNNI nor AMX" in vnni
    assert "2 of 4 logical CPUs" in cpus
    fast_memory = replace(MACHINE, copy_bytes_per_second=1e11, logical_cpus=2, flags=("avx2", "avx_vnni"))
    (query, _) = report.limits(fast_memory, {"int8": measured()})
    assert "(arithmetic and overheads)" in query


def test_the_advice_is_the_fastest_settings() -> None:
    slower = measured(latency=(report.Latency(16, 5.0, 5.0, 5.0, 5),), budgets=(report.Setting(1024, 0.5 * SPEED),))
    single, many = report.advice(
        {
            "fp32": measured(variant="fp32", budgets=(report.Setting(2048, 2 * SPEED),)),
            "int8 native": replace(slower, engine="native"),
        }
    )
    assert single == "single queries: INSTRUCTOR(..., variant='int8', engine='native', num_threads=2)"
    assert many == (
        "many texts: INSTRUCTOR(..., variant='fp32', engine='onnxruntime', num_threads=2, token_budget=2048)"
    )


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

"""The native engine's benchmark: a short run of it, and its tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from instructor_onnx.engines import saturation
from instructor_onnx.engines.devices import Device, import_onnxruntime
from instructor_onnx.engines.engine import default_engine

from benchmarks.common import machine
from benchmarks.native import __main__ as native_command
from benchmarks.native import measure as benchmark


def test_a_short_run(
    bundle: Path,
    base_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(benchmark, "SECONDS", 0.0)
    monkeypatch.setattr(benchmark, "LEAST_ROUNDS", 1)
    monkeypatch.setattr(benchmark, "LOADS", 1)
    monkeypatch.setattr(benchmark, "shapes", lambda random: {"(1, 16)": [16], "mixed": [3, 9, 4]})
    name = f"native-{base_checkpoint.name}-here.json"
    out, docs = tmp_path / name, tmp_path / "benchmarks.md"
    docs.write_text("before\n<!-- native:begin -->\nold\n<!-- native:end -->\nafter\n")
    pair = [str(bundle), str(base_checkpoint)]
    assert native_command.main([*pair, *pair, "--threads", "1", "--out", str(out), "--docs", str(docs)]) == 0
    found = json.loads(out.read_text())
    saturates = saturation.saturates(import_onnxruntime())
    other = f"int8, onnxruntime, x64quantprecision={not saturates:d}"
    on_kernels = [
        f"{kind}, native"
        for kind in ("fp32", "int8", "int4")
        if default_engine(kind.replace("fp32", "float32"), Device("cpu")) == "native"
    ]
    names = {"fp32, onnxruntime", "int8, onnxruntime", other, "int4, onnxruntime", *on_kernels}
    assert set(found["runs"]) == {"torch fp32", *names}
    assert found["subject"]["x64quantprecision"] is saturates
    assert found["subject"]["machine"] == machine.facts()
    assert found["shapes"] == {"(1, 16)": 16, "mixed": 16}
    for run in found["runs"].values():
        assert all(run["milliseconds"][shape] > 0 for shape in found["shapes"])
    least = {"fp32": 0.999999, "int8": 0.99, "int4": 0.9}
    for run_name in names:
        run = found["runs"][run_name]
        assert run["bytes"] > 0
        assert 0 < run["load"]["resident"] <= run["load"]["peak"]
        if run_name != other:  # where products saturate, that is what the option is for
            assert run["cosine"][base_checkpoint.name]["min"] > least[run_name[:4]]
    for run_name in on_kernels:
        run = found["runs"][run_name]
        assert run["cosine"][base_checkpoint.name]["identical"]
        assert 0 <= run["share_of_peak"]["mixed"] < 1
    text = docs.read_text()
    assert text.startswith(f"before\n<!-- native:begin -->\n#### {base_checkpoint.name}, here\n")
    assert "| int8, onnxruntime | " in text
    assert f"`session.x64quantprecision={saturates:d}`" in text
    assert str(tmp_path) not in out.read_text()
    capsys.readouterr()
    shown = Path(shutil.copy(out, tmp_path / "again-here.json"))
    assert native_command.main([str(shown)]) == 0
    assert capsys.readouterr().out.strip() in text.replace(
        f"{base_checkpoint.name}, here", f"{base_checkpoint.name}, again-here"
    )


def test_a_bundle_needs_its_checkpoint(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert native_command.main([str(bundle)]) == 1
    assert "CHECKPOINT" in capsys.readouterr().err

"""`instructor-onnx export`: what it hands to the exporter, what it prints, its errors."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from instructor_onnx import Manifest, cli
from instructor_onnx.engines import native, processor
from instructor_onnx.extras import pip_install

from tests.runtime.cli.conftest import error_of


def test_export(
    bundle: Path, exporter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def export(*args: Any, **kwargs: Any) -> Manifest:
        calls.append((args, kwargs))
        return Manifest.read(bundle)

    monkeypatch.setattr(exporter, "export", export)
    options = ["--variants", "fp32, int8", "--min-cosine", "0.995", "--name", "mine", "--overwrite", "--threads", "2"]
    hub = ["--revision", "v2", "--token", "t", "--cache-folder", "c", "--offline", "--quiet"]
    assert cli.main(["export", "someone/model", "out", *options, *hub]) == 0
    assert calls == [
        (
            ("someone/model", Path("out")),
            {
                "variants": ("fp32", "int8"),
                "name": "mine",
                "min_cosine": 0.995,
                "calibrate": None,
                "overwrite": True,
                "num_threads": 2,
                "show_progress": False,
                "revision": "v2",
                "token": "t",
                "cache_folder": Path("c"),
                "local_files_only": True,
            },
        )
    ]
    captured = capsys.readouterr()
    table = [line.split() for line in captured.out.splitlines()]
    figures = "max abs diff cosine mean 1st pct minimum same in any batch"
    assert table[1] == ["variant", "size", "engine", *figures.split()]
    engines = ["onnxruntime", "native"] if native.is_verified() else ["onnxruntime"]
    expected = [(variant, engine) for variant in ("fp32", "int8") for engine in engines]
    assert [(row[0], row[3]) for row in table[2 : 2 + len(expected)]] == expected
    assert f"\nmeasured on {processor.name()}\n" in captured.out
    assert captured.out.endswith("Next: instructor-onnx encode out texts.jsonl -o vectors.npy\n")
    assert captured.err == ""


def test_export_errors(
    bundle: Path, base_checkpoint: Path, exporter: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(base_checkpoint), str(bundle)]) == 1
    assert f"error: {bundle}: " in error_of(capsys)
    assert cli.main(["export", str(base_checkpoint), str(tmp_path / "out"), "--variants", "fp64"]) == 1
    assert "fp64" in error_of(capsys)
    assert cli.main(["export", str(tmp_path / "no"), str(tmp_path / "out"), "--quiet"]) == 1
    assert "no: no such folder" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_export_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "instructor_onnx_export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "someone/model", str(tmp_path / "out")]) == 1
    assert pip_install("export") in error_of(capsys)

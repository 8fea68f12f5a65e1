"""What the tests of several commands share."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

COMMAND = [sys.executable, "-m", "instructor_onnx"]
INSTRUCTION = "Represent the Science title: "
CHUNK = 50


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Enough rows for many chunks."""
    path = tmp_path / "in.jsonl"
    rows = ({"id": i, "text": f"the river rises {i} {'in the hills ' * (i % 5)}"} for i in range(1000))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "own"))


@pytest.fixture
def exporter() -> ModuleType:
    return importlib.import_module("instructor_onnx_export")


def encode(bundle: Path | str, source: Path | str, target: Path | str, *options: str) -> list[str]:
    arguments = ["encode", str(bundle), str(source), "-o", str(target), "--instruction", INSTRUCTION, "--device", "cpu"]
    return [*arguments, "--chunk-rows", str(CHUNK), "--threads", "1", *options]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("instructor-onnx: ")
    return captured.err

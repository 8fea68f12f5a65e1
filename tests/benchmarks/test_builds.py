"""One build of the kernels beside another."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from instructor_onnx import engines

from benchmarks import builds


@pytest.fixture(scope="module")
def library() -> Path:
    pytest.importorskip("instructor_onnx.engines.kernels", exc_type=ImportError)
    return next(file for folder in engines.__path__ for file in Path(folder).glob("_kernels.*"))


def test_a_wheel_beside_the_library_in_it(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel, out = tmp_path / "a-py3-none-any.whl", tmp_path / "builds.json"
    with zipfile.ZipFile(wheel, "w") as files:
        files.write(library, f"instructor_onnx/engines/{library.name}")
    command = [str(library), str(wheel), "--isas", "scalar", "--shapes", "1x8", "--rounds", "1", "--out", str(out)]
    assert builds.main([*command, "--names", "GCC,Zig"]) == 0
    before, after = json.loads(out.read_text())["milliseconds"]["scalar"]["int8"]["1x8"]
    assert before > 0 < after
    said = capsys.readouterr().out
    assert "milliseconds of GCC" in said
    assert "| scalar, int8 | " in said


def test_a_wheel_without_kernels_is_named(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = tmp_path / "pure-py3-none-any.whl"
    zipfile.ZipFile(wheel, "w").close()
    assert builds.main([str(library), str(wheel), "--out", str(tmp_path / "builds.json")]) == 1
    assert f"{wheel}: has no kernels" in capsys.readouterr().err

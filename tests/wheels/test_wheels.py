"""`make wheels`: what it builds, and what is said of where that ran."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from wheels import build, run

PROJECT = Path(__file__).parents[2]


def test_an_unknown_platform_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([str(tmp_path / "dist"), "--only", "win_arm64,amiga"]) == 1
    said = capsys.readouterr().err
    assert "found amiga, expected of manylinux_2_17_x86_64" in said
    assert not (tmp_path / "dist").exists()


def test_a_tool_of_another_version_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "cmake":
            raise metadata.PackageNotFoundError(name)
        return "0.1"

    monkeypatch.setattr(metadata, "version", version)
    assert build.main([str(tmp_path / "dist")]) == 1
    said = capsys.readouterr().err
    assert "cmake 4" in said
    assert "pip install -r wheels/requirements.txt" in said


def test_the_table_says_what_ran_and_what_did_not() -> None:
    found = {
        "texts": 1000,
        "wheels": {
            "instructor_onnx-1-py3-none-win_amd64.whl": {
                "bytes": 11_000_000,
                "ran": {"wine": {"avx2": True, "scalar": True}},
            },
            "instructor_onnx-1-py3-none-musllinux_1_2_x86_64.whl": {
                "bytes": 10_000_000,
                "ran": {"this machine, musl": {"scalar": False}},
            },
            "instructor_onnx-1-py3-none-win_arm64.whl": {"bytes": 9_000_000, "ran": {}},
            "instructor_onnx-1-py3-none-any.whl": {"bytes": 8_000_000, "ran": {}},
        },
    }
    windows, musl, arm, pure = run.tables(found).splitlines()[2:]
    assert windows == "| `py3-none-win_amd64` | 11.0 MB | wine: avx2, scalar - the same bits |"
    assert "scalar - OTHER BITS" in musl
    assert "not executed" in arm
    assert "onnxruntime" in pure


def test_a_place_is_here_where_its_program_or_file_is() -> None:
    assert run.Place("a", "sh").is_here()
    assert run.Place("a", "/").is_here()
    assert not run.Place("a", "no-such-emulator").is_here()


@pytest.mark.slow
def test_a_wheel_is_the_same_twice_and_gives_the_same_bits(tmp_path: Path) -> None:
    """musl's, of this machine: another C library and another compiler than those of the build that runs the tests."""
    name = f"musllinux_1_2_{platform.machine()}"
    if find_spec("ziglang") is None or name not in build.TARGETS:
        pytest.skip("needs what `make wheels` installs, on Linux")
    for folder in ("dist", "again"):
        subprocess.run(
            [sys.executable, "-m", "wheels.build", tmp_path / folder, "--only", name], cwd=PROJECT, check=True
        )
    first, again = (next((tmp_path / folder).glob("*.whl")) for folder in ("dist", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert first.name.endswith(f"-py3-none-{name}.whl")
    with zipfile.ZipFile(first) as files:
        assert [file for file in files.namelist() if "/_kernels." in file] == ["instructor_onnx/engines/_kernels.so"]
    expected = run.write_case(tmp_path / "case")
    (place,) = run.places(None)[name]
    if not place.is_here() or shutil.which("sh") is None:
        pytest.skip("needs musl's loader")
    same = run.run(first, name, place, tmp_path, expected)
    assert same["scalar"]
    assert all(same.values())

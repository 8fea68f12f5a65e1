"""The wheel: an engine inside where there is a compiler, pure Python where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
LIBRARY = re.compile(r"instructor_onnx/engines/_kernels\.\w+")

pytestmark = pytest.mark.slow


def try_to_build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", str(folder), str(PROJECT)]
    done = subprocess.run(command, env=os.environ | environment, text=True, capture_output=True, check=False)
    if "No matching distribution found for scikit-build-core" in done.stderr + done.stdout:
        pytest.skip("needs a package index")
    return done


def build(folder: Path, **environment: str) -> tuple[zipfile.ZipFile, str]:
    """The project's wheel, and what building it said."""
    done = try_to_build(folder, **environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel), done.stdout + done.stderr


@pytest.fixture(scope="module")
def without_compiler(tmp_path_factory: pytest.TempPathFactory) -> tuple[zipfile.ZipFile, str]:
    folder = tmp_path_factory.mktemp("pure")
    return build(folder, CXX=str(folder / "no-compiler"))


def test_the_wheel_has_an_engine_inside(tmp_path: Path) -> None:
    pytest.importorskip(
        "instructor_onnx.engines.kernels", exc_type=ImportError, reason="the native kernels cannot be compiled here"
    )
    wheel, _ = build(tmp_path)
    names = wheel.namelist()
    assert re.fullmatch(r"instructor_onnx-[\w.]+-py3-none-(?!any)\w+\.whl", Path(str(wheel.filename)).name)
    assert [name for name in names if LIBRARY.fullmatch(name)]
    assert {name.partition("/")[0] for name in names if name.endswith(".py")} == {
        *("instructor_onnx", "instructor_onnx_export", "instructor_onnx_training")
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {"instructor_onnx/instructor-mini/manifest.json", "instructor_onnx/py.typed"} <= set(names)
    page = {path.name for path in (PROJECT / "runtime/instructor_onnx/server/page").iterdir()}
    assert "index.html" in page
    assert {f"instructor_onnx/server/page/{name}" for name in page} <= set(names)


def test_without_a_compiler_the_wheel_is_pure_and_says_so(without_compiler: tuple[zipfile.ZipFile, str]) -> None:
    wheel, said = without_compiler
    assert str(wheel.filename).endswith("-py3-none-any.whl")
    assert not [name for name in wheel.namelist() if LIBRARY.fullmatch(name)]
    (line,) = [line for line in said.splitlines() if "without its native kernels" in line]
    assert "apt install g++" in line
    assert "pip install onnxruntime" in line


def test_a_release_is_never_without_kernels(tmp_path: Path) -> None:
    """wheels/build.py says that it makes one."""
    assert try_to_build(tmp_path, CXX=str(tmp_path / "no-compiler"), INSTRUCTOR_ONNX_RELEASE="1").returncode != 0
    assert list(tmp_path.glob("*.whl")) == []


def test_the_description_has_no_dead_link(without_compiler: tuple[zipfile.ZipFile, str]) -> None:
    """An index shows it without the project's other files."""
    wheel, _ = without_compiler
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    text = wheel.read(metadata).decode()
    assert "# instructor-onnx" in text
    assert re.findall(r"\]\((?!https?://)[^)]*\)", text) == []

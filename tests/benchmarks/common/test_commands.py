"""Every benchmark is a command of its own name, and says its mistakes in a line."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.common import PROJECT

COMMANDS = sorted(
    [f"benchmarks.{path.parent.name}.__main__" for path in (PROJECT / "benchmarks").glob("*/__main__.py")]
    + [f"benchmarks.{path.stem}" for path in (PROJECT / "benchmarks").glob("*.py") if "def main(" in path.read_text()]
)


@pytest.mark.parametrize("module", COMMANDS)
def test_its_help_says_how_it_is_called(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    if module == "benchmarks.spark":
        pytest.importorskip("pyspark")
    with pytest.raises(SystemExit, match="^0$"):
        import_module(module).main(["--help"])
    name = f"python -m {module.removesuffix('.__main__')}"
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {name} ")
    assert f"\n    {name}" in said  # in its text


@pytest.mark.parametrize("name", ["int8", "native.__main__", "quality.__main__", "serving.__main__", "soak.__main__"])
def test_a_mistake_is_a_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing, out = str(tmp_path / "nothing"), str(tmp_path / "out.json")
    subjects = [nothing, nothing] if name == "native.__main__" else [nothing]
    assert import_module(f"benchmarks.{name}").main([*subjects, "--out", out]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"python -m benchmarks.{name.removesuffix('.__main__')}: error: ")
    assert nothing in said
    assert said.count("\n") == 1

"""Every benchmark is a command of its own name."""

from __future__ import annotations

from importlib import import_module

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

"""Runs a script of examples/ in this process, and gives what it wrote."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def output_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Standard output of `examples/{name}_quickstart.py`; the documentation shows the same script."""
    capsys.readouterr()
    runpy.run_path(str(EXAMPLES / f"{name}_quickstart.py"))["main"]()
    return capsys.readouterr().out

"""The options of `figures.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as `python benchmarks/compare.py` has it

PROJECT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bundle", type=Path, default=PROJECT / "runtime/instructor_onnx/instructor-mini", help="the bundle to time"
    )
    parser.addoption(
        "--checkpoint", type=Path, default=PROJECT / "checkpoints/instructor-mini", help="what the export is timed on"
    )

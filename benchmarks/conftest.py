"""The options of `figures.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from instructor_onnx.loading import EMBEDDED

from benchmarks.common import PROJECT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bundle", type=Path, default=EMBEDDED["instructor-mini"], help="the bundle to time")
    parser.addoption(
        "--checkpoint", type=Path, default=PROJECT / "checkpoints/instructor-mini", help="what the export is timed on"
    )

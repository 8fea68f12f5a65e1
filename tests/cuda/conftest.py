"""Tests that need an NVIDIA GPU and onnxruntime-gpu; each says why where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from instructor_onnx.engines import devices
from instructor_onnx.engines.devices import import_onnxruntime

MISSING = devices.missing(import_onnxruntime(), 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what lies in this folder where there is no GPU."""
    for item in items:
        if MISSING and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {MISSING}"))

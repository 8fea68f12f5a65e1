"""Tests that need an NVIDIA GPU and onnxruntime-gpu, or the latter alone; each says why where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from instructor_onnx.engines import devices
from instructor_onnx.engines.devices import import_onnxruntime

MISSING = devices.missing(import_onnxruntime(), 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what lies in this folder where there is no GPU; a stand-in is none."""
    for item in items:
        if MISSING and item.path.parent == Path(__file__).parent and item.path.stem != "test_stand_in":
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {MISSING}"))

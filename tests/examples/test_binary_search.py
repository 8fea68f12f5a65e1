"""examples/binary_search.py, on a few texts."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.examples.conftest import EXAMPLES


def test_bits_ranked_again_find_what_floats_find() -> None:
    pytest.importorskip("usearch")
    command = [sys.executable, str(EXAMPLES / "binary_search.py"), "--count", "3000", "--questions", "50"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\w.*?) +([\d.]+) +([\d.]+) +\d+ +([\d.]+)$", done.stdout, re.MULTILINE)
    recall = {name: float(share) for name, _, _, share in rows}
    size = {name: float(vectors) for name, _, vectors, _ in rows}
    assert list(recall) == ["float32", "int8", "binary", "binary, 40 ranked by int8"]
    assert min(recall["float32"], recall["int8"], recall["binary, 40 ranked by int8"]) > 0.95
    assert recall["binary"] < recall["binary, 40 ranked by int8"]
    assert size["int8"] == pytest.approx(size["float32"] / 4, rel=0.05)
    assert size["binary"] == pytest.approx(size["float32"] / 32, abs=0.06)

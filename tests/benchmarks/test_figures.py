"""The pytest-benchmark suite runs: each of its tests once, nothing timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import PROJECT


@pytest.mark.slow
def test_every_figure_runs(base_checkpoint: Path) -> None:
    options = ["--benchmark-disable", "-p", "no:cacheprovider", "-q", "--checkpoint", str(base_checkpoint)]
    command = [sys.executable, "-m", "pytest", "benchmarks/figures.py", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "10 passed" in done.stdout

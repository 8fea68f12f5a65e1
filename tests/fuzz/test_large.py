"""Findings of an attack that cost gigabytes: what is large costs little more than itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import kinds
from tests.fuzz.worker import Limits, Worker

SECONDS = 300  # for everything: only what never ends takes as long
MEGABYTES = 600  # bodies and lines took 10,000 and more, files what they have


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="watches its workers through /proc")
@pytest.mark.parametrize(("name", "kind"), [("Bodies", "server"), ("Lines", "input"), ("Files", "manifest")])
def test_what_is_large_costs_little(name: str, kind: str, tmp_path: Path) -> None:
    if missing := kinds.missing(kind):
        pytest.skip(f"needs {', '.join(missing)}")
    watched = Worker(f"tests.fuzz.large:{name}", tmp_path / name, Limits(SECONDS, MEGABYTES))
    try:
        verdict = watched.attempt(0)
    finally:
        watched.close()
    assert verdict.outcome == "same", verdict

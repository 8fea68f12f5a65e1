"""The fuzzer: it finds what is planted, every kind runs, and a minute of it finds nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import kinds, planted
from tests.fuzz.__main__ import main
from tests.fuzz.runner import Report, fuzz
from tests.fuzz.verdict import Verdict
from tests.fuzz.worker import Limits, Worker

# The watching, for its part, is Linux's: /proc says what a process takes.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches its workers through /proc")
PLANTED = "tests.fuzz.planted:Planted"
CASES = 5  # of each kind
INSTALLED = [name for name in kinds.KINDS if not kinds.missing(name)]


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    watched = Worker(PLANTED, tmp_path / "planted", Limits(seconds=3, megabytes=200))
    found = {}
    try:
        for seed, defect in enumerate(planted.DEFECTS):
            found[defect] = watched.attempt(seed)
    finally:
        watched.close()
    assert {defect: verdict.outcome for defect, verdict in found.items()} == planted.DEFECTS
    assert "planted.py" in found["a hang"].details  # where it hung
    assert "Aborted" in found["a crash"].details
    assert "KeyError" in found["another library's error"].details


def test_findings_are_told_by_cause_with_their_seeds() -> None:
    report = Report()
    wrong = Verdict("wrong", "another vector: of [1, 2]", "streams.py:7")
    report.add("input", 3, wrong)
    report.add("input", 9, Verdict("wrong", "another vector: of [3, 4]", "streams.py:7"))
    report.add("input", 4, Verdict("refused", "rows.csv, line 1: ..."))
    assert "| input | 3 | 0 | 0 | 1 | 2 | 0 | 0 | 0 | 0 |" in report.table()
    assert report.causes().splitlines() == [
        "input: wrong streams.py:7, 2 cases, seeds 3, 9: 'another vector: of [1, 2]'",
        "    python -m tests.fuzz --kind input --seed 3",
    ]


def test_a_case_is_repeated_by_its_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = set()
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert main(["--kind", "manifest", "--seed", "2", "--keep", str(folder)]) == 0
        said.add(capsys.readouterr().out.replace(str(folder), ""))
        assert (folder / "manifest" / "case" / "manifest.json").exists()
    assert len(said) == 1


@pytest.mark.parametrize("name", kinds.KINDS)
def test_a_few_cases_of_every_kind(name: str, tmp_path: Path) -> None:
    if missing := kinds.missing(name):
        pytest.skip(f"needs {', '.join(missing)}")
    watched = Worker(kinds.KINDS[name][0], tmp_path / name, Limits())
    try:
        verdicts = [watched.attempt(seed) for seed in range(CASES)]
    finally:
        watched.close()
    assert not [verdict for verdict in verdicts if verdict.is_finding]


@pytest.mark.slow
def test_a_minute_of_every_kind() -> None:
    report = fuzz(INSTALLED, 60, first_seed=0, jobs=1, limits=Limits())
    assert not report.findings, f"\n{report.table()}\n\n{report.causes()}"
    assert all(report.counts.values()), report.table()  # each was tried

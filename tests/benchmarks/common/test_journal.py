"""The journal of a run: what a kill leaves of it is read again, and no more is lost than the line being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.journal import Journal, digest


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_stopped_run_goes_on_from_the_last_whole_line(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "journal.jsonl"
    journal = Journal.open(path)
    assert not path.parent.exists()
    for index in range(3):
        journal.add("time", "torch", round=index, seconds=[0.5])
    written = path.read_bytes()
    path.write_bytes(written[: len(written) - cut])  # the newline alone may be missing
    again = Journal.open(path)
    kept = 3 if cut < 2 else 2
    assert again.entries == journal.entries[:kept]
    again.add("time", "torch", round=kept)
    assert Journal.open(path).entries == again.entries


def test_entries_are_found_by_what_they_are_of(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.jsonl")
    journal.add("time", "a", work="mixed", seconds=[1.0])
    journal.add("time", "b", work="mixed", seconds=[2.0])
    journal.add("time", "b", work="query", seconds=[3.0])
    journal.add("failed", "b", reason="no")
    assert [entry["seconds"] for entry in journal.of("time")] == [[1.0], [2.0], [3.0]]
    assert [entry["seconds"] for entry in journal.of("time", "b")] == [[2.0], [3.0]]
    assert [entry["seconds"] for entry in journal.of("time", "b", work="query")] == [[3.0]]
    assert journal.of("failed", "a") == []


def test_the_name_of_a_journal_is_its_subjects() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": (2,), "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})

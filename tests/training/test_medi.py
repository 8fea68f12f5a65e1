"""MEDI files: read back as written; each way a row can be wrong is named with its row."""

import json
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx_training.medi import MediRow, read_medi, write_medi

GOOD: dict[str, Any] = {"query": ["i: ", "q"], "pos": ["i: ", "p"], "neg": ["i: ", "n"], "task_id": 3}


def test_rows_survive_a_round_trip(tmp_path: Path) -> None:
    rows = [
        MediRow(("i: ", "qué"), ("", "p"), ("", "n"), 3),
        MediRow(("i: ", "q"), ("i: ", "p"), ("i: ", "n"), 4, "who", "why"),
    ]
    write_medi(rows, tmp_path / "rows.json")
    assert read_medi(tmp_path / "rows.json") == rows
    assert rows[0].key == "p"
    assert (rows[1].key, rows[1].neg_key) == ("who", "why")


def test_the_older_third_element_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([GOOD | {"query": ["i: ", "q", 0]}]))
    assert read_medi(tmp_path / "rows.json")[0].query == ("i: ", "q")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["q", "p"], "row 1: expected"),
        ({"query": ["i", "q"], "pos": ["i", "p"]}, "row 1: no 'neg' nor 'task_id'"),
        (GOOD | {"pos": "text"}, r"row 1: 'pos' must be \[instruction, text\], got \"text\""),
        (GOOD | {"neg": ["only"]}, "row 1: 'neg' must be"),
        (GOOD | {"query": ["i", 5]}, "row 1: 'query' must be"),
        (GOOD | {"query": ["i", " "]}, "row 1: the text of 'query' is blank"),
        (GOOD | {"query": ["i", "\ud83d"]}, "row 1: 'query' holds half a surrogate pair"),
        (GOOD | {"task_id": "3"}, "row 1: 'task_id' must be an integer"),
        (GOOD | {"task_id": True}, "row 1: 'task_id' must be an integer"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Any, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([GOOD, row]))
    with pytest.raises(ValueError, match=message):
        read_medi(path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("[]", "non-empty JSON list"), ("{}", "non-empty JSON list")]
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_medi(path)
    with pytest.raises(FileNotFoundError, match="no MEDI file"):
        read_medi(tmp_path / "absent.json")


def test_the_documented_rows_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text("utf-8")
    path = tmp_path / "rows.json"
    path.write_text(page.partition("```json\n")[2].partition("```")[0], "utf-8")
    rows = read_medi(path)
    assert len(rows) == 10
    assert {row.task_id for row in rows} == {0, 1}
    assert all(row.key != row.neg_key for row in rows)

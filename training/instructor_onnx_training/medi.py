"""MEDI files (Su et al. 2023): a JSON list of rows, read with an error for each way a row can be wrong.

A row: `{"query": [instruction, text], "pos": [instruction, text], "neg": [instruction, text], "task_id": 3}`.
Two optional keys of our own, ignored by the published trainer: `"group"` and `"neg_group"` name the class of the
query and of the negative where the task has classes, so that a batch does not hold right answers against a row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructor_onnx.inputs import HALF_PAIR, is_unicode

from instructor_onnx_training.files import write_atomically
from instructor_onnx_training.tokens import Row

_TEXTS = ("query", "pos", "neg")
_EXPECTED = '{"query": [instruction, text], "pos": [...], "neg": [...], "task_id": int}'


@dataclass(frozen=True)
class MediRow:
    """One training example of one task."""

    query: Row
    pos: Row
    neg: Row
    task_id: int
    group: str = ""  # class of query and pos; '' where the task has none
    neg_group: str = ""

    @property
    def key(self) -> str:
        """What a candidate must not equal to be wrong: the class, or else the positive's text."""
        return self.group or self.pos[1]

    @property
    def neg_key(self) -> str:
        return self.neg_group or self.neg[1]


def read_medi(path: Path) -> list[MediRow]:
    """Every row of the file; the first bad one is a ValueError that names it and says what was expected."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no MEDI file at {path}: make one with `prepare`, or name your own") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); MEDI is one JSON list, not JSON lines") from error
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} must be a non-empty JSON list of rows {_EXPECTED}, got {type(content).__name__}")
    return [_row(row, f"{path}, row {number}") for number, row in enumerate(content)]


def write_medi(rows: Sequence[MediRow], path: Path) -> None:
    """One row a line, so that a diff or `head` can be read; the whole is one JSON list."""
    lines = []
    for row in rows:
        content: dict[str, Any] = {name: list(getattr(row, name)) for name in _TEXTS} | {"task_id": row.task_id}
        content |= {name: value for name in ("group", "neg_group") if (value := getattr(row, name))}
        lines.append(json.dumps(content, ensure_ascii=False))
    write_atomically(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def _row(row: Any, where: str) -> MediRow:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected {_EXPECTED}, got {type(row).__name__}")
    missing = [name for name in (*_TEXTS, "task_id") if name not in row]
    if missing:
        raise ValueError(f"{where}: no {' nor '.join(map(repr, missing))}; expected {_EXPECTED}")
    for name in _TEXTS:
        value = row[name]
        if not isinstance(value, list) or len(value) < 2 or not all(isinstance(part, str) for part in value[:2]):
            raise ValueError(f"{where}: {name!r} must be [instruction, text], got {json.dumps(value)[:80]}")
        if not value[1].strip():
            raise ValueError(f"{where}: the text of {name!r} is blank, so there is nothing to learn from it")
        if not all(map(is_unicode, value[:2])):
            raise ValueError(f"{where}: {name!r} holds {HALF_PAIR}")
    if not isinstance(row["task_id"], int) or isinstance(row["task_id"], bool):
        raise ValueError(f"{where}: 'task_id' must be an integer, got {json.dumps(row['task_id'])[:80]}")
    query, pos, neg = ((row[name][0], row[name][1]) for name in _TEXTS)
    return MediRow(query, pos, neg, row["task_id"], str(row.get("group", "")), str(row.get("neg_group", "")))

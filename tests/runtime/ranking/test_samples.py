"""Labelled samples: the kinds, by their fields; errors that name the line and the field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx.ranking import samples
from instructor_onnx.ranking.samples import Labelled, Pairs, Retrieval, read


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "sample.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def questions(count: int) -> list[dict[str, Any]]:
    return [{"query": f"question {i}", "document": f"document {i}"} for i in range(count)]


def labelled(count: int) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": i % 2} for i in range(count)]


def test_retrieval(tmp_path: Path) -> None:
    """A query of two lines, a list, a document of two queries, and one of none."""
    more = [
        {"query": "question 0", "document": ["document 1", "another"]},
        {"query": "last", "document": "document 0", "id": 7},
        {"document": "nobody's"},
    ]
    found = read(written(tmp_path, *more[2:], *questions(10), *more[:2]))
    assert isinstance(found, Retrieval)
    assert found.documents == ["nobody's", *(f"document {i}" for i in range(10)), "another"]
    assert found.queries == [*(f"question {i}" for i in range(10)), "last"]
    assert found.relevant == [[1, 2, 11], *([i] for i in range(2, 11)), [1]]
    assert str(found) == "11 queries, 12 documents"


def test_pairs_packed(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    gold = [True, False, 0.5, 3, 1, 1, 0, 0, 0, 2]
    rows = [{"sentence1": f"a{i}", "sentence2": "b", "score": score} for i, score in enumerate(gold)]
    path.write_bytes(gzip.compress("\n\n".join(map(json.dumps, rows)).encode()))
    found = read(path)
    assert isinstance(found, Pairs)
    assert found.gold == [1, 0, 0.5, 3, 1, 1, 0, 0, 0, 2]
    assert found.sides == ([f"a{i}" for i in range(10)], ["b"] * 10)


def test_labels_of_any_sort(tmp_path: Path) -> None:
    """A text that comes twice counts once; a label of one text is told."""
    found = read(written(tmp_path, *labelled(12), {"text": "text 0", "label": "0"}, {"text": "x", "label": True}))
    assert isinstance(found, Labelled)
    assert found.texts == [*(f"text {i}" for i in range(12)), "x"]
    assert found.labels == [*["0", "1"] * 6, "true"]
    assert str(found) == "13 texts, 3 labels, 1 of them of one text (not scored)"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "sample.jsonl: empty, expected on each line query and document (retrieval), sentence1,"),
        (["{"], "line 1: not valid JSON"),
        (['"text"'], "line 1: found str, expected an object."),
        ([{"id": 1}], "line 1: fields of no kind (id), expected on each line query"),
        ([{}], "line 1: fields of no kind (none)"),
        ([{"text": "a", "query": "b"}], "line 1: fields of retrieval and labels (text, query), expected"),
        ([{"query": "a"}], "line 1: no field 'document' (it has query)."),
        ([*questions(1), {"text": "a", "label": 1}], "line 2: no field 'document' (it has text, label)."),
        ([{"query": "a", "document": []}], "line 1: field 'document' holds list ([]), expected a text or a list of"),
        ([{"query": "a", "document": ["b", 3]}], "line 1: field 'document' holds list (['b', 3])"),
        ([{"query": 3, "document": "a"}], "line 1: field 'query' holds int (3), expected a text."),
        ([{"text": " ", "label": 3}], "line 1: field 'text' holds str (' '), expected a text."),
        ([{"text": "a"}], "line 1: no field 'label' (it has text)."),
        (
            [{"text": "a", "label": 0.5}],
            "line 1: field 'label' holds float (0.5), expected a string or a whole number.",
        ),
        ([{"sentence1": "a", "sentence2": "b", "score": "4"}], "line 1: field 'score' holds str ('4'), expected a num"),
        (
            [{"sentence1": "a", "sentence2": "b", "score": 10**400}],
            "line 1: field 'score' holds a number of 401 digits",
        ),
        ([*labelled(3), {"text": "text 1", "label": 0}], "line 4: label 0 for the text that line 2 has as 1. Keep one"),
        (questions(9), "sample.jsonl: found 9 queries, expected 10 or more"),
        ([{"text": f"{i}", "label": i} for i in range(20)], "found 0 texts that share a label with another, expected"),
        ([{"text": f"{i}", "label": "x"} for i in range(20)], "'label' is the same on every line"),
        ([{"sentence1": "a", "sentence2": "b", "score": 1}] * 20, "'score' is the same on every line"),
        ([{"query": f"{i}", "document": "x"} for i in range(20)], "'document' is the same on every line"),
    ],
)
def test_errors_name_the_line_and_the_field(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (what it says is looked at as it is)
        read(written(tmp_path, *lines))
    assert said in str(caught.value)


def test_a_sample_is_no_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST", 20)
    assert read(written(tmp_path, *labelled(20))).units == 20
    with pytest.raises(ValueError, match="line 21: more than 20 lines. Draw some: shuf -n 1000 "):
        read(written(tmp_path, *labelled(21)))

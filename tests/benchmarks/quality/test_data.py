"""The readers of the published formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality import data
from tests.benchmarks.quality.conftest import WORDS


def test_stsb_is_unquoted_and_may_have_more_columns(eval_data: Path) -> None:
    pairs = data.stsb(eval_data)
    assert pairs.scores == [5.0, 2.5, 0.0, 1.2]
    assert pairs.first[0] == 'The river is "long"'
    assert pairs.second[1] == '"Bread needs salt'
    assert pairs.second[2] == "A cell is small"


def test_scifact_keeps_judged_queries_and_puts_the_title_first(eval_data: Path) -> None:
    found = data.scifact(eval_data)
    assert found.queries == {"q1": "Every mill", "q4": "Every boat"}
    assert found.relevant == {"q1": {"d1": 1, "d3": 1}, "q4": {"d4": 1}}
    assert found.documents["d1"] == "On the mill The mill."
    assert len(found.documents) == len(WORDS)


def test_xquad_gives_each_question_its_paragraph(eval_data: Path) -> None:
    found = data.xquad(eval_data)
    assert found.queries["x6"] == "What of the cod?"
    ((document, grade),) = found.relevant["x6"].items()
    assert grade == 1
    assert found.documents[document] == "The cod rises."


def test_a_limited_retrieval_set_keeps_every_answer(eval_data: Path) -> None:
    found = data.scifact(eval_data, 1)
    assert list(found.queries) == ["q1"]
    assert {"d1", "d3"} <= set(found.documents)
    assert len(found.documents) < len(WORDS)


def test_classification_sets(eval_data: Path) -> None:
    train, test = data.banking77(eval_data)
    assert (train.texts[0], train.labels[0]) == ("I lost my river, and more", "water")
    assert (test.texts[-1], test.labels[-1]) == ("I found my nerve, and more", "land")
    train, test = data.clinc150(eval_data)
    assert (train.texts[0], test.labels[-1]) == ("show the river", "land")
    assert "oos" not in test.labels


def test_titles_and_labels_go_together(eval_data: Path, tmp_path: Path) -> None:
    found = data.stackoverflow(eval_data, 6)
    assert found.texts[1] == "How to sell the harbour ?"
    assert found.labels == ["1", "2", "3", "4", "5", "6"]
    folder = tmp_path / "stackoverflow_titles"
    folder.mkdir()
    (folder / "title_StackOverflow.txt").write_text("a\nb\n")
    (folder / "label_StackOverflow.txt").write_text("1\n")
    with pytest.raises(ValueError, match="2 titles and 1 labels"):
        data.stackoverflow(tmp_path)


def test_billboard_joins_references_by_id(eval_data: Path) -> None:
    found = data.billboard(eval_data, "mscoco")
    assert found.hypotheses[0] == f"One {WORDS[-1]}"
    assert found.references[:2] == [[f"A {WORDS[-1]}", f"The {WORDS[-1]}"], [f"A {WORDS[-2]}"]]
    assert found.scores[-1] == 0


def test_spread_is_even_and_ordered() -> None:
    assert data.spread(range(10), 4) == [0, 2, 5, 7]
    assert data.spread(range(3), 4) == [0, 1, 2]
    assert data.spread(range(3), None) == [0, 1, 2]


def test_a_missing_set_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data"):
        data.xquad(tmp_path)

"""Pair folders → MEDI rows: the texts are clean, every task is right about who is right, the seed decides the rest."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_training.instructions import every_instruction
from instructor_onnx_training.medi import MediRow
from instructor_onnx_training.mining import bag_of_pieces, mine_negatives
from instructor_onnx_training.model import Embedder
from instructor_onnx_training.prepare import TASKS, prepare
from instructor_onnx_training.readings import aspect_of, form_of
from instructor_onnx_training.sources import available, detokenise, read_pairs
from instructor_onnx_training.texts import choose_texts


@pytest.fixture(scope="module")
def rows(data: Path, checkpoint: Path, tokenizer: Tokenizer) -> list[MediRow]:
    from instructor_onnx_training.model import load_checkpoint

    return prepare(data, bag_of_pieces(load_checkpoint(checkpoint), tokenizer, max_length=32), seed=1)


def of_task(rows: list[MediRow], task: str) -> list[MediRow]:
    found = [row for row in rows if row.task_id == TASKS.index(task)]
    assert found, task
    return found


def test_questions_meet_passages_under_instructions_of_their_side(rows: list[MediRow]) -> None:
    for row in of_task(rows, "squad_sentences"):
        assert "question for" in row.query[0]
        assert row.pos[0] == row.neg[0] != row.query[0]
        assert row.neg[1] != row.pos[1]
        thing = row.query[1].split("(")[0].split()[-1]
        assert f"the {thing} sits" in row.pos[1]
    assert {row.pos[1].count("sits") for row in of_task(rows, "squad_sentences")} == {1, 2, 3, 4, 5}  # cut at the ends


def test_entailment_takes_its_negative_from_the_contradiction(rows: list[MediRow]) -> None:
    for row in of_task(rows, "esnli"):
        assert row.pos[1].endswith("is")
        assert row.neg[1].startswith("no ")
        assert row.query[0] == row.pos[0]


def test_the_same_questions_are_told_apart_by_aspect_and_by_disease(rows: list[MediRow]) -> None:
    for task, same, other in (("aspect", 0, 1), ("disease", 1, 0)):
        for row in of_task(rows, task):
            query, pos, neg = (aspect_of(text) for _, text in (row.query, row.pos, row.neg))
            assert query[same] == pos[same] != neg[same]
            assert query[other] == neg[other] != pos[other]
            assert (row.group, row.neg_group) == (query[same], neg[same])


def test_form_rows_share_a_form_and_their_negatives_do_not(rows: list[MediRow]) -> None:
    for row in of_task(rows, "form"):
        assert row.group != row.neg_group
        assert "how" not in row.group or row.query[1].startswith("how")
    for row in of_task(rows, "topic"):
        assert row.group == ""


def test_only_known_instructions_are_used_and_they_end_cleanly(rows: list[MediRow]) -> None:
    known = {*every_instruction(), ""}
    assert {row[0] for medi in rows for row in (medi.query, medi.pos, medi.neg)} <= known
    assert all(text.endswith(": ") and not text.endswith("  ") for text in every_instruction())


def test_the_seed_decides(data: Path, model: Embedder, tokenizer: Tokenizer, rows: list[MediRow]) -> None:
    encode = bag_of_pieces(model, tokenizer, max_length=32)
    assert prepare(data, encode, seed=1) == rows
    assert prepare(data, encode, seed=2) != rows


def test_mining_finds_the_near_and_spares_the_right() -> None:
    places = {"q": 0.0, "right": 0.1, "twin": 0.12, "near": 1.0, "far": 2.5}

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.array([[np.cos(places[text]), np.sin(places[text])] for text in texts], dtype=np.float32)

    rng = np.random.default_rng(0)
    mined = mine_negatives(["q", "far", "far", "far"], ["right", "twin", "near", "far"], encode, rng)
    assert mined[0] in (2, 3)  # the twin of the right answer is one more right answer
    grouped = mine_negatives(["q", "far", "far"], ["right", "near", "far"], encode, rng, groups=["a", "a", "b"])
    assert grouped[0] == 2
    assert mine_negatives(["q", "q"], ["right", "near"], encode, rng) == [-1, -1]  # both are answers of this query


@pytest.mark.parametrize(
    ("text", "source", "form"),
    [
        ("How do I parse XML?", "", "how to"),
        ("how many moons has Mars?", "", "how many"),
        ("Why is the sky blue?", "", "why"),
        ("Is it inherited?", "", "yes or no"),
        ("Can you find me a hotel?", "", ""),
        ("Neural parsing of Arabic", "acl_abstracts", "title"),
        ("I want to book a room", "sgd_dialogue", "request"),
        ("Neural parsing of Arabic", "", ""),
    ],
)
def test_forms(text: str, source: str, form: str) -> None:
    assert form_of(text, source) == form


def test_texts_are_put_back_together() -> None:
    assert detokenise("`` do n't '' , -lrb- he said -rrb- ; it 's $ 4") == "\" don't \", (he said); it's $4"


def test_sources_are_named_when_they_are_wrong(data: Path, tmp_path: Path) -> None:
    assert available(data) == ["esnli", "medquad", "squad_sentences"]
    with pytest.raises(FileNotFoundError, match="none of the known sources"):
        available(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tldr.*--data"):
        read_pairs(data, "tldr")
    (tmp_path / "tldr").mkdir()
    with gzip.open(tmp_path / "tldr/pairs.jsonl.gz", "wt") as lines:
        lines.write('{"a": "x", "b": "y"}\n{"a": "x"}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_pairs(tmp_path, "tldr")


def test_chosen_texts_are_distinct_and_seeded(data: Path) -> None:
    texts = choose_texts(data, seed=1)
    assert len(texts) == len(set(texts))
    assert texts == choose_texts(data, seed=1) != choose_texts(data, seed=2)

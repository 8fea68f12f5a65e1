"""Candidates in order, embedded once, and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.inputs import Row
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL, Pair
from instructor_onnx.ranking import candidates, report
from instructor_onnx.ranking.candidates import NONE, Candidate, same
from instructor_onnx.ranking.rank import rank
from instructor_onnx.ranking.samples import Labelled, Pairs, Retrieval

GOOD, BAD = same("good", "good: "), same("bad", "bad: ")
LABELLED = Labelled([f"text {i}" for i in range(40)], [str(i % 4) for i in range(40)])
RETRIEVED = Retrieval([f"q{i}" for i in range(20)], [f"d{i}" for i in range(30)], [[i] for i in range(20)])

Embed = Callable[[Row], list[float]]


@pytest.fixture(scope="module")
def mini() -> INSTRUCTOR:
    return INSTRUCTOR("instructor-mini", device="cpu")


@pytest.fixture
def embedding(mini: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch) -> Callable[[Embed], list[Row]]:
    """Let a function embed; what it was asked for is noted."""

    def use(embed: Embed) -> list[Row]:
        asked: list[Row] = []

        def encode(rows: list[Row], **options: Any) -> Any:
            asked.extend(rows)
            return np.array([embed(row) for row in rows], dtype=np.float32)

        monkeypatch.setattr(mini, "encode", encode)
        return asked

    return use


def by_label(row: Row) -> list[float]:
    """Texts of a label together under "good: ", anywhere under another instruction."""
    number = int(row.text.split()[1])
    noise = np.random.default_rng(number).normal(size=4)
    return [*(np.eye(4)[number % 4] * 10 * (row.instruction == "good: ") + noise)]


def test_the_better_instruction_comes_first_with_its_interval(
    mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]
) -> None:
    embedding(by_label)
    found = rank(mini, LABELLED, [BAD, GOOD])
    assert [candidate.name for candidate in found.candidates] == ["good", "none", "bad"]
    best, none, bad = found.candidates
    assert best.scores["mAP"].value > 0.95
    assert best.over_none.is_not_zero
    assert best.over_none.value == pytest.approx(best.scores["mAP"].value - none.scores["mAP"].value)
    assert best.over_none.low < best.over_none.value < best.over_none.high
    assert (bad.over_none.low, bad.over_none.high) == (0, 0)  # the same vectors on the same resamples
    assert bad.over_best.is_not_zero
    assert (found.kind, found.unit, found.units, found.by) == ("labels", "texts", 40, "mAP")
    assert found.as_good == ()
    assert rank(mini, LABELLED, [GOOD, BAD], by="nearest").by == "nearest"
    with pytest.raises(ValueError, match="by='F1': a sample of labels is ranked by mAP or nearest."):
        rank(mini, LABELLED, [GOOD], by="F1")


def test_what_is_shared_is_embedded_once(mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]) -> None:
    asked = embedding(lambda row: [*np.random.default_rng(len(row.text)).normal(size=4)])
    shared = "Represent the document for retrieval: "
    rank(mini, RETRIEVED, [Candidate("a", Pair("a: ", shared)), Candidate("b", Pair("b: ", shared)), NONE])
    assert len(asked) == len(set(asked))
    assert len(asked) == 20 + 20 + 30 + 50


def test_queries_and_documents_get_their_own_instruction(
    mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]
) -> None:
    def embed(row: Row) -> list[float]:
        fits = row.instruction == {"q": "query: ", "d": "document: "}[row.text[0]]
        return [*np.eye(30)[int(row.text[1:])]] if fits else [1.0] * 30

    embedding(embed)
    found = rank(mini, RETRIEVED, [Candidate("right", Pair("query: ", "document: ")), same("one", "query: ")])
    assert found.best.name == "right"
    assert found.best.scores["nDCG@10"].value == 1
    assert found.best.scores["recall@10"].value == 1


def test_a_query_among_the_documents_does_not_find_itself(
    mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]
) -> None:
    """Duplicate questions, each line with its duplicate, in both directions."""
    questions = [f"q{i}" for i in range(20)]
    duplicates = Retrieval(questions, questions, [[i ^ 1] for i in range(20)])
    embedding(lambda row: [*np.eye(10)[int(row.text[1:]) // 2]])
    assert rank(mini, duplicates, []).best.scores["nDCG@10"].value == 1


def test_pairs_are_compared_under_one_instruction(mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]) -> None:
    gold = [i / 20 for i in range(20)]

    def embed(row: Row) -> list[float]:
        cosine = float(row.text) if row.instruction == "good: " else 0.5
        return [cosine, (1 - cosine**2) ** 0.5]

    embedding(embed)
    found = rank(mini, Pairs(["1.0"] * 20, [str(value) for value in gold], gold), [GOOD])
    assert found.best.name == "good"
    assert found.best.scores["Spearman"].value == pytest.approx(1)


def test_candidates_fit_the_kind() -> None:
    assert [candidate.pair for candidate in candidates.ready_made("retrieval")] == list(RETRIEVAL.values())
    assert [candidate.pair.query for candidate in candidates.ready_made("labels")] == list(SAME_FOR_ALL.values())
    kinds = {kind: candidates.published("instructor-large", kind) for kind in ("retrieval", "pairs", "labels")}
    assert sum(map(len, kinds.values())) == 67
    names = {kind: {candidate.name for candidate in found} for kind, found in kinds.items()}
    assert {"NQ", "AskUbuntuDupQuestions"} <= names["retrieval"]
    assert {"STS12", "TwitterURLCorpus", "SummEval"} <= names["pairs"]
    assert {"Banking77Classification", "TwentyNewsgroupsClustering", "RedditClusteringP2P"} <= names["labels"]
    with pytest.raises(ValueError, match="published for instructor-base"):
        candidates.published("instructor-mini", "labels")


def test_a_bundles_prompts_are_candidates() -> None:
    prompts = {"query": "q: ", "topic": "t: ", "document": "d: "}
    assert candidates.of_bundle(prompts, "retrieval") == [Candidate("bundle's prompts", Pair("q: ", "d: "))]
    assert candidates.of_bundle(prompts, "labels") == [same("prompt topic", "t: ")]
    assert candidates.of_bundle({"query": "q: "}, "retrieval") == []


def test_none_is_none_where_the_bundle_has_a_default() -> None:
    """Else a default prompt would be compared with itself."""
    default = INSTRUCTOR("instructor-mini", device="cpu", prompts={"mine": GOOD.pair.query}, default_prompt_name="mine")
    found = {candidate.name: candidate.scores for candidate in rank(default, LABELLED, [GOOD]).candidates}
    plain = {
        candidate.name: candidate.scores
        for candidate in rank(INSTRUCTOR("instructor-mini"), LABELLED, [GOOD]).candidates
    }
    assert found == plain
    assert found["none"] != found["good"]


def test_a_wording_counts_once_under_its_first_name() -> None:
    found = candidates.distinct([NONE, GOOD, same("again", GOOD.pair.query), same("nothing", "")])
    assert found == [NONE, GOOD]


def test_the_report(mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]) -> None:
    embedding(by_label)
    said = report.text(rank(mini, LABELLED, [BAD, GOOD]))
    table = said.split("\n\n")[1].splitlines()
    assert " ".join(table[0].split()) == "mAP 95 % nearest over none 95 % to the best 95 %"
    assert [line.split()[0] for line in table[1:]] == ["good", "none", "bad"]
    end = table[0].index("95 %") + len("95 %")
    assert all(line[end - 1].isdigit() and line[end] == " " for line in table[1:])
    assert "'good' is better than no instruction, by +" in said
    assert "It beats every other." in said
    assert 'in Python:\nMINE = "good: "\n' in said
    config = said[said.index("{") :]
    assert json.loads(config) == {"prompts": {"mine": "good: "}, "default_prompt_name": "mine"}


def test_the_report_of_a_tie_says_so(mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]) -> None:
    embedding(by_label)
    said = report.text(rank(mini, LABELLED, [BAD]))
    assert "None scores best: the texts as they are." in said
    assert "As good as the best, as far as this sample tells: bad." in said
    assert said.endswith("Nothing to paste: embed the texts as they are.")


def test_a_pair_is_pasted_as_a_pair(mini: INSTRUCTOR, embedding: Callable[[Embed], list[Row]]) -> None:
    embedding(lambda row: [*np.eye(30)[int(row.text[1:])]] if row.instruction else [1.0] * 30)
    said = report.text(rank(mini, RETRIEVED, [Candidate("own", Pair('the "query": ', "document: "))]))
    line = next(line for line in said.splitlines() if line.startswith("MINE"))
    names: dict[str, Any] = {"Pair": Pair}
    exec(line, names)
    assert names["MINE"] == Pair('the "query": ', "document: ")
    config = json.loads(said[said.index("{\n") :])
    assert config["prompts"] == {"query": 'the "query": ', "document": "document: "}

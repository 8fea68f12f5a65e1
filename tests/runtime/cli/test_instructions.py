"""`instructor-onnx instructions`: what it lists, ranks and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from instructor_onnx import cli
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL

from tests.runtime.cli.conftest import error_of

OWN = "Represent the banking question for classifying its intent: "


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    subjects = {"animal": ["fox", "dog", "cat", "cow", "hen"], "vehicle": ["car", "bus", "train", "ship", "tram"]}
    rows = [{"text": f"a {name}", "label": label} for label, names in subjects.items() for name in names]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rank(sample: Path, *options: str) -> list[str]:
    return ["instructions", "rank", "instructor-mini", str(sample), "--device", "cpu", *options]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["instructions", "list"]) == 0
    out = capsys.readouterr().out
    wordings = [*(side for pair in RETRIEVAL.values() for side in pair), *SAME_FOR_ALL.values()]
    assert [text for text in wordings if f'"{text}"' not in out] == []


def test_rank(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(rank(labelled, "--instruction", OWN)) == 0
    out, err = capsys.readouterr()
    assert err == ""  # no bar where there is no terminal
    assert out.startswith("instructor-mini int8, labels: 10 texts, 2 labels\n")
    assert f'own 1: "{OWN}"' in out
    assert all(f"\n{name}  " in out for name in ["none", "own 1", *SAME_FOR_ALL])


def test_rank_as_json(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    options = ["--only-own", "--instruction", OWN, "--by", "nearest", "--seed", "3", "--plot", str(tmp_path / "a.svg")]
    assert cli.main(rank(labelled, "--json", *options)) == 0
    found = json.loads(capsys.readouterr().out)
    assert {candidate["name"] for candidate in found["candidates"]} == {"none", "own 1"}
    own = next(candidate for candidate in found["candidates"] if candidate["name"] == "own 1")
    assert own["pair"] == {"query": OWN, "document": OWN}
    assert own["scores"].keys() == {"mAP", "nearest"}
    assert own["over_none"].keys() == {"value", "low", "high"}
    assert (found["by"], found["seed"], found["kind"]) == ("nearest", 3, "labels")
    assert (tmp_path / "a.svg").exists()


def test_rank_pairs_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "search.jsonl"
    rows = [{"query": f"how old is number {i}?", "document": f"number {i} is {i} years old"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(rank(path, "--pair", "query: ", "document: ", "--mteb", "instructor-large", "--quiet")) == 0
    out = capsys.readouterr().out
    assert 'own 1: "query: ", "document: "' in out
    assert "\nSciFact  " in out
    assert "retrieval: 12 queries, 12 documents" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pair", "query: ", "document: "], "labelled.jsonl has labels, with one instruction for all. Use --instr"),
        (["--by", "F1"], "error: --by F1: a sample of labels is ranked by mAP or nearest."),
        (["--mteb", "instructor-mini"], "MTEB instructions are published for instructor-base"),
        (["--only-own"], "--only-own: there is none. Name one with --instruction or --pair."),
        (["--plot", "ranking.gif"], "--plot ranking.gif: expected a name that ends in .png or .svg."),
    ],
)
def test_what_rank_refuses(labelled: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(rank(labelled, *options)) == 1
    assert said in error_of(capsys)


def test_no_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(rank(tmp_path / "no.jsonl")) == 1
    assert "no.jsonl" in error_of(capsys)


def test_rank_on_banking77(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """200 questions of 77 intents, drawn by lot: enough to tell the instructions that harm, as the whole set has it."""
    with (shared / "data/eval/banking77/test.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    drawn = np.random.default_rng(0).choice(len(rows), 200, replace=False)
    path = tmp_path / "banking77.jsonl"
    sample = ({"text": rows[index]["text"], "label": rows[index]["category"]} for index in drawn)
    path.write_text("".join(json.dumps(row) + "\n" for row in sample))
    assert cli.main(rank(path, "--json")) == 0
    found = {candidate["name"]: candidate for candidate in json.loads(capsys.readouterr().out)["candidates"]}
    for harmful in ("sentiment", "classification"):
        assert found[harmful]["over_none"]["high"] < 0
    score, difference = found["none"]["scores"]["mAP"], found["similarity"]["over_none"]
    assert score["high"] - score["low"] > 0.1  # 17 points: what pairing is for
    assert difference["high"] - difference["low"] < 0.1

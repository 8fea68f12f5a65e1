"""The evaluation sets in their real formats, a few lines each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

WORDS = [
    *("river", "mill", "sea", "harbour", "boat", "herring", "cod", "bread", "flour"),
    *("salt", "oven", "wood", "baker", "bank", "euro", "plant", "cell", "nerve"),
]


@pytest.fixture(scope="session")
def eval_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every set: small, but as the published files are, quirks included."""
    folder = tmp_path_factory.mktemp("eval")
    _write(
        folder / "stsb" / "sts-test.csv",
        # quotes mean nothing in this file; two more columns may follow
        'main-news\theadlines\t2015\t0001\t5.000\tThe river is "long"\tThe river is long\n'
        'main-news\theadlines\t2015\t0002\t2.500\tBread needs flour\t"Bread needs salt\n'
        "main-forums\tanswers\t2015\t0003\t0.000\tThe harbour freezes\tA cell is small\tsource1\tsource2\n"
        "main-forums\tanswers\t2015\t0004\t1.200\tThe baker sleeps\tThe boats go out\n",
    )
    documents = [{"_id": f"d{i}", "title": f"On the {word}", "text": f"The {word}."} for i, word in enumerate(WORDS)]
    _write_lines(folder / "scifact" / "corpus.jsonl.gz", documents)
    queries: list[dict[str, Any]] = [
        {"_id": f"q{i}", "text": f"Every {word}", "metadata": {}} for i, word in enumerate(WORDS)
    ]
    _write_lines(folder / "scifact" / "queries.jsonl", queries)
    _write(folder / "scifact" / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td3\t1\nq4\td4\t1\n")
    paragraphs = [
        {"context": f"The {word} rises.", "qas": [{"id": f"x{i}", "question": f"What of the {word}?", "answers": []}]}
        for i, word in enumerate(WORDS)
    ]
    articles = [{"title": "A", "paragraphs": paragraphs[:5]}, {"title": "B", "paragraphs": paragraphs[5:]}]
    _write(folder / "xquad_en" / "xquad.en.json", json.dumps({"data": articles, "version": "1.1"}))
    for part, verb in (("train", "lost"), ("test", "found")):
        rows = [f'"I {verb} my {word}, and more",{"water" if i < 9 else "land"}' for i, word in enumerate(WORDS)]
        _write(folder / "banking77" / f"{part}.csv", "\n".join(["text,category", *rows]) + "\n")
    splits = {
        name: [[f"{verb} the {word}", "water" if i < 9 else "land"] for i, word in enumerate(WORDS)]
        for name, verb in (("train", "show"), ("val", "see"), ("test", "tell me of"))
    }
    _write(folder / "clinc150" / "data_full.json", json.dumps({**splits, "oos_test": [["what?", "oos"]]}))
    titles = [f"{how} the {word} ?" for word in WORDS for how in ("How to sell", "Why is", "Is it")]
    _write(folder / "stackoverflow_titles" / "title_StackOverflow.txt", "\n".join(titles) + "\n")
    labels = [str(1 + i // 9) for i in range(len(titles))]
    _write(folder / "stackoverflow_titles" / "label_StackOverflow.txt", "\n".join(labels) + "\n")
    for name in ("mscoco", "cnndm"):
        references = [
            {"seg_id": f"s{i}", "refs": [f"A {word}", f"The {word}"][: 1 + i % 2]} for i, word in enumerate(WORDS)
        ]
        _write_lines(folder / "billboard" / f"{name}_references.jsonl.gz", references)
        rated = [{"seg_id": f"s{i}", "hyp": f"One {word}", "human_score": i / 4} for i, word in enumerate(WORDS)]
        _write_lines(folder / "billboard" / f"{name}_THumB-1.0.jsonl.gz", rated[::-1])
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()))
    else:
        _write(path, text)

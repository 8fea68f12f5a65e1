"""Long texts: how documents are joined, what one of several vectors scores, and that the page has the results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from instructor_onnx.long_texts import Chunk

from benchmarks import long_texts
from benchmarks.common import PROJECT, results
from benchmarks.common.markdown import marks
from benchmarks.quality import data as sets


def test_joined_documents_have_every_paragraph_once_and_their_questions(eval_data: Path) -> None:
    task = sets.xquad(eval_data)
    lengths = [5] * len(task.documents)
    joined = long_texts.joined(task, lengths, 20, first=7)
    assert len(joined.documents) == -(-len(lengths) // 4)
    assert "\n\n".join(joined.documents.values()).split("\n\n") == [
        *list(task.documents.values())[7:],
        *list(task.documents.values())[:7],
    ]
    for query, found in task.relevant.items():
        (paragraph,), (document,) = found, joined.relevant[query]
        assert task.documents[paragraph] in joined.documents[document]


def test_a_document_is_as_similar_as_its_best_chunk() -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    queries = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    chunks = [Chunk(0, 1, vector) for vector in vectors]
    similarity, count = long_texts.best_of_each(queries, [chunks[:1], chunks[1:4], chunks[4:]])
    products = queries @ vectors.T
    assert count == 5
    assert np.allclose(similarity, np.stack([products[:, 0], products[:, 1:4].max(axis=1), products[:, 4]], axis=1))
    assert np.allclose(long_texts.best_of_each(queries, vectors)[0], products)


def test_every_way_is_judged_and_shown(
    eval_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_texts, "LENGTHS", (12,))
    page, out = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text("\n".join(marks("long-texts")))
    assert long_texts.main(["--data", str(eval_data), "--out", str(out), "--page", str(page)]) == 0
    ways = json.loads(out.read_text())["documents"]["12"]["ways"]
    assert list(ways) == [way.title for way in long_texts.WAYS]
    for figures in ways.values():
        assert 0 < figures["recall_at_1"] <= figures["ndcg_at_10"] <= 1
    assert capsys.readouterr().out.strip() in page.read_text()


def test_the_page_shows_the_newest_results() -> None:
    found = results.read(results.RESULTS / "long-texts-instructor-mini-zen5.json", "subject", "documents")
    assert long_texts.report(found) in (PROJECT / "docs/benchmarks.md").read_text(encoding="utf-8")

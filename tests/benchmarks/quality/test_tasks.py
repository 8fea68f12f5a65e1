"""Every score against a value worked out by hand, on vectors made for it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.quality import contrast, data, tasks

Float32 = npt.NDArray[np.float32]


def at_angles(*degrees: float) -> Float32:
    """Vectors in the plane, of odd lengths: only the angle may count."""
    radians = np.radians(degrees)
    lengths = 1 + np.arange(len(degrees)) % 3
    return np.asarray(np.stack([np.cos(radians), np.sin(radians)], axis=1) * lengths[:, None], dtype=np.float32)


def test_stsb_is_the_rank_correlation_of_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = data.Pairs(["a", "b", "c"], ["d", "e", "f"], [5.0, 1.0, 2.0])
    monkeypatch.setattr(data, "stsb", lambda folder, limit: pairs)
    task = tasks.stsb(Path(), None)
    assert task.texts == {"text": ["a", "b", "c", "d", "e", "f"]}
    # cosines fall from the first to the last pair: ranks 3, 2, 1 against 3, 1, 2, so 1 - 6 * 2 / (3 * 8) = 1/2
    vectors = at_angles(0, 0, 0, 10, 30, 60)
    assert task.score({"text": vectors}) == {"spearman": pytest.approx(0.5)}


def test_retrieval_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {f"d{i}": str(i) for i in range(12)}
    queries = {"first": "a", "second": "b", "twelfth": "c"}
    relevant = {"first": {"d0": 1}, "second": {"d1": 1}, "twelfth": {"d11": 1}}
    monkeypatch.setattr(
        "benchmarks.quality.data.xquad", lambda folder, limit: data.Retrieval(queries, documents, relevant)
    )
    task = tasks.xquad(Path(), None)
    # documents lie at 0, 5, 10, ... degrees, every query at -1: their order is d0, d1, ..., d11
    score = task.score({"query": at_angles(-1, -1, -1), "document": at_angles(*range(0, 60, 5))})
    # found at rank 1, at rank 2, and not among ten
    assert score["ndcg_at_10"] == pytest.approx((1 + 1 / math.log2(3) + 0) / 3)
    assert score["recall_at_10"] == pytest.approx(2 / 3)


def test_billboard_takes_the_closest_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    rated = data.Rated(["h1", "h2", "h3"], [["r1", "r2"], ["r3"], ["r4", "r5"]], [1.0, 2.0, 4.0])
    monkeypatch.setattr(data, "billboard", lambda folder, name, limit: rated)
    task = tasks.mscoco(Path(), None)
    assert task.texts["text"] == ["h1", "h2", "h3", "r1", "r2", "r3", "r4", "r5"]
    # closest cosines: cos 90 = 0, cos 60 = 1/2, cos 0 = 1; about their means -1/2, 0, 1/2 and -4/3, -1/3, 5/3
    vectors = at_angles(0, 0, 0, 180, 90, 60, 0, 170)
    expected = (0.5 * 4 / 3 + 0.5 * 5 / 3) / math.sqrt(0.5 * (16 / 9 + 1 / 9 + 25 / 9))
    assert task.score({"text": vectors}) == {"pearson": pytest.approx(expected)}


def test_classification_is_the_share_of_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    train = data.Labelled(["a"] * 20, ["left"] * 10 + ["right"] * 10)
    test = data.Labelled(["b"] * 4, ["left", "left", "right", "left"])
    monkeypatch.setattr(data, "banking77", lambda folder, limit: (train, test))
    task = tasks.banking77(Path(), None)
    left, right = range(170, 190), range(-10, 10)
    vectors = at_angles(*left[::2], *right[::2], 180, 175, 0, 5)  # the last is called left, and lies right
    assert task.score({"text": vectors}) == {"accuracy": 0.75}


def test_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CLUSTER_RUNS", 5)
    apart = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0) + np.linspace(0, 0.01, 30, dtype=np.float32)[:, None]
    labels = ["x"] * 10 + ["y"] * 10 + ["z"] * 10
    found = tasks.v_measures(apart, labels)
    assert len(found) == 5
    assert max(found) == pytest.approx(1)
    assert found == tasks.v_measures(apart, labels)  # seeded
    # two labels mixed evenly in two clusters tell nothing of each other
    assert tasks.v_measures(apart[:20], ["x", "y"] * 10) == pytest.approx([0] * 5, abs=1e-9)


def test_every_task_scores_the_vectors_of_its_texts(eval_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CLUSTER_RUNS", 2)
    random = np.random.default_rng(0)
    for name, make in tasks.TASKS.items():
        task = make(eval_data, None)
        assert task.name == name
        vectors = {role: random.normal(size=(len(texts), 4)).astype(np.float32) for role, texts in task.texts.items()}
        scores = task.score(vectors)
        assert set(task.metrics) <= set(scores)
        assert all(-1 <= score <= 1 for score in scores.values())


def test_forms_of_titles() -> None:
    assert contrast.form_of("How do I create a branch in SVN?") == "how to"
    assert contrast.form_of("How to page a collection") == "how to"
    assert contrast.form_of("Is there a way to do it ?") == "yes or no"
    assert contrast.form_of("is not what it seems") == ""
    assert contrast.form_of("Why does this fail?") == "why"
    assert contrast.form_of("NullPointerException in my code") == "problem"
    assert contrast.form_of("Magento checkout page") == ""


def test_neighbours_share_what_the_vectors_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "NEIGHBOURS", 1)
    topics, forms = ["a", "a", "b", "b"], ["why", "what", "why", ""]
    by_topic, by_form = at_angles(0, 1, 90, 91), at_angles(0, 90, 1, 91)
    found = contrast.neighbours({"topic": by_topic, "form": by_form}, topics, forms)
    assert found["topic"] == {"same topic": 1, "same form": 0}
    # the title without a form asks nothing; of the three others, two find their like
    assert found["form"] == {"same topic": 0, "same form": pytest.approx(2 / 3)}
    # by chance one of three others has the topic; of three titles with a form two have one like in three
    assert found["chance"] == {"same topic": pytest.approx(1 / 3), "same form": pytest.approx(2 / 9)}

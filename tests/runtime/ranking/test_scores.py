"""Scores against scipy's and scikit-learn's, their intervals against what chance does."""

from __future__ import annotations

import numpy as np
import pytest
from instructor_onnx.ranking import scores
from instructor_onnx.ranking.scores import Estimate, Float64
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier


def vectors(count: int, seed: int = 0, dim: int = 8) -> Float64:
    return scores.unit_length(np.random.default_rng(seed).normal(size=(count, dim)))


@pytest.mark.parametrize("documents", [4, 60])
def test_ndcg_and_recall_are_those_of_scikit_learn(documents: int) -> None:
    random = np.random.default_rng(1)
    queries, targets = vectors(30), vectors(documents, seed=1)
    relevant = [random.choice(documents, random.integers(1, min(documents, 15)), replace=False) for _ in queries]
    ndcg, recall = scores.retrieval(queries, targets, [list(gold) for gold in relevant], [[]] * 30)
    for row, gold in enumerate(relevant):
        similarity = targets @ queries[row]
        truth = np.isin(np.arange(documents), gold)
        assert ndcg[row] == pytest.approx(ndcg_score([truth], [similarity], k=10), abs=1e-12)
        assert recall[row] == truth[np.argsort(-similarity)[:10]].sum() / len(gold)


def test_a_document_that_is_left_out_takes_no_place() -> None:
    documents = vectors(5)
    with_itself, _ = scores.retrieval(documents[:1], documents, [[1, 2, 3, 4]], [[]])
    without, recall = scores.retrieval(documents[:1], documents, [[1, 2, 3, 4]], [[0]])
    assert with_itself[0] < 1
    assert without[0] == pytest.approx(1)
    assert recall[0] == 1


def test_neighbours_are_scored_as_scikit_learn_does() -> None:
    """Average precision over the others, and the accuracy of one neighbour, leaving one out."""
    texts, labels = vectors(60, dim=3), np.random.default_rng(2).integers(0, 4, 60)
    precision, nearest = scores.neighbours(texts, labels)
    expected = [
        average_precision_score(np.delete(labels, row) == labels[row], np.delete(texts, row, axis=0) @ texts[row])
        for row in range(60)
    ]
    assert precision.mean() == pytest.approx(np.mean(expected), abs=1e-12)
    classifier = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
    assert nearest.mean() == pytest.approx(cross_val_score(classifier, texts, labels, cv=LeaveOneOut()).mean())


def test_pseudo_values_are_those_of_leaving_each_text_out() -> None:
    """One label of two texts, one of a single text, and larger ones: what leaving out does differs for each."""
    texts, labels = vectors(24, dim=3), np.array([0, 1, 1, *[2] * 9, *[3] * 12])
    whole = [values.mean() for values in scores.neighbours(texts, labels)]
    without = np.array(
        [
            [values.mean() for values in scores.neighbours(np.delete(texts, row, axis=0), np.delete(labels, row))]
            for row in range(24)
        ]
    )
    for metric, values in enumerate(scores.neighbours(texts, labels)):
        left = without[:, metric]
        np.testing.assert_allclose(values, whole[metric] + 23 * (left.mean() - left), atol=1e-10)


def test_spearman_is_scipys() -> None:
    """With equal values on both sides; and each text as often as it is counted."""
    random = np.random.default_rng(3)
    a, b = random.integers(0, 8, 40) / 7, random.integers(0, 2, 40).astype(float)
    counts = random.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    found = scores.spearman(a, b)(counts)
    for row, times in enumerate(counts.astype(int)):
        expected = stats.spearmanr(np.repeat(a, times), np.repeat(b, times)).statistic
        assert found[row] == pytest.approx(expected, abs=1e-12)
    assert scores.spearman(a, b)(scores.once(40))[0] == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_a_constant_correlates_with_nothing() -> None:
    assert scores.spearman(np.ones(10), np.arange(10.0))(scores.once(10)).tolist() == [0]


def test_an_interval_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(4).exponential(size=200)
    resampled = scores.bootstrap([scores.mean(values)], 200, seed=0)[0]
    found = scores.estimate(values.mean(), resampled)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=0
    ).confidence_interval
    width = theirs.high - theirs.low
    # the end of 2,000 resamples' interval has a standard deviation of 1.5 % of its width
    assert found.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.06 * width)


def test_resamples_are_shared_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=50)
    statistics = [scores.mean(values), scores.mean(values + 1)]
    found = scores.bootstrap(statistics, 50, seed=7)
    assert found.shape == (2, scores.RESAMPLES)
    np.testing.assert_allclose(found[1] - found[0], 1)
    np.testing.assert_array_equal(found, scores.bootstrap(statistics, 50, seed=7))
    assert (found != scores.bootstrap(statistics, 50, seed=8)).any()
    monkeypatch.setattr(scores, "DRAWN_AT_ONCE", 50 * 300)  # blocks, the last one smaller
    np.testing.assert_allclose(scores.bootstrap(statistics, 50, seed=7), found)


def test_intervals_of_neighbours_hold_the_truth_at_least_as_often_as_they_say() -> None:
    """Of many samples of one population: their mean is the score that each sample's interval is to hold."""
    random = np.random.default_rng(6)
    centres = random.normal(size=(8, 6))
    values, ends = [], []
    for seed in range(60):
        labels = random.integers(0, 8, 80)
        texts = scores.unit_length(centres[labels] + 1.5 * random.normal(size=(80, 6)))
        parts = scores.neighbours(texts, labels)[0]
        found = scores.estimate(parts.mean(), scores.bootstrap([scores.mean(parts)], 80, seed)[0])
        values.append(found.value)
        ends.append((found.low, found.high))
    truth = np.mean(values)
    assert np.mean([low <= truth <= high for low, high in ends]) >= 0.95


@pytest.mark.parametrize(("low", "high", "real"), [(-0.1, 0.1, False), (0.1, 0.2, True), (-0.2, -0.1, True)])
def test_a_difference_is_real_where_its_interval_leaves_0_out(low: float, high: float, real: bool) -> None:
    assert Estimate((low + high) / 2, low, high).is_not_zero == real

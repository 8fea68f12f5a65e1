"""The tasks: which texts to embed in which role, and the score of their vectors. Knows nothing about models.

Every score is a library's: scipy (correlations), scikit-learn (classifier, clusters, cosine), ir-measures
(retrieval). All are shares of 1; the table shows them times 100, as points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import R, nDCG
from scipy.stats import pearsonr, spearmanr
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, v_measure_score
from sklearn.metrics.pairwise import cosine_similarity, paired_cosine_distances

from benchmarks.quality import data as sets

Float32 = npt.NDArray[np.float32]
Vectors = Mapping[str, Float32]  # role -> [texts of that role, embedding_dim]
Scores = dict[str, float]

CLUSTER_RUNS = 100  # seeds 0 to 99: one run moves by a point with its seed, the mean of 100 by a tenth
CLUSTER_BATCH = 2048  # smaller batches (MTEB takes 512) only add to that noise
RANKED = 100  # documents ranked for a query; the metrics look at ten
REGRESSION_STEPS = 1000  # at most; a few hundred are used
INVERSE_REGULARISATION = 10.0  # unit vectors of a few hundred numbers: scikit-learn's 1.0 holds them too short


@dataclass(frozen=True)
class Task:
    """One task, read and ready."""

    name: str
    title: str
    metrics: dict[str, str]  # key of `score`'s answer -> name of the metric; the first is the main one
    texts: dict[str, list[str]]  # role -> texts; an instruction belongs to a role
    score: Callable[[Vectors], Scores]


def stsb(folder: Path, limit: int | None = None) -> Task:
    pairs = sets.stsb(folder, limit)

    def score(vectors: Vectors) -> Scores:
        first, second = np.split(vectors["text"], [len(pairs.first)])
        return {"spearman": float(spearmanr(paired_cosines(first, second), pairs.scores).statistic)}

    return Task("stsb", "STS-B test", {"spearman": "Spearman"}, {"text": pairs.first + pairs.second}, score)


def scifact(folder: Path, limit: int | None = None) -> Task:
    return _retrieval("scifact", "SciFact", sets.scifact(folder, limit))


def xquad(folder: Path, limit: int | None = None) -> Task:
    return _retrieval("xquad", "XQuAD English", sets.xquad(folder, limit))


def banking77(folder: Path, limit: int | None = None) -> Task:
    return _classification("banking77", "Banking77", *sets.banking77(folder, limit))


def clinc150(folder: Path, limit: int | None = None) -> Task:
    return _classification("clinc150", "CLINC150", *sets.clinc150(folder, limit))


def stackoverflow(folder: Path, limit: int | None = None) -> Task:
    titles = sets.stackoverflow(folder, limit)

    def score(vectors: Vectors) -> Scores:
        found = v_measures(vectors["text"], titles.labels)
        return {"v_measure": float(np.mean(found)), "v_measure_std": float(np.std(found))}

    metrics = {"v_measure": f"v-measure, mean of {CLUSTER_RUNS}"}
    return Task("stackoverflow", "StackOverflow titles", metrics, {"text": titles.texts}, score)


def mscoco(folder: Path, limit: int | None = None) -> Task:
    return _billboard("mscoco", "Billboard mscoco", sets.billboard(folder, "mscoco", limit))


def cnndm(folder: Path, limit: int | None = None) -> Task:
    return _billboard("cnndm", "Billboard cnndm", sets.billboard(folder, "cnndm", limit))


TASKS: dict[str, Callable[[Path, int | None], Task]] = {
    "stsb": stsb,
    "scifact": scifact,
    "xquad": xquad,
    "banking77": banking77,
    "clinc150": clinc150,
    "stackoverflow": stackoverflow,
    "mscoco": mscoco,
    "cnndm": cnndm,
}
RETRIEVAL_TASKS = ("scifact", "xquad")


def v_measures(vectors: Float32, labels: list[str]) -> list[float]:
    """v-measure of mini-batch k-means against the labels, as many clusters as labels, once a seed."""
    clusters = len(set(labels))
    found = []
    for seed in range(CLUSTER_RUNS):
        means = MiniBatchKMeans(clusters, batch_size=CLUSTER_BATCH, n_init="auto", random_state=seed)
        found.append(float(v_measure_score(labels, means.fit_predict(vectors))))
    return found


def _retrieval(name: str, title: str, retrieval: sets.Retrieval) -> Task:
    def score(vectors: Vectors) -> Scores:
        similarity = cosine_similarity(vectors["query"], vectors["document"])  # [queries, documents]
        return ranking_scores(retrieval, similarity, {"ndcg_at_10": nDCG @ 10, "recall_at_10": R @ 10})

    texts = {"query": list(retrieval.queries.values()), "document": list(retrieval.documents.values())}
    return Task(name, title, {"ndcg_at_10": "nDCG@10", "recall_at_10": "recall@10"}, texts, score)


def ranking_scores(retrieval: sets.Retrieval, similarity: Float32, measures: Mapping[str, Any]) -> Scores:
    """Scores, by their names, of documents ranked by `similarity`, [queries, documents] as `retrieval` has them."""
    documents = list(retrieval.documents)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :RANKED]
    run = {
        query: {documents[place]: float(similarity[row, place]) for place in best[row]}
        for row, query in enumerate(retrieval.queries)
    }
    found = ir_measures.calc_aggregate(measures.values(), retrieval.relevant, run)
    return {name: float(found[measure]) for name, measure in measures.items()}


def _classification(name: str, title: str, train: sets.Labelled, test: sets.Labelled) -> Task:
    def score(vectors: Vectors) -> Scores:
        train_vectors, test_vectors = np.split(vectors["text"], [len(train.texts)])
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=REGRESSION_STEPS)
        model.fit(train_vectors, train.labels)
        return {"accuracy": float(accuracy_score(test.labels, model.predict(test_vectors)))}

    return Task(name, title, {"accuracy": "accuracy"}, {"text": train.texts + test.texts}, score)


def _billboard(name: str, title: str, rated: sets.Rated) -> Task:
    references = [text for texts in rated.references for text in texts]
    starts = np.cumsum([0, *(len(texts) for texts in rated.references)])[:-1]  # of each hypothesis in `references`

    def score(vectors: Vectors) -> Scores:
        hypotheses, others = np.split(vectors["text"], [len(rated.hypotheses)])
        repeated = np.repeat(hypotheses, [len(texts) for texts in rated.references], axis=0)
        closest = np.maximum.reduceat(paired_cosines(repeated, others), starts)
        return {"pearson": float(pearsonr(closest, rated.scores).statistic)}

    return Task(name, title, {"pearson": "Pearson"}, {"text": rated.hypotheses + references}, score)


def paired_cosines(a: Float32, b: Float32) -> npt.NDArray[np.float64]:
    return np.asarray(1 - paired_cosine_distances(a.astype(np.float64), b.astype(np.float64)))

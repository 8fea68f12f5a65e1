"""mteb itself accepts the adapter: tasks made here, no hub."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR
from sklearn.metrics.pairwise import cosine_similarity, paired_cosine_distances

mteb = pytest.importorskip("mteb", reason="needs the optional package mteb")
abstasks = pytest.importorskip("mteb.abstasks")
datasets = pytest.importorskip("datasets", reason="comes with mteb")
mteb_adapter = pytest.importorskip("benchmarks.quality.mteb_adapter")

PAIRS = [
    ("The river rises in the hills.", "The river turns east.", 3.0),
    ("Bread needs flour.", "Bread needs flour, water and salt.", 4.0),
    ("Interest rates rose.", "The boats go out again.", 0.0),
    ("Every winter the harbour freezes.", "In spring the boats go out.", 1.0),
]
DOCUMENTS = {"d1": ("River", "It rises in the hills."), "d2": ("Bread", "It needs flour."), "d3": ("", "A nerve.")}
QUERIES = {"q1": "Where does the river rise?", "q2": "What does bread need?"}
RELEVANT = {"q1": {"d1": 1}, "q2": {"d2": 1}}
INSTRUCTIONS = {
    "LocalSTS": "Represent the sentence: ",
    "LocalRetrieval": {"query": "Represent the question: ", "corpus": "Represent the document: "},
}


@pytest.fixture(scope="module")
def model(bundle: Path) -> INSTRUCTOR:
    return INSTRUCTOR(bundle, variant="fp32")


def metadata(name: str, kind: str, main_score: str) -> Any:
    return abstasks.task_metadata.TaskMetadata(
        name=name,
        type=kind,
        main_score=main_score,
        description="Made in a test.",
        dataset={"path": "local", "revision": "1"},
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
    )


def test_a_local_sts_task(model: INSTRUCTOR) -> None:
    class LocalSTS(abstasks.AbsTaskSTS):  # type: ignore[misc, name-defined]
        metadata = metadata("LocalSTS", "STS", "cosine_spearman")

        def load_data(self, **_: Any) -> None:
            columns = zip(("sentence1", "sentence2", "score"), zip(*PAIRS, strict=True), strict=True)
            split = datasets.Dataset.from_dict({name: list(column) for name, column in columns})
            self.dataset = datasets.DatasetDict({"test": split})
            self.data_loaded = True

    score = mteb_adapter.main_score(mteb_adapter.MTEBEncoder(model, INSTRUCTIONS), LocalSTS())
    first, second = (model.encode([("Represent the sentence: ", pair[side]) for pair in PAIRS]) for side in (0, 1))
    ours = np.argsort(np.argsort(1 - paired_cosine_distances(first, second)))
    gold = np.argsort(np.argsort([pair[2] for pair in PAIRS]))
    assert score == pytest.approx(1 - 6 * float(((ours - gold) ** 2).sum()) / (4 * 15))  # Spearman without ties


def test_a_local_retrieval_task_gives_each_side_its_instruction(
    model: INSTRUCTOR, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LocalRetrieval(abstasks.AbsTaskRetrieval):  # type: ignore[misc, name-defined]
        metadata = metadata("LocalRetrieval", "Retrieval", "ndcg_at_10")

        def load_data(self, **_: Any) -> None:
            corpus = [{"id": key, "title": title, "text": text} for key, (title, text) in DOCUMENTS.items()]
            queries = [{"id": key, "text": text} for key, text in QUERIES.items()]
            split = {
                "corpus": datasets.Dataset.from_list(corpus),
                "queries": datasets.Dataset.from_list(queries),
                "relevant_docs": RELEVANT,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    seen: list[tuple[str, str]] = []
    encode = model.encode

    def spy(rows: list[tuple[str, str]], **options: Any) -> Any:
        seen.extend(rows)
        return encode(rows, **options)

    monkeypatch.setattr(model, "encode", spy)
    score = mteb_adapter.main_score(mteb_adapter.MTEBEncoder(model, INSTRUCTIONS), LocalRetrieval())

    queries = [("Represent the question: ", text) for text in QUERIES.values()]
    documents = [("Represent the document: ", f"{title} {text}".strip()) for title, text in DOCUMENTS.values()]
    assert sorted(seen) == sorted(queries + documents)
    similarity = cosine_similarity(encode(queries), encode(documents))
    ranks = [int((row > row[place]).sum()) for place, row in enumerate(similarity)]  # d1 answers q1, d2 answers q2
    assert score == pytest.approx(np.mean([1 / np.log2(2 + rank) for rank in ranks]), abs=1e-4)  # mteb rounds


def test_a_local_classification_task(model: INSTRUCTOR) -> None:
    class LocalClassification(abstasks.AbsTaskClassification):  # type: ignore[misc, name-defined]
        metadata = metadata("LocalClassification", "Classification", "accuracy")
        n_experiments = 2
        samples_per_label = 4

        def load_data(self, **_: Any) -> None:
            texts = [pair[side] for side in (0, 1) for pair in PAIRS]
            split = datasets.Dataset.from_dict({"text": texts, "label": [0, 1] * 4})
            self.dataset = datasets.DatasetDict({"train": split, "test": split})
            self.data_loaded = True

    assert 0 <= mteb_adapter.main_score(mteb_adapter.MTEBEncoder(model, {}), LocalClassification()) <= 1


def test_what_mteb_is_told(model: INSTRUCTOR) -> None:
    encoder = mteb_adapter.MTEBEncoder(model, {})
    assert isinstance(encoder, mteb.models.EncoderProtocol)
    meta = encoder.mteb_model_meta
    assert meta.name == f"instructor-onnx/{model.manifest.model.name}"
    assert (meta.revision, meta.embed_dim) == ("fp32", model.get_sentence_embedding_dimension())


def test_the_instruction_of_a_task() -> None:
    choose = mteb_adapter.choose
    query, document = SimpleNamespace(value="query"), SimpleNamespace(value="document")
    assert choose(INSTRUCTIONS, "LocalSTS", "STS") == "Represent the sentence: "
    assert choose(INSTRUCTIONS, "LocalSTS.v2", "STS", query) == "Represent the sentence: "
    assert choose(INSTRUCTIONS, "LocalRetrieval", "Retrieval", document) == "Represent the document: "
    assert choose(INSTRUCTIONS, "Unknown", "Reranking", query).startswith("Represent the question for")
    assert choose({"Clustering": "By type: "}, "Unknown", "Clustering") == "By type: "
    assert choose({}, "Unknown", "PairClassification") == "Represent the sentence for similarity: "

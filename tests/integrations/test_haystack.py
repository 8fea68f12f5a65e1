"""The two embedders in real Haystack pipelines."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice, Secret
from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.haystack import InstructorDocumentEmbedder, InstructorTextEmbedder

from tests.integrations.conftest import DOCUMENT, QUERY, QUESTIONS, TEXTS
from tests.integrations.examples import output_of

Vectors = list[list[float]]
MODULE = "instructor_onnx.integrations.haystack"


def test_parameters_and_defaults_of_the_original() -> None:
    text = InstructorTextEmbedder().to_dict()
    assert text["type"] == f"{MODULE}.InstructorTextEmbedder"
    assert text["init_parameters"] == {
        "model": "instructor-mini",  # the original's is a checkpoint, of which first a bundle must be made
        "device": None,
        "token": {"type": "env_var", "env_vars": ["HF_API_TOKEN"], "strict": False},
        "instruction": "Represent the sentence",
        "batch_size": 32,
        "progress_bar": True,
        "normalize_embeddings": False,
        "variant": None,
        "truncate_dim": None,
        "precision": "float32",
    }
    assert InstructorDocumentEmbedder().to_dict()["init_parameters"] == {
        **text["init_parameters"],
        "instruction": "Represent the document",
        "meta_fields_to_embed": [],
        "embedding_separator": "\n",
    }


def test_a_query(query_vectors: Vectors) -> None:
    embedder = InstructorTextEmbedder("instructor-mini", instruction=QUERY, progress_bar=False)
    assert embedder.run(QUESTIONS[0]) == {"embedding": query_vectors[0]}


def test_documents_are_copied_in_order(document_vectors: Vectors) -> None:
    embedder = InstructorDocumentEmbedder("instructor-mini", instruction=DOCUMENT, progress_bar=False, batch_size=2)
    documents = [Document(content=text) for text in TEXTS]
    found = embedder.run(documents)["documents"]
    assert [document.embedding for document in found] == document_vectors
    assert [document.id for document in found] == [document.id for document in documents]
    assert all(document.embedding is None for document in documents)
    assert embedder.run([]) == {"documents": []}


def test_meta_fields_come_first(mini: INSTRUCTOR) -> None:
    embedder = InstructorDocumentEmbedder(
        "instructor-mini",
        instruction=DOCUMENT,
        progress_bar=False,
        meta_fields_to_embed=["title", "year", "missing", "none"],
        embedding_separator=" | ",
    )
    documents = [Document(content="text", meta={"title": "Title", "year": 1999, "none": None}), Document(content=None)]
    found = [document.embedding for document in embedder.run(documents)["documents"]]
    assert found == mini.encode([(DOCUMENT, "Title | 1999 | text"), (DOCUMENT, "")]).tolist()


def test_both_share_one_model() -> None:
    text, document = InstructorTextEmbedder(), InstructorDocumentEmbedder()
    text.warm_up()
    document.warm_up()
    assert text._model is document._model


def test_wrong_input_names_the_other_component() -> None:
    with pytest.raises(TypeError, match="found list; for a list of Documents use InstructorDocumentEmbedder"):
        InstructorTextEmbedder("instructor-mini").run([Document(content="a")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="for a string use InstructorTextEmbedder"):
        InstructorDocumentEmbedder("instructor-mini").run("a text")  # type: ignore[arg-type]


def test_a_pipeline_through_yaml(document_vectors: Vectors) -> None:
    """Every parameter set; written, read and run: the same document is found."""
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    documents = [Document(content=text, embedding=v) for text, v in zip(TEXTS, document_vectors, strict=True)]
    pipeline = Pipeline()
    embedder = InstructorTextEmbedder(
        "instructor-mini",
        device=ComponentDevice.from_str("cpu"),
        token=Secret.from_env_var("ANOTHER_TOKEN", strict=False),
        instruction=QUERY,
        batch_size=8,
        progress_bar=False,
        normalize_embeddings=True,
        variant="int8",
    )
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")

    # Haystack 3 trusts only the modules it is told of; before, it trusted all and had no such parameter.
    trust: dict[str, Any] = (
        {"allowed_modules": [MODULE]} if "allowed_modules" in signature(Pipeline.loads).parameters else {}
    )
    restored = Pipeline.loads(pipeline.dumps(), **trust)
    components: dict[str, Any] = {name: restored.get_component(name) for name in ("embedder", "retriever")}
    assert components["embedder"].to_dict() == embedder.to_dict()
    components["retriever"].document_store.write_documents(documents)
    found = restored.run({"embedder": {"text": QUESTIONS[2]}})
    assert found["retriever"]["documents"][0].content == TEXTS[2]


def test_a_document_embedder_through_its_dict() -> None:
    embedder = InstructorDocumentEmbedder(
        "instructor-mini", token=None, meta_fields_to_embed=["title"], embedding_separator=" - "
    )
    assert InstructorDocumentEmbedder.from_dict(embedder.to_dict()).to_dict() == embedder.to_dict()


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    found = [line[31:].partition(":")[0] for line in output_of("haystack", capsys).splitlines()]
    assert found == ["Central bank", "Hippopotamus", "Plants"]


def test_fewer_numbers_and_bits() -> None:
    text = InstructorTextEmbedder(instruction="Represent: ", truncate_dim=64, precision="binary", progress_bar=False)
    again = InstructorTextEmbedder.from_dict(text.to_dict())
    expected = INSTRUCTOR("instructor-mini").encode([("Represent: ", "a text")], precision="binary", truncate_dim=64)
    assert text.run("a text")["embedding"] == again.run("a text")["embedding"] == expected[0].tolist()


def test_one_text_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    InstructorTextEmbedder().run("a text")
    assert capsys.readouterr().err == ""
    InstructorDocumentEmbedder().run([Document(content="a text")])
    assert "Embedding" in capsys.readouterr().err

"""InstructorEmbeddingFunction in a real Chroma collection, without a network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("chromadb")

import chromadb
import numpy as np
from chromadb.api import ClientAPI
from chromadb.config import Settings
from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations import loading
from instructor_onnx.integrations.chroma import InstructorEmbeddingFunction

from tests.integrations.conftest import QUESTIONS, TEXTS
from tests.integrations.examples import output_of

Vectors = list[list[float]]


@pytest.fixture
def client() -> Iterator[ClientAPI]:
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    yield client
    for collection in client.list_collections():
        client.delete_collection(collection.name)


def test_documents_and_queries(document_vectors: Vectors, query_vectors: Vectors) -> None:
    function = InstructorEmbeddingFunction()
    assert function.get_config()["model_name"] == "instructor-mini"
    assert np.array_equal(function(TEXTS), document_vectors)
    assert np.array_equal(function.embed_query(QUESTIONS), query_vectors)
    assert not function.is_legacy()


def test_a_collection_finds(client: ClientAPI) -> None:
    collection = client.create_collection("found", embedding_function=InstructorEmbeddingFunction("instructor-mini"))
    collection.add(ids=["0", "1", "2"], documents=TEXTS)
    assert collection.query(query_texts=QUESTIONS, n_results=1)["ids"] == [["0"], ["1"], ["2"]]


def test_a_collection_remembers(client: ClientAPI, query_vectors: Vectors) -> None:
    """Opened again without a function, it embeds as it did: with the instructions it was made with."""
    made = InstructorEmbeddingFunction(
        "instructor-mini", device="cpu", instruction="Represent the caption: ", variant="int8"
    )
    client.create_collection("remembered", embedding_function=made)
    collection = client.get_collection("remembered")
    collection.add(ids=["0"], documents=["A dog runs."])
    restored = collection.configuration["embedding_function"]
    assert isinstance(restored, InstructorEmbeddingFunction)
    assert restored.get_config() == made.get_config()
    assert restored._model is made._model  # loaded once
    del made, restored
    vectors = INSTRUCTOR("instructor-mini").encode([("Represent the caption: ", "A dog runs.")])
    stored = collection.get(include=["embeddings"])["embeddings"]
    assert stored is not None
    assert np.allclose(stored, vectors)


def test_a_reopened_collection_loads_its_model_once(client: ClientAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chroma builds the function anew for every call on such a collection."""
    client.create_collection("again", embedding_function=InstructorEmbeddingFunction("instructor-mini"))
    collection = client.get_collection("again")
    monkeypatch.setattr(loading, "INSTRUCTOR", None)  # cannot load any more
    collection.add(ids=["0"], documents=["A dog runs."])
    assert collection.query(query_texts=["dog"])["ids"] == [["0"]]


def test_cosine_is_the_default_space(client: ClientAPI) -> None:
    collection = client.create_collection("cosine", embedding_function=InstructorEmbeddingFunction("instructor-mini"))
    assert collection.configuration["hnsw"]["space"] == "cosine"  # type: ignore[index]


def test_what_the_vectors_depend_on_cannot_change() -> None:
    function = InstructorEmbeddingFunction("instructor-mini")
    config = function.get_config()
    function.validate_config_update(config, {**config, "model_name": "moved/instructor-mini", "device": "cpu"})
    with pytest.raises(ValueError, match=r"instruction: the collection's vectors were made with .*new collection"):
        function.validate_config_update(config, {**config, "instruction": "Represent the caption: "})
    with pytest.raises(ValueError, match=r"found \['prompt'\]"):
        InstructorEmbeddingFunction.build_from_config({**config, "prompt": ""})


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line[38:] for line in output_of("chroma", capsys).splitlines()] == TEXTS


def test_a_width_of_ones_own() -> None:
    function = InstructorEmbeddingFunction(truncate_dim=16)
    assert len(function(["a text"])[0]) == 16
    again = InstructorEmbeddingFunction.build_from_config(function.get_config())
    assert len(again.embed_query(["a text"])[0]) == 16
    with pytest.raises(ValueError, match="truncate_dim: the collection's vectors were made with 16, found 32"):
        function.validate_config_update(function.get_config(), {"truncate_dim": 32})

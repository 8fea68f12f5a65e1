"""InstructorEmbedding in the real LlamaIndex."""

from __future__ import annotations

import asyncio
import pickle

import pytest

pytest.importorskip("llama_index.core")

from instructor_onnx.integrations.llama_index import InstructorEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from pydantic import ValidationError

from tests.integrations.conftest import DOCUMENT, QUERY, QUESTIONS, TEXTS
from tests.integrations.examples import output_of

Vectors = list[list[float]]


@pytest.fixture(scope="module")
def embed_model() -> InstructorEmbedding:
    return InstructorEmbedding(model_name="instructor-mini", embed_batch_size=2)


def test_queries_and_texts(embed_model: InstructorEmbedding, query_vectors: Vectors, document_vectors: Vectors) -> None:
    assert (embed_model.query_instruction, embed_model.text_instruction) == (QUERY, DOCUMENT)
    assert embed_model.get_query_embedding(QUESTIONS[0]) == query_vectors[0]
    assert embed_model.get_text_embedding(TEXTS[0]) == document_vectors[0]
    assert embed_model.get_text_embedding_batch(TEXTS) == document_vectors


def test_asynchronous(embed_model: InstructorEmbedding, query_vectors: Vectors, document_vectors: Vectors) -> None:
    async def all_three() -> None:
        assert await embed_model.aget_query_embedding(QUESTIONS[0]) == query_vectors[0]
        assert await embed_model.aget_text_embedding(TEXTS[0]) == document_vectors[0]
        assert await embed_model.aget_text_embedding_batch(TEXTS) == document_vectors

    asyncio.run(all_three())


def test_without_a_name_it_is_the_model_that_comes_along(embed_model: InstructorEmbedding) -> None:
    assert InstructorEmbedding()._model is embed_model._model  # loaded once for both


def test_in_an_ingestion_pipeline(embed_model: InstructorEmbedding, document_vectors: Vectors) -> None:
    nodes = IngestionPipeline(transformations=[embed_model]).run(nodes=[TextNode(text=text) for text in TEXTS])
    assert [node.embedding for node in nodes] == document_vectors


def test_serialised_and_pickled(embed_model: InstructorEmbedding, query_vectors: Vectors) -> None:
    """LlamaIndex pickles its components for its worker processes."""
    for other in (pickle.loads(pickle.dumps(embed_model)), InstructorEmbedding.from_dict(embed_model.to_dict())):  # noqa: S301
        assert other.embed_batch_size == 2
        assert other.get_query_embedding(QUESTIONS[0]) == query_vectors[0]


def test_wrong_parameters() -> None:
    with pytest.raises(ValidationError, match="embed_batch_size"):
        InstructorEmbedding(model_name="instructor-mini", embed_batch_size=0)
    with pytest.raises(ValueError, match="fp64"):
        InstructorEmbedding(model_name="instructor-mini", variant="fp64")


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line[38:] for line in output_of("llama_index", capsys).splitlines()] == TEXTS


def test_a_width_of_ones_own() -> None:
    assert len(InstructorEmbedding(truncate_dim=16).get_query_embedding("a text")) == 16

"""InstructorEmbeddings in the real LangChain."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain_core")

from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.langchain import InstructorEmbeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from tests.integrations.conftest import QUESTIONS, TEXTS
from tests.integrations.examples import output_of

Vectors = list[list[float]]


@pytest.fixture(scope="module")
def embeddings() -> InstructorEmbeddings:
    return InstructorEmbeddings(model_name="instructor-mini")


def test_parameters_and_defaults_of_the_original() -> None:
    fields = InstructorEmbeddings.model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    assert defaults == {
        "model_name": "instructor-mini",  # the original's is a checkpoint, of which first a bundle must be made
        "cache_folder": None,
        "model_kwargs": {},
        "encode_kwargs": {},
        "embed_instruction": "Represent the document for retrieval: ",
        "query_instruction": "Represent the question for retrieving supporting documents: ",
        "show_progress": False,
    }


def test_documents_and_queries(
    embeddings: InstructorEmbeddings, document_vectors: Vectors, query_vectors: Vectors
) -> None:
    assert embeddings.embed_documents(TEXTS) == document_vectors
    assert embeddings.embed_query(QUESTIONS[0]) == query_vectors[0]
    assert embeddings.embed_documents([]) == []


def test_asynchronous(embeddings: InstructorEmbeddings, document_vectors: Vectors, query_vectors: Vectors) -> None:
    async def both() -> None:
        documents, query = await asyncio.gather(
            embeddings.aembed_documents(TEXTS), embeddings.aembed_query(QUESTIONS[1])
        )
        assert documents == document_vectors
        assert query == query_vectors[1]

    asyncio.run(both())


def test_arguments_reach_the_model(mini: INSTRUCTOR) -> None:
    embeddings = InstructorEmbeddings(
        model_name="instructor-mini",
        model_kwargs={"variant": "int8", "num_threads": 1, "device": "cpu"},
        encode_kwargs={"batch_size": 1, "normalize_embeddings": True},
        query_instruction="Represent the comment: ",
        embed_instruction="",
    )
    assert "num_threads=1" in repr(embeddings._model)
    assert embeddings.embed_query("a text") == pytest.approx(mini.encode([("Represent the comment: ", "a text")])[0])
    assert embeddings.embed_documents(["a text"])[0] == pytest.approx(mini.encode("a text"))


def test_one_model_is_loaded_for_all_that_ask_for_the_same() -> None:
    first, second = (InstructorEmbeddings(model_kwargs={"variant": "int8", "num_threads": 1}) for _ in range(2))
    assert first._model is second._model
    assert InstructorEmbeddings(model_kwargs={"variant": "int8", "num_threads": 2})._model is not first._model


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    InstructorEmbeddings(model_name="instructor-mini").embed_documents(["a"])
    assert capsys.readouterr().err == ""
    InstructorEmbeddings(model_name="instructor-mini", show_progress=True).embed_documents(["a"])
    assert "Embedding" in capsys.readouterr().err


def test_wrong_parameters() -> None:
    with pytest.raises(ValidationError, match="query_instructions"):
        InstructorEmbeddings(model_name="instructor-mini", query_instructions="")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="model_name"):
        InstructorEmbeddings(model_name=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fp64"):
        InstructorEmbeddings(model_name="instructor-mini", model_kwargs={"variant": "fp64"})
    with pytest.raises(TypeError, match="varient"):
        InstructorEmbeddings(model_kwargs={"varient": "int8"})


def test_asynchronous_search(embeddings: InstructorEmbeddings) -> None:
    store = InMemoryVectorStore(embeddings)

    async def search() -> str:
        await store.aadd_texts(TEXTS)
        return (await store.asimilarity_search(QUESTIONS[1], k=1))[0].page_content

    assert asyncio.run(search()) == TEXTS[1]


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of("langchain", capsys).splitlines()
    assert [line[31:] for line in lines] == TEXTS

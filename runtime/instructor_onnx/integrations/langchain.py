"""LangChain: `InstructorEmbeddings`, with the parameters of `HuggingFaceInstructEmbeddings`."""

from __future__ import annotations

from typing import Any

from instructor_onnx.extras import pip_install
from instructor_onnx.instructions import RETRIEVAL
from instructor_onnx.integrations.loading import DEFAULT_MODEL, ModelOptions, shared_model
from instructor_onnx.model import INSTRUCTOR

try:
    from langchain_core.embeddings import Embeddings
    from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
except ImportError as error:
    raise ImportError(f"LangChain is not installed ({error}): {pip_install('langchain')}") from error


class InstructorEmbeddings(BaseModel, Embeddings):
    """Documents under one instruction, queries under another. Thread-safe; has its model loaded when it is made.

    The asynchronous methods are LangChain's own, which run these in a thread: the event loop is not held up.

    Raises:
        As `instructor_onnx.INSTRUCTOR`; pydantic's ValidationError for a wrong or unknown parameter.

    >>> from instructor_onnx.integrations.langchain import InstructorEmbeddings
    >>> embeddings = InstructorEmbeddings(model_name="my-bundle", model_kwargs={"variant": "int8"})
    >>> len(embeddings.embed_query("What is a mixed economy?"))
    384
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: str = DEFAULT_MODEL
    """A bundle folder, a Hugging Face id of one, or "instructor-mini"."""
    cache_folder: str | None = None
    """Where models from the Hugging Face hub are kept; None: where huggingface_hub keeps them."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `INSTRUCTOR`: variant, device, num_threads, ...; and max_seq_length."""
    encode_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `INSTRUCTOR.encode`: batch_size, normalize_embeddings, ..."""
    embed_instruction: str = RETRIEVAL["general"].document
    """The instruction for documents."""
    query_instruction: str = RETRIEVAL["general"].query
    """The instruction for queries."""
    show_progress: bool = False
    """Whether to show a progress bar."""

    _model: INSTRUCTOR = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._model = shared_model(ModelOptions(self.model_name, cache_folder=self.cache_folder, **self.model_kwargs))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents: [len(texts)][embedding_dim]."""
        return self._embed(self.embed_instruction, texts)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query: [embedding_dim]."""
        return self._embed(self.query_instruction, [text])[0]

    def _embed(self, instruction: str, texts: list[str]) -> list[list[float]]:
        options = {"show_progress_bar": self.show_progress, **self.encode_kwargs}
        vectors: list[list[float]] = self._model.encode([(instruction, text) for text in texts], **options).tolist()
        return vectors

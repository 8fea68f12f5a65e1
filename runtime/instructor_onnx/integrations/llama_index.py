"""LlamaIndex: `InstructorEmbedding`, with the parameters of `llama-index-embeddings-instructor`.

It differs where that package erred: `query_instruction` is used for queries (there, `text_instruction` was).
"""

from __future__ import annotations

import asyncio
from typing import Any

from instructor_onnx.extras import pip_install
from instructor_onnx.instructions import RETRIEVAL
from instructor_onnx.integrations.loading import DEFAULT_MODEL, ModelOptions, shared_model
from instructor_onnx.model import INSTRUCTOR

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.constants import DEFAULT_EMBED_BATCH_SIZE
except ImportError as error:
    raise ImportError(f"LlamaIndex is not installed ({error}): {pip_install('llama-index')}") from error


class InstructorEmbedding(BaseEmbedding):
    """Texts under one instruction, queries under another. Thread-safe; loads its model when it is made.

    Raises:
        As `instructor_onnx.INSTRUCTOR`; pydantic's ValidationError for a wrong parameter.

    >>> from instructor_onnx.integrations.llama_index import InstructorEmbedding
    >>> embed_model = InstructorEmbedding(model_name="my-bundle", variant="int8")  # for Settings.embed_model
    >>> len(embed_model.get_query_embedding("What is a mixed economy?"))
    384
    """

    model_name: str = Field(
        default=DEFAULT_MODEL,
        description='A bundle folder, a Hugging Face id of one, or "instructor-mini".',
    )
    query_instruction: str = Field(default=RETRIEVAL["general"].query, description="The instruction for queries.")
    text_instruction: str = Field(default=RETRIEVAL["general"].document, description="The instruction for texts.")
    embed_batch_size: int = Field(
        default=DEFAULT_EMBED_BATCH_SIZE, description="Texts embedded at a time.", gt=0, le=2048
    )
    cache_folder: str | None = Field(default=None, description="Where models from the Hugging Face hub are kept.")
    device: str | None = Field(default=None, description='"cpu", "cuda" or "cuda:N"; None: CUDA where it works.')
    variant: str | None = Field(default=None, description='"fp32", "int8", ...; None: the most exact that runs well.')
    truncate_dim: int | None = Field(default=None, description="Numbers kept of every vector; None: all.", gt=0)

    _model: INSTRUCTOR = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._model = shared_model(
            ModelOptions(self.model_name, variant=self.variant, device=self.device, cache_folder=self.cache_folder)
        )

    @classmethod
    def class_name(cls) -> str:
        return "InstructorEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed(self.query_instruction, [query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embed(self.text_instruction, [text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embed(self.text_instruction, texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _embed(self, instruction: str, texts: list[str]) -> list[list[float]]:
        rows = [(instruction, text) for text in texts]
        vectors: list[list[float]] = self._model.encode(
            rows, batch_size=self.embed_batch_size, show_progress_bar=False, truncate_dim=self.truncate_dim
        ).tolist()
        return vectors

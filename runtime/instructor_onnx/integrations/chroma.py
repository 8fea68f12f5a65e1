"""Chroma: an embedding function that a collection remembers, with an instruction for documents and one for queries.

Importing this module registers the function with Chroma as "instructor-onnx": a collection that was made with it then
finds it by itself in `get_collection`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from instructor_onnx.extras import pip_install
from instructor_onnx.instructions import RETRIEVAL
from instructor_onnx.integrations.loading import DEFAULT_MODEL, ModelOptions, shared_model

try:
    from chromadb.api.types import Embeddable, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise ImportError(f"Chroma is not installed ({error}): {pip_install('chroma')}") from error

# What a collection's vectors depend on; another folder for the same model is no change.
FIXED = ("instruction", "variant", "truncate_dim")


@register_embedding_function
class InstructorEmbeddingFunction(EmbeddingFunction[Embeddable]):
    """Embeds what is added under `instruction`, and what is asked under `query_instruction`.

    Args:
        model_name: a bundle folder, a Hugging Face id of one, or "instructor-mini".
        device: "cpu", "cuda" or "cuda:N"; None: CUDA where onnxruntime has it, else the CPU.
        instruction: for documents.
        query_instruction: for queries.
        variant: "fp32", "int8", ...; None: the most exact one that the device runs well.
        truncate_dim: numbers kept of every vector; None: all.

    Raises:
        As `instructor_onnx.INSTRUCTOR`.

    >>> import chromadb
    >>> from instructor_onnx.integrations.chroma import InstructorEmbeddingFunction
    >>> function = InstructorEmbeddingFunction("my-bundle", variant="int8")
    >>> collection = chromadb.EphemeralClient().create_collection("papers", embedding_function=function)
    >>> collection.add(ids=["leaf", "bank"], documents=["Light becomes glucose.", "It sets the interest rate."])
    >>> collection.query(query_texts=["How do plants make sugar?"], n_results=1)["ids"]
    [['leaf']]
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        device: str | None = None,
        instruction: str = RETRIEVAL["general"].document,
        query_instruction: str = RETRIEVAL["general"].query,
        variant: str | None = None,
        truncate_dim: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.device = device
        self.instruction = instruction
        self.query_instruction = query_instruction
        self.variant = variant
        self.truncate_dim = truncate_dim
        self._model = shared_model(ModelOptions(model_name, variant=variant, device=device))

    def __call__(self, input: Embeddable) -> Embeddings:
        """Vectors of documents: a list of float32 [embedding_dim]."""
        return self._embed(self.instruction, input)

    def embed_query(self, input: Embeddable) -> Embeddings:
        """Vectors of queries: a list of float32 [embedding_dim]."""
        return self._embed(self.query_instruction, input)

    def _embed(self, instruction: str, texts: Embeddable) -> Embeddings:
        vectors = self._model.encode(
            [(instruction, text) for text in texts], show_progress_bar=False, truncate_dim=self.truncate_dim
        )
        return list(np.asarray(vectors))

    @staticmethod
    def name() -> str:
        return "instructor-onnx"

    def default_space(self) -> Space:
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """What the collection keeps, and `build_from_config` restores."""
        return {
            "model_name": self.model_name,
            "device": self.device,
            "instruction": self.instruction,
            "query_instruction": self.query_instruction,
            "variant": self.variant,
            "truncate_dim": self.truncate_dim,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> InstructorEmbeddingFunction:
        InstructorEmbeddingFunction.validate_config(config)
        return InstructorEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """
        Raises:
            ValueError: names what `get_config` does not write.
        """
        expected = {"model_name", "device", "instruction", "query_instruction", "variant", "truncate_dim"}
        if unknown := set(config) - expected:
            raise ValueError(f"instructor-onnx: found {sorted(unknown)}, expected {sorted(expected)}.")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """
        Raises:
            ValueError: the vectors that the collection has would no longer fit.
        """
        for name in FIXED:
            if new_config.get(name, old_config.get(name)) != old_config.get(name):
                raise ValueError(
                    f"{name}: the collection's vectors were made with {old_config.get(name)!r}, "
                    f"found {new_config[name]!r}. Make a new collection for it."
                )

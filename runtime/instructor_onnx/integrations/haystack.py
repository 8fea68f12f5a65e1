"""Haystack: `InstructorTextEmbedder` for queries and `InstructorDocumentEmbedder` for documents.

The parameters, and the default instructions, are those of the archived `instructor-embedders-haystack`, so that its
pipelines carry on with another import; `variant` is added.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from instructor_onnx.extras import pip_install
from instructor_onnx.integrations.loading import DEFAULT_MODEL, ModelOptions, shared_model
from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.vectors import Precision

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.utils import ComponentDevice, Secret
except ImportError as error:
    raise ImportError(f"Haystack is not installed ({error}): {pip_install('haystack')}") from error

HF_TOKEN = Secret.from_env_var("HF_API_TOKEN", strict=False)


@component
class InstructorTextEmbedder:
    """Embeds one string, a query.

    Args:
        model: a bundle folder, a Hugging Face id of one, or "instructor-mini".
        device: None: CUDA where onnxruntime has it, else the CPU.
        token: a Hugging Face token, for private models.
        instruction: what the text is, and what its vector is for. End it with ": ".
        batch_size: most texts of one run.
        progress_bar: kept for compatibility; one text needs none.
        normalize_embeddings: gives vectors unit length; an INSTRUCTOR's already have it.
        variant: "fp32", "int8", ...; None: the most exact one that the device runs well.
        truncate_dim: numbers kept of the vector; None: all.
        precision: "float32", or "int8", "uint8", "binary", "ubinary".

    >>> from instructor_onnx.integrations.haystack import InstructorTextEmbedder
    >>> embedder = InstructorTextEmbedder(
    ...     "my-bundle", instruction="Represent the question for retrieving supporting documents: ", progress_bar=False
    ... )
    >>> len(embedder.run("What is a mixed economy?")["embedding"])
    384
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        device: ComponentDevice | None = None,
        token: Secret | None = HF_TOKEN,
        instruction: str = "Represent the sentence",
        batch_size: int = 32,
        progress_bar: bool = True,
        normalize_embeddings: bool = False,
        variant: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.device = device
        self.token = token
        self.instruction = instruction
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.variant = variant
        self.truncate_dim = truncate_dim
        self.precision = precision

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same component of."""
        return default_to_dict(self, **_settings(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> InstructorTextEmbedder:
        """The component that `to_dict` described."""
        restored: InstructorTextEmbedder = default_from_dict(cls, _with_objects(data))
        return restored

    def warm_up(self) -> None:
        """Load the model; `run` does so too, on its first call."""
        self._model = _load(self)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a string: {"embedding": [embedding_dim] floats}.

        Raises:
            TypeError: not a string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"InstructorTextEmbedder embeds a string, found {type(text).__name__}; "
                "for a list of Documents use InstructorDocumentEmbedder."
            )
        return {"embedding": _embed(self, [text], progress_bar=False)[0]}


@component
class InstructorDocumentEmbedder:
    """Embeds Documents: their content, after the meta fields named.

    Args:
        meta_fields_to_embed: meta fields put before the content, in this order, where a Document has them.
        embedding_separator: what stands between those fields, and before the content.
        progress_bar: whether to show one.
        model, device, token, instruction, batch_size, normalize_embeddings, variant, truncate_dim, precision: as in
            `InstructorTextEmbedder`.

    >>> from haystack import Document
    >>> from instructor_onnx.integrations.haystack import InstructorDocumentEmbedder
    >>> embedder = InstructorDocumentEmbedder("my-bundle", meta_fields_to_embed=["title"], progress_bar=False)
    >>> document = Document(content="Light becomes glucose.", meta={"title": "Plants"})
    >>> len(embedder.run([document])["documents"][0].embedding)
    384
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        device: ComponentDevice | None = None,
        token: Secret | None = HF_TOKEN,
        instruction: str = "Represent the document",
        batch_size: int = 32,
        progress_bar: bool = True,
        normalize_embeddings: bool = False,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        variant: str | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.device = device
        self.token = token
        self.instruction = instruction
        self.batch_size = batch_size
        self.progress_bar = progress_bar
        self.normalize_embeddings = normalize_embeddings
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.variant = variant
        self.truncate_dim = truncate_dim
        self.precision = precision

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` makes the same component of."""
        return default_to_dict(
            self,
            **_settings(self),
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> InstructorDocumentEmbedder:
        """The component that `to_dict` described."""
        restored: InstructorDocumentEmbedder = default_from_dict(cls, _with_objects(data))
        return restored

    def warm_up(self) -> None:
        """Load the model; `run` does so too, on its first call."""
        self._model = _load(self)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed Documents: {"documents": copies of them, in their order, each with its `embedding`}.

        Raises:
            TypeError: not a list of Documents.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise TypeError(
                "InstructorDocumentEmbedder embeds a list of Documents; for a string use InstructorTextEmbedder."
            )
        vectors = _embed(self, [self._text(document) for document in documents], self.progress_bar)
        return {
            "documents": [
                dataclasses.replace(document, embedding=vector)
                for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    def _text(self, document: Document) -> str:
        fields = (document.meta.get(name) for name in self.meta_fields_to_embed)
        return self.embedding_separator.join(
            [*(str(field) for field in fields if field is not None), document.content or ""]
        )


Embedder = InstructorTextEmbedder | InstructorDocumentEmbedder


def _with_objects(data: dict[str, Any]) -> dict[str, Any]:
    """`data` with its device and token made objects again, which older versions of Haystack leave to the component."""
    parameters = dict(data.get("init_parameters", {}))
    for name, kind in (("device", ComponentDevice), ("token", Secret)):
        if isinstance(parameters.get(name), dict):
            parameters[name] = kind.from_dict(parameters[name])
    return {**data, "init_parameters": parameters}


def _settings(embedder: Embedder) -> dict[str, Any]:
    """The parameters that both components have, as they are written down."""
    return {
        "model": embedder.model,
        "device": embedder.device.to_dict() if embedder.device else None,
        "token": embedder.token.to_dict() if embedder.token else None,
        "instruction": embedder.instruction,
        "batch_size": embedder.batch_size,
        "progress_bar": embedder.progress_bar,
        "normalize_embeddings": embedder.normalize_embeddings,
        "variant": embedder.variant,
        "truncate_dim": embedder.truncate_dim,
        "precision": embedder.precision,
    }


def _load(embedder: Embedder) -> INSTRUCTOR:
    return shared_model(
        ModelOptions(
            embedder.model,
            variant=embedder.variant,
            device=embedder.device.to_torch_str() if embedder.device else None,
            token=embedder.token.resolve_value() if embedder.token else None,
        )
    )


def _embed(embedder: Embedder, texts: list[str], progress_bar: bool) -> list[list[float]]:
    embedder.warm_up()
    vectors: list[list[float]] = embedder._model.encode(
        [(embedder.instruction, text) for text in texts],
        batch_size=embedder.batch_size,
        show_progress_bar=progress_bar,
        normalize_embeddings=embedder.normalize_embeddings,
        truncate_dim=embedder.truncate_dim,
        precision=embedder.precision,
    ).tolist()
    return vectors

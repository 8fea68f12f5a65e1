"""An INSTRUCTOR as the `mteb` package wants its encoders, with an instruction for every task.

    import mteb
    from benchmarks.quality.mteb_adapter import MTEBEncoder
    mteb.evaluate(MTEBEncoder(INSTRUCTOR("my-bundle"), instructions), mteb.get_tasks(tasks=["STS12"]))

This is for Python in the project's root. `instructions` has the form of one model in mteb_instructions.json: task name
-> an instruction, or {"query": ..., "corpus": ...}. Tested with mteb 2.26 and its EncoderProtocol; needs mteb 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import mteb
import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.similarity_functions import cos_sim, pairwise_cos_sim

Float32 = npt.NDArray[np.float32]
Instructions = Mapping[str, str | Mapping[str, str]]

MTEB_SIDES = {"query": "query", "document": "corpus"}  # mteb's PromptType -> the key in `instructions`

# For a task that `instructions` does not name, by mteb's type of task.
_SIMILARITY = "Represent the sentence for similarity: "
_RETRIEVAL = {
    "query": "Represent the question for retrieving supporting documents: ",
    "corpus": "Represent the document for retrieval: ",
}
BY_TYPE: Instructions = {
    "Retrieval": _RETRIEVAL,
    "Reranking": _RETRIEVAL,
    "Clustering": "Represent the text for clustering by subject: ",
    "Classification": "Represent the text for classification: ",
    "MultilabelClassification": "Represent the text for classification: ",
}


class MTEBEncoder:
    """Follows `mteb.models.EncoderProtocol`; mteb's wrapper makes a searcher of it for retrieval."""

    def __init__(self, model: INSTRUCTOR, instructions: Instructions) -> None:
        self.model = model
        self.instructions = instructions
        self.mteb_model_meta = _meta(model)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        **_: Any,  # the protocol hands on every encode_kwargs; those of other models mean nothing here
    ) -> Float32:
        """Embed what mteb's data loader yields (batches with a list under "text"): float32 [texts, embedding_dim]."""
        instruction = choose(self.instructions, task_metadata.name, task_metadata.type, prompt_type)
        rows = [(instruction, text) for batch in inputs for text in batch["text"]]
        vectors = self.model.encode(rows, batch_size=batch_size, show_progress_bar=show_progress_bar)
        return np.asarray(vectors, dtype=np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of each with each, as mteb computes it."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of row i with row i."""
        return pairwise_cos_sim(embeddings1, embeddings2)


def choose(instructions: Instructions, task: str, task_type: str, prompt_type: Any = None) -> str:
    """The instruction of one side of a task: by name ("X.v2" as "X"), else by type, else one for similarity.

    Args:
        prompt_type: mteb's PromptType, or None where a task has no sides.
    """
    name = re.sub(r"\.v\d+$", "", task)
    for key, table in ((task, instructions), (name, instructions), (task_type, instructions), (task_type, BY_TYPE)):
        if key in table:
            found = table[key]
            side = MTEB_SIDES["query" if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))]
            return found if isinstance(found, str) else found[side]
    return _SIMILARITY


def main_score(encoder: MTEBEncoder, task: str | Any) -> float:
    """The main score of an MTEB task, by its name or as mteb's own object; the data is mteb's to download."""
    chosen = mteb.get_task(task) if isinstance(task, str) else task
    found = mteb.evaluate(encoder, chosen, cache=None, show_progress_bar=False)
    return float(found.task_results[0].get_score())


def _meta(model: INSTRUCTOR) -> ModelMeta:
    name = model.manifest.model.name
    facts = {
        "name": name if "/" in name else f"instructor-onnx/{name}",
        "revision": model.variant,
        "max_tokens": model.max_seq_length,
        "embed_dim": model.get_sentence_embedding_dimension(),
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": True,
        "framework": ["ONNX"],
    }
    return ModelMeta.create_empty(facts)

"""What computes vectors: the seam between `model.py` and onnxruntime or anything else that can run a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from instructor_onnx.session import Device
    from instructor_onnx.tokens import Tokens

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


class Engine(Protocol):
    """An opened model. Its methods are thread-safe and keep no state between calls."""

    @property
    def name(self) -> str:
        """What runs: "onnxruntime", ..."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    @property
    def num_threads(self) -> int:
        """CPU threads of one run."""

    @property
    def token_budget(self) -> int:
        """Most tokens of one run, padding counted, where the user names none."""

    @property
    def run_cost(self) -> float:
        """What a run costs besides its tokens, in tokens: padding less is worth another run; inf: nothing is padded."""

    def sentence_embeddings(self, tokens: Tokens, rows: Int64) -> Float32:
        """One run over the given rows of `tokens`: float32 [len(rows), embedding_dim]."""

    def token_embeddings(self, tokens: Tokens, rows: Int64) -> tuple[list[Float32], Float32]:
        """The same with every token: for each row float32 [length, d_model], and the sentence embeddings."""

"""What the adapters share: tokenising and batching as our runtime does it, and INSTRUCTOR's head on hidden states."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from instructor_onnx.batches import plan_batches
from instructor_onnx.bundle import Manifest
from instructor_onnx.engines.ort import Session
from instructor_onnx.inputs import as_rows
from instructor_onnx.tokens import Tokenizer

from benchmarks.compare.rivals import Job

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Row = tuple[str, str]

TOKEN_BUDGETS = (512, 1024, 4096)  # each rival gets the one it is fastest with
BATCH_SIZES = (4, 8, 32)  # the same for those that only take a number of rows


class Encoder(Protocol):
    """A loaded rival."""

    settings: dict[str, Any]  # what it runs with, for the results
    files: list[Path]  # what it loads, for their size
    batching: str  # the name of what `choose` sets
    choices: Sequence[int]  # to try; () where it needs none

    def choose(self, value: int) -> None:
        """Batch like this from now on."""

    def encode(self, rows: list[Row]) -> Float32:
        """Rows of (instruction, text) -> float32 [rows, embedding_dim]."""


class ByTokens:
    """A rival that takes padded ids: tokenised, sorted by length and cut by a token budget as our runtime does it."""

    batching = "token_budget"
    choices: Sequence[int] = TOKEN_BUDGETS

    def __init__(
        self,
        job: Job,
        run: Callable[[Int64, Int64, Int64], Float32],
        settings: dict[str, Any],
        files: list[Path],
    ) -> None:
        model = Manifest.read(job.bundle).model
        tokenizer = job.bundle / "tokenizer.json"
        self._tokenizer = Tokenizer.load(tokenizer, vocab_size=model.vocab_size, eos_token_id=model.eos_token_id)
        self._model, self._run, self._budget = model, run, TOKEN_BUDGETS[1]
        self.settings, self.files = settings, [*files, tokenizer]

    def choose(self, value: int) -> None:
        self._budget = value

    def encode(self, rows: list[Row]) -> Float32:
        tokens = self._tokenizer(as_rows(rows)[0], self._model.max_seq_length)
        vectors = np.empty((len(rows), self._model.embedding_dim), dtype=np.float32)
        for batch in plan_batches(
            tokens.lengths, batch_size=len(rows), token_budget=self._budget, run_cost=Session.run_cost
        ):
            vectors[batch] = self._run(*tokens.padded(batch))  # input_ids, attention_mask, pooling_mask
        return vectors


class Head:
    """INSTRUCTOR after the encoder, in numpy: masked mean, Dense, Normalize."""

    def __init__(self, job: Job) -> None:
        self._normalize = Manifest.read(job.bundle).model.normalize
        self._dense = dense_weight(job.checkpoint)

    def __call__(self, hidden_states: Float32, pooling_mask: Int64) -> Float32:
        """[batch, sequence, d_model] and [batch, sequence] -> [batch, embedding_dim]."""
        weights = pooling_mask.astype(np.float32)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        vectors = (weights[:, None] @ hidden_states)[:, 0]
        if self._dense is not None:
            vectors = vectors @ self._dense.T
        if self._normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return np.asarray(vectors, dtype=np.float32)


def dense_weight(checkpoint: Path) -> Float32 | None:
    """The matrix [embedding_dim, d_model] of the Dense module, from safetensors or a pickle read as weights only."""
    modules = json.loads((checkpoint / "modules.json").read_text(encoding="utf-8"))
    for folder in [checkpoint / module["path"] for module in modules if module["type"].endswith("Dense")]:
        if (file := folder / "model.safetensors").is_file():
            from safetensors.numpy import load_file

            return np.asarray(load_file(file)["linear.weight"], dtype=np.float32)
        import torch

        state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        return np.asarray(state["linear.weight"].float().numpy(), dtype=np.float32)
    return None


def weight_files(checkpoint: Path) -> list[Path]:
    """The files with weights of a checkpoint: safetensors where there are some, else pickles."""
    found = sorted(checkpoint.rglob("*.safetensors"))
    return found or sorted(checkpoint.rglob("*.bin"))

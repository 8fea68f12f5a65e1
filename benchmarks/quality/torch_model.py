"""The checkpoint in torch, many rows at a time: what the bundle is held against.

The exporter's own oracle takes a row at a time; this one pads and masks a batch, and shares no code with it or
with the runtime: transformers reads and runs the encoder, and joining, masking and pooling are written here
once more (REFERENCE: strip(instruction + strip(text)), the mean over the tokens after the instruction).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers
from instructor_onnx_export.checkpoint.names import DENSE
from instructor_onnx_export.checkpoint.read import Checkpoint, read_checkpoint
from tokenizers import Tokenizer

Float32 = npt.NDArray[np.float32]
TOKEN_BUDGET = 1024  # padded tokens of one forward pass: more leave the L2 cache and are slower


class TorchEmbedder:
    """A checkpoint as transformers computes it, float32 on the CPU."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._config = checkpoint.config
        dense = checkpoint.weights.get(DENSE)
        self._dense = None if dense is None else dense.float()
        transformers.utils.logging.disable_progress_bar()
        self._encoder = transformers.T5EncoderModel.from_pretrained(
            _encoder_folder(checkpoint.folder), dtype=torch.float32
        ).eval()
        self._tokenizer = Tokenizer.from_buffer(checkpoint.tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        sources = json.dumps(checkpoint.source_sha256, sort_keys=True)
        self.identity = f"{hashlib.sha256(sources.encode()).hexdigest()} torch {torch.__version__}"

    @classmethod
    def load(cls, folder: Path, num_threads: int) -> TorchEmbedder:
        """Read a checkpoint folder in the layout of sentence-transformers; the threads are the whole process's."""
        torch.set_num_threads(num_threads)
        return cls(read_checkpoint(folder))

    @torch.inference_mode()
    def encode(self, rows: list[tuple[str, str]]) -> Float32:
        """Rows of (instruction, text) -> float32 [rows, embedding_dim]."""
        joined = [self._ids((instruction + text.strip()).strip()) for instruction, text in rows]
        known = {instruction: len(self._ids(instruction.strip())) - 1 for instruction, _ in rows}  # without </s>
        starts = [known[instruction] if known[instruction] > 1 else 0 for instruction, _ in rows]
        order = sorted(range(len(rows)), key=lambda row: len(joined[row]))
        vectors: list[Float32] = [np.empty(0, np.float32)] * len(rows)
        while order:
            batch = [order.pop()]  # the longest left, then as many as fit its width
            width = len(joined[batch[0]])
            while order and (len(batch) + 1) * width <= TOKEN_BUDGET:
                batch.append(order.pop())
            found = self._forward([joined[row] for row in batch], [starts[row] for row in batch])
            for row, vector in zip(batch, found, strict=True):
                vectors[row] = vector
        return np.stack(vectors)

    def _forward(self, ids: list[list[int]], starts: list[int]) -> Float32:
        width = len(ids[0])
        padded = [row + [self._config.pad_token_id] * (width - len(row)) for row in ids]
        position = torch.arange(width)
        attention_mask = position < torch.tensor([len(row) for row in ids])[:, None]  # [batch, width]
        pooling_mask = (attention_mask & (position >= torch.tensor(starts)[:, None])).float()
        hidden_states = self._encoder(
            input_ids=torch.tensor(padded), attention_mask=attention_mask.long()
        ).last_hidden_state  # [batch, width, d_model]
        weights = pooling_mask / pooling_mask.sum(dim=1, keepdim=True).clamp(min=1e-9)
        vectors = torch.einsum("bwd,bw->bd", hidden_states, weights)
        if self._dense is not None:
            vectors = torch.nn.functional.linear(vectors, self._dense)
        if self._config.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1, eps=1e-12)
        return np.asarray(vectors.numpy(), dtype=np.float32)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        if len(ids) > self._config.max_seq_length:
            ids = [*ids[: self._config.max_seq_length - 1], self._config.eos_token_id]
        return ids


def _encoder_folder(checkpoint: Path) -> Path:
    """Where the encoder's config.json lies: sentence-transformers has it at the top or in a folder of its own."""
    for path in [checkpoint / "config.json", *sorted(checkpoint.glob("*/config.json"))]:
        if path.is_file() and "d_model" in json.loads(path.read_text(encoding="utf-8")):
            return path.parent
    raise FileNotFoundError(f"{checkpoint}: no config.json of a T5 encoder.")

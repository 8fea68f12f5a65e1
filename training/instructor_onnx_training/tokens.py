"""Rows (instruction, text) → the three arrays of a batch, in torch. The runtime joins, cuts and counts their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from instructor_onnx import inputs
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_export.checkpoint.read import Checkpoint

Row = tuple[str, str]  # (instruction, text)


@dataclass(frozen=True)
class Batch:
    """int64 `[rows, width]` each; `attention_mask` is what the encoder sees, `pooling_mask` what the mean takes."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    pooling_mask: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.input_ids.to(device), self.attention_mask.to(device), self.pooling_mask.to(device))


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a checkpoint, as its export will have it."""
    config = checkpoint.config
    return Tokenizer.parse(
        checkpoint.tokenizer_json, checkpoint.folder, vocab_size=config.vocab_size, eos_token_id=config.eos_token_id
    )


def make_batch(tokenizer: Tokenizer, rows: Sequence[Row], *, max_length: int) -> Batch:
    """The rows padded on the right with id 0; `max_length` counts tokens, instruction and `</s>` included."""
    tokens = tokenizer([inputs.Row(*row) for row in rows], max_length)
    return Batch(*map(torch.from_numpy, tokens.padded(np.arange(len(rows)))))

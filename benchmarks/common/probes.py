"""An engine's vectors against PyTorch's, on the exporter's probe rows; none of them is a calibration text."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx.batches import plan_batches
from instructor_onnx.engines.engine import Engine
from instructor_onnx.tokens import Tokenizer, Tokens
from instructor_onnx_export.checkpoint.read import Checkpoint
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.verify import ask_oracle, cosines, probe_rows

Float32 = npt.NDArray[np.float32]
TOKEN_BUDGET = 512


def probe(source: Checkpoint) -> tuple[Tokens, Float32]:
    """The rows of a checkpoint in its tokens, and PyTorch's vector of each."""
    config = source.config
    rows = probe_rows(config.max_seq_length)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        tokenizer.write_bytes(source.tokenizer_json)
        load = Tokenizer.load(tokenizer, vocab_size=config.vocab_size, eos_token_id=config.eos_token_id)
    return load(rows, config.max_seq_length), ask_oracle(Oracle(source), rows).vectors


def compare(engine: Engine, tokens: Tokens, expected: Float32) -> dict[str, Any]:
    """Cosines to `expected`, and whether a text alone has the vector that it has in a batch."""
    together, alone = np.empty_like(expected), np.empty_like(expected)
    for vectors, rows in ((together, 32), (alone, 1)):
        for batch in plan_batches(tokens.lengths, batch_size=rows, token_budget=TOKEN_BUDGET):
            vectors[batch] = engine.sentence_embeddings(tokens, batch)
    similarity = cosines(together, expected)
    return {
        "mean": round(float(similarity.mean()), 5),
        "p1": round(float(np.percentile(similarity, 1)), 5),
        "min": round(float(similarity.min()), 5),
        "alone vs batch, min": round(float(cosines(alone, together).min()), 5),
        "identical": bool(np.array_equal(alone, together)),
    }

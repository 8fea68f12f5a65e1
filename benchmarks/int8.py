#!/usr/bin/env python
"""What each step of int8 is worth: one scale per tensor, one per row, and outliers migrated.

    python benchmarks/int8.py CHECKPOINT [CHECKPOINT ...] --out benchmarks/results/int8.json

For every checkpoint: the cosine of each arithmetic's vectors to PyTorch over the exporter's probe rows (none of them a
calibration text), whether a text alone has its vector of the batch, and layer by layer the relative error of every
product (rows alone, and at each strength of migration; the exporter takes the smallest). What is not measured: speed;
the three run the same products.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from instructor_onnx.batches import plan_batches
from instructor_onnx.session import Device, Session, import_onnxruntime
from instructor_onnx.tokens import Tokenizer, Tokens
from instructor_onnx_export import calibrate
from instructor_onnx_export.checkpoint import Checkpoint, read_checkpoint
from instructor_onnx_export.graph import write_graph
from instructor_onnx_export.linear import Int8PerRow, Precision
from instructor_onnx_export.model_file import ModelWriter
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.verify import ask_oracle, cosines, probe_rows
from tqdm import tqdm

Float32 = npt.NDArray[np.float32]
TOKEN_BUDGET = 512


class Int8PerTensor(Int8PerRow):
    """The usual dynamic quantisation, for comparison: one scale for all rows of an activation."""

    def _largest(self, model: ModelWriter, magnitude: str) -> str:
        return str(model.node("ReduceMax", magnitude, keepdims=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    options = parser.parse_args()
    results = {"onnxruntime": import_onnxruntime().__version__, "torch": torch.__version__, "checkpoints": {}}
    for path in options.checkpoints:
        results["checkpoints"][path.name] = found = judge(read_checkpoint(path))
        for name, figures in found["models"].items():
            sys.stdout.write(f"{path.name:<24} {name:<12} " + "  ".join(f"{k} {v}" for k, v in figures.items()) + "\n")
        sys.stdout.flush()
        if options.out:
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def judge(source: Checkpoint) -> dict[str, Any]:
    """The three arithmetics on one checkpoint, whole and layer by layer."""
    oracle = Oracle(source)
    texts = calibrate.read_rows()
    probes = probe_rows(source.config.max_seq_length)
    with tqdm(total=len(probes) + len(texts), desc=source.name, unit="row") as bar:
        expected = ask_oracle(oracle, probes, bar.update).vectors
        observed = calibrate.observe(oracle, source.config, texts, bar.update)
    del oracle
    smoothed = calibrate.smooth(source.weights, source.config, observed, int)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = Path(folder) / "tokenizer.json"
        tokenizer.write_bytes(source.tokenizer_json)
        config = source.config
        load = Tokenizer.load(tokenizer, vocab_size=config.vocab_size, eos_token_id=config.eos_token_id)
        tokens = load(probes, config.max_seq_length)
        models: dict[str, tuple[Precision, Mapping[str, torch.Tensor]]] = {
            "per tensor": (Int8PerTensor(), source.weights),
            "per row": (Int8PerRow(), source.weights),
            "migrated": (Int8PerRow(), smoothed),
        }
        whole = {}
        for name, (precision, weights) in models.items():
            write_graph(Path(folder) / name, config, weights, precision)
            whole[name] = _compare(Session.open(Path(folder) / name / "model.onnx", Device("cpu")), tokens, expected)
    return {"models": whole, "products": _products(source, observed)}


def _compare(session: Session, tokens: Tokens, expected: Float32) -> dict[str, float]:
    together, alone = np.empty_like(expected), np.empty_like(expected)
    for vectors, rows in ((together, 32), (alone, 1)):
        for batch in plan_batches(tokens.lengths, batch_size=rows, token_budget=TOKEN_BUDGET):
            vectors[batch] = session.sentence_embeddings(tokens, batch)
    similarity = cosines(together, expected)
    return {
        "mean": round(float(similarity.mean()), 5),
        "p1": round(float(np.percentile(similarity, 1)), 5),
        "min": round(float(similarity.min()), 5),
        "alone vs batch, min": round(float(cosines(alone, together).min()), 5),
        "identical": bool(np.array_equal(alone, together)),
    }


def _products(source: Checkpoint, observed: Mapping[str, calibrate.Observed]) -> dict[str, dict[str, float]]:
    """Relative error of each product on the sampled calibration tokens, by strength of migration."""
    table = {}
    for module, readers, positive in calibrate.products(source.config):
        weights = [source.weights[name] for name in readers]
        table[module] = {
            name: round(error, 5)
            for name, error in calibrate.relative_errors(weights, observed[module], positive).items()
        }
    return table


if __name__ == "__main__":
    sys.exit(main())

"""What each step of int8 is worth: one scale per tensor, one per row, and outliers migrated.

    python -m benchmarks.int8 CHECKPOINT [CHECKPOINT ...]

For every checkpoint: the cosine of each arithmetic's vectors to PyTorch over the exporter's probe rows (none of them a
calibration text), whether a text alone has its vector of the batch, and layer by layer the relative error of every
product (rows alone, and at each strength of migration; the exporter takes the smallest). What is not measured: speed;
the three run the same products.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.ort import Session
from instructor_onnx_export import calibrate
from instructor_onnx_export.checkpoint.read import Checkpoint, read_checkpoint
from instructor_onnx_export.graph.int8 import Int8PerRow
from instructor_onnx_export.graph.model_file import ModelWriter
from instructor_onnx_export.graph.precision import Precision, Prepared
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.oracle import Oracle
from tqdm import tqdm

from benchmarks.common import commands, machine, results
from benchmarks.common.probes import compare, probe


class Int8PerTensor(Int8PerRow):
    """The usual dynamic quantisation, for comparison: one scale for all rows of an activation."""

    def _quantize_rows(
        self, model: ModelWriter, x: str, magnitude: str, *, levels: int, zero_point: int, scale: str | None
    ) -> Prepared:
        largest = model.node("ReduceMax", magnitude, keepdims=1)  # of all rows: [1, 1, 1]
        return super()._quantize_rows(model, x, largest, levels=levels, zero_point=zero_point, scale=scale)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = commands.parser("int8", __doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    commands.add_out(parser, "int8")
    return commands.run(parser, arguments, _run)


def _run(options: argparse.Namespace) -> int:
    out = results.own_file("int8", out=options.out)
    found: dict[str, Any] = {
        "machine": machine.facts(),
        "versions": machine.versions(("onnxruntime", "torch")),
        "checkpoints": {},
    }
    for path in options.checkpoints:
        found["checkpoints"][path.name] = judged = judge(read_checkpoint(path))
        for name, figures in judged["models"].items():
            sys.stdout.write(f"{path.name:<24} {name:<12} " + "  ".join(f"{k} {v}" for k, v in figures.items()) + "\n")
        sys.stdout.flush()
        results.write(out, found)
    return 0


def judge(source: Checkpoint) -> dict[str, Any]:
    """The three arithmetics on one checkpoint, whole and layer by layer."""
    tokens, expected = probe(source)
    texts = calibrate.read_rows()
    with tqdm(total=len(texts), desc=source.name, unit="row") as bar:
        observed, _ = calibrate.observe(Oracle(source), source.config, texts, bar.update)
    smoothed = calibrate.smooth(source.weights, source.config, observed, int)
    with tempfile.TemporaryDirectory() as folder:
        models: dict[str, tuple[Precision, Mapping[str, torch.Tensor]]] = {
            "per tensor": (Int8PerTensor(), source.weights),
            "per row": (Int8PerRow(), source.weights),
            "migrated": (Int8PerRow(), smoothed),
        }
        whole = {}
        for name, (precision, weights) in models.items():
            write_graph(Path(folder) / name, source.config, weights, precision)
            whole[name] = compare(Session.open(Path(folder) / name / "model.onnx", Device("cpu")), tokens, expected)
    return {"models": whole, "products": _products(source, observed)}


def _products(source: Checkpoint, observed: Mapping[str, calibrate.Observed]) -> dict[str, dict[str, float]]:
    """Error of each product on the sampled calibration tokens over its own size, by strength of migration."""
    names = ("rows alone", *(f"migrated {share}" for share in calibrate.STRENGTHS))
    table = {}
    for module, readers, positive in calibrate.products(source.config):
        weights, seen = [source.weights[name] for name in readers], observed[module]
        errors = calibrate.squared_errors(weights, seen, positive, calibrate.scales_to_try(weights, seen))
        size = sum(float((seen.sample @ weight.float().T).square().sum()) for weight in weights)
        relative = (round((error / max(size, calibrate.FLOOR)) ** 0.5, 5) for error in errors)
        table[module] = dict(zip(names, relative, strict=True))
    return table


if __name__ == "__main__":
    sys.exit(main())

"""OpenVINO directly on our fp32 graph, as it is (in bf16 where the CPU has it) and quantised by NNCF."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import openvino

from benchmarks.compare.adapters.common import ByTokens, Encoder, Float32, Int64
from benchmarks.compare.rivals import Job

CALIBRATION_ROWS = 64


def load(job: Job) -> Encoder:
    core = openvino.Core()
    source = job.folder / "model.xml" if job.option == "int8" else job.bundle / "fp32" / "model.onnx"
    model = core.read_model(source)
    # token_embeddings is not asked for: what only serves it need not be kept
    model = openvino.Model([model.output("sentence_embedding")], model.get_parameters(), model.get_friendly_name())
    precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    hints: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": job.threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()
    output = compiled.output(0)

    def run(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask, "pooling_mask": pooling_mask}
        return np.asarray(request.infer(feeds, share_inputs=True)[output], dtype=np.float32)

    files = [source, source.with_suffix(".bin") if job.option == "int8" else source.with_name("model.onnx.data")]
    return ByTokens(job, run, hints, [file for file in files if file.is_file()])


def prepare(job: Job) -> None:
    """NNCF's static int8 for transformers (weights and activations, SmoothQuant), calibrated on rows of the work."""
    import nncf

    rows = json.loads((job.folder / "calibration.json").read_text(encoding="utf-8"))[:CALIBRATION_ROWS]
    fed: list[dict[str, Int64]] = []

    def observe(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        fed.append({"input_ids": input_ids, "attention_mask": attention_mask, "pooling_mask": pooling_mask})
        return np.zeros((len(input_ids), 1), dtype=np.float32)

    collect = ByTokens(job, observe, {}, [])
    for row in rows:
        collect.encode([tuple(row)])
    model = openvino.Core().read_model(job.bundle / "fp32" / "model.onnx")
    quantized = nncf.quantize(model, nncf.Dataset(fed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(fed))
    openvino.save_model(quantized, job.folder / "model.xml", compress_to_fp16=False)

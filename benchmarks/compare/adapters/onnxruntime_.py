"""ONNX Runtime's own `quantize_dynamic` on our fp32 graph."""

from __future__ import annotations

from instructor_onnx.engines import saturation

from benchmarks.compare.adapters.common import ByTokens, Encoder, Float32, Int64
from benchmarks.compare.rivals import Job


def load(job: Job) -> Encoder:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.enable_mem_pattern = False  # as our own session: texts are ragged
    options.log_severity_level = 3
    path = job.folder / "model.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask, "pooling_mask": pooling_mask}
        vectors: Float32 = session.run(["sentence_embedding"], feeds)[0]
        return vectors

    settings = {
        "threads": job.threads,
        "weights": "int8 per channel",
        "reduce_range": saturation.saturates(onnxruntime),
    }
    return ByTokens(job, run, settings, sorted(job.folder.glob("model.onnx*")))


def prepare(job: Job) -> None:
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        job.bundle / "fp32" / "model.onnx",
        job.folder / "model.onnx",
        per_channel=True,
        reduce_range=saturation.saturates(onnxruntime),  # as its documentation advises
        weight_type=QuantType.QInt8,
    )

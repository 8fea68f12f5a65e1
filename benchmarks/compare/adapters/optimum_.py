"""optimum-onnx: its export of the T5 encoder, run by its ORTModelForFeatureExtraction; int8 by its ORTQuantizer.

Its command line exports encoder and decoder of a T5, so that the encoder's own configuration is named here. The head
(masked mean, Dense, Normalize) is not in its graph: it is computed in numpy.
"""

from __future__ import annotations

import logging

import numpy as np
from instructor_onnx.engines import processor

from benchmarks.compare.adapters.common import ByTokens, Encoder, Float32, Head, Int64
from benchmarks.compare.rivals import Job


def load(job: Job) -> Encoder:
    import onnxruntime
    from optimum.onnxruntime import ORTModelForFeatureExtraction

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.enable_mem_pattern = False
    name = "model_quantized.onnx" if job.option == "int8" else "model.onnx"
    model = ORTModelForFeatureExtraction.from_pretrained(job.folder, file_name=name, session_options=options)
    head = Head(job)

    def run(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        states = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return head(np.asarray(states), pooling_mask)

    return ByTokens(job, run, {"threads": job.threads, "head": "numpy"}, sorted(job.folder.glob(f"{name}*")))


def prepare(job: Job) -> None:
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.exporters.onnx.model_configs import T5EncoderOnnxConfig
    from transformers import T5EncoderModel

    class EncoderConfig(T5EncoderOnnxConfig):  # type: ignore[misc]  # optimum is not typed
        """The one it has for T5 encoders, with the attention mask: without, padding is attended to."""

        @property
        def inputs(self) -> dict[str, dict[int, str]]:
            axes = {0: "batch_size", 1: "sequence_length"}
            return {"input_ids": axes, "attention_mask": axes}

    logging.getLogger("optimum").setLevel(logging.ERROR)
    model = T5EncoderModel.from_pretrained(job.checkpoint).eval()
    config = EncoderConfig(model.config, task="feature-extraction")
    onnx_export_from_model(model, job.folder, task="feature-extraction", custom_onnx_configs={"model": config})
    if job.option == "int8":
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        chosen = (
            AutoQuantizationConfig.avx512_vnni if "avx512_vnni" in processor.flags() else AutoQuantizationConfig.avx2
        )
        quantizer = ORTQuantizer.from_pretrained(job.folder, file_name="model.onnx")
        quantizer.quantize(save_dir=job.folder, quantization_config=chosen(is_static=False, per_channel=True))
        for path in job.folder.glob("model.onnx*"):
            path.unlink()

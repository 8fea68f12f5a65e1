"""INSTRUCTOR's computation in torch: transformers' T5 encoder, then masked mean, Dense and Normalize in float32.

"int8" is the recipe of the published model's README: `torch.quantization.quantize_dynamic` over the linear layers.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import transformers

from benchmarks.compare.adapters.common import ByTokens, Encoder, Float32, Head, Int64, weight_files
from benchmarks.compare.rivals import Job


def load(job: Job) -> Encoder:
    torch.set_num_threads(job.threads)
    dtype = torch.bfloat16 if job.option == "bf16" else torch.float32
    encoder: Any = transformers.T5EncoderModel.from_pretrained(job.checkpoint, dtype=dtype).eval()
    settings = {
        "threads": job.threads,
        "attention": encoder.config._attn_implementation,
        "mkldnn_bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }
    if job.option == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still what the README says
            quantize: Any = torch.ao.quantization.quantize_dynamic
            encoder = quantize(encoder, {torch.nn.Linear}, dtype=torch.qint8)
        settings["engine"] = torch.backends.quantized.engine
    head = Head(job)

    @torch.inference_mode()
    def run(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        # an all-ones mask says nothing, and without it attention may take a faster path
        mask = None if attention_mask.all() else torch.from_numpy(attention_mask)
        states = encoder(input_ids=torch.from_numpy(input_ids), attention_mask=mask).last_hidden_state
        return head(states.float().numpy(), pooling_mask)

    return ByTokens(job, run, settings, weight_files(job.checkpoint))

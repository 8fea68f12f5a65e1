"""CTranslate2: it has no converter for a T5 encoder alone, so one is put together from its own parts here.

Its T5 loader fills an encoder; the encoder specification that BERT uses serves it. The head is computed in numpy.
"""

from __future__ import annotations

import ctranslate2
import numpy as np

from benchmarks.compare.adapters.common import ByTokens, Encoder, Float32, Head, Int64
from benchmarks.compare.rivals import Job


def load(job: Job) -> Encoder:
    encoder = ctranslate2.Encoder(
        str(job.folder), device="cpu", compute_type=job.option, intra_threads=job.threads, inter_threads=1
    )
    head = Head(job)

    def run(input_ids: Int64, attention_mask: Int64, pooling_mask: Int64) -> Float32:
        ids = ctranslate2.StorageView.from_array(input_ids.astype(np.int32))
        lengths = ctranslate2.StorageView.from_array(attention_mask.sum(axis=1, dtype=np.int32))
        return head(np.array(encoder.forward_batch(ids, lengths=lengths).last_hidden_state), pooling_mask)

    settings = {"threads": job.threads, "compute_type": encoder.compute_type, "head": "numpy"}
    return ByTokens(job, run, settings, [job.folder / "model.bin"])


def prepare(job: Job) -> None:
    from ctranslate2.converters.transformers import _SUPPORTED_ACTIVATIONS, T5Loader
    from ctranslate2.specs.transformer_spec import TransformerEncoderModelSpec, TransformerEncoderSpec
    from transformers import T5EncoderModel

    model = T5EncoderModel.from_pretrained(job.checkpoint).eval()
    config = model.config
    spec = TransformerEncoderModelSpec(
        TransformerEncoderSpec(
            config.num_layers,
            config.num_heads,
            pre_norm=True,
            activation=_SUPPORTED_ACTIVATIONS[config.dense_act_fn],
            ffn_glu=config.is_gated_act,
            relative_attention_bias=True,
            rms_norm=True,
        )
    )
    T5Loader().set_stack(spec.encoder, model.encoder)
    spec.register_vocabulary([f"<{index}>" for index in range(config.vocab_size)])  # ids go in: names are not used
    spec.config.unk_token = "<2>"
    spec.validate()
    spec.optimize(quantization=job.option if job.option != "float32" else None)
    spec.save(str(job.folder))

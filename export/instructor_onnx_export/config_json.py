"""config.json beside each model.onnx: optimum (`ORTModelForCustomTasks`) and transformers open no folder without one.

Nothing of ours reads it, and no vector depends on it: like the model card, it is not among the manifest's files. In the
root of a bundle it would say that the folder is a checkpoint.
"""

from __future__ import annotations

import json

from instructor_onnx_export.checkpoint.config import Config


def config_json(config: Config) -> str:
    """The encoder's numbers, under the names that transformers' `T5Config` has for them."""
    described = {
        "model_type": "t5",
        "architectures": ["T5EncoderModel"],
        "is_encoder_decoder": False,
        "use_cache": False,
        "d_model": config.d_model,
        "d_ff": config.d_ff,
        "d_kv": config.d_kv,
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "vocab_size": config.vocab_size,
        "feed_forward_proj": config.feed_forward,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "relative_attention_num_buckets": config.relative_attention_num_buckets,
        "relative_attention_max_distance": config.relative_attention_max_distance,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": config.eos_token_id,
    }
    return json.dumps(described, indent=2) + "\n"

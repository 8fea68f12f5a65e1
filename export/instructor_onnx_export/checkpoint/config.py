"""The configuration files of a checkpoint -> Config. Knows nothing about weights.

Every number is checked before anything is built from it: a hostile one must not cost memory or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, join, shown
from instructor_onnx_export.checkpoint.layout import Layout

# What the architectures of config.json may be, and whether a save of them carries a decoder.
HAS_DECODER = {
    "T5EncoderModel": False,
    "T5Model": True,
    "T5ForConditionalGeneration": True,
    "T5WithLMHeadModel": True,
}
# feed_forward_proj of config.json -> the activation that transformers derives from it.
ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new"}
# The largest value of each number that is believed; the largest T5 (11B) is far below every one.
LIMITS = {
    "d_model": 1 << 16,
    "d_ff": 1 << 18,
    "d_kv": 1 << 12,
    "num_heads": 1 << 12,
    "num_layers": 1 << 9,
    "vocab_size": 1 << 22,
    "relative_attention_num_buckets": 1 << 12,
    "relative_attention_max_distance": 1 << 20,
    "max_seq_length": 1 << 20,
    "in_features": 1 << 16,
    "out_features": 1 << 16,
}
SMALLEST_EPSILON = 1e-30  # float32 has it, so a row of zeros is not divided by zero; T5's is 1e-6


@dataclass(frozen=True)
class Config:
    """What the model computes; the names are those of T5's config.json where it has them."""

    d_model: int
    d_ff: int
    d_kv: int  # width of one head; num_heads * d_kv need not be d_model
    num_heads: int
    num_layers: int
    vocab_size: int  # rows of the embedding table; a tokenizer may have fewer tokens
    feed_forward: str  # "relu" or "gated-gelu" (GELU's tanh form, "gelu_new")
    layer_norm_epsilon: float
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    pad_token_id: int
    eos_token_id: int
    max_seq_length: int  # tokens kept of instruction + text, </s> included
    embedding_dim: int  # width of a sentence embedding: what Dense gives, or d_model
    has_dense: bool
    normalize: bool  # the vector gets unit length at the end
    has_decoder: bool  # config.json speaks of a decoder, whose weights may be there and are ignored


def read_config(folder: CheckpointFolder, layout: Layout) -> Config:
    """Read `config.json`, `sentence_bert_config.json` and the configuration of Dense.

    Raises:
        CheckpointError: another architecture, another kind of Dense; a number missing or beyond belief.
    """
    name = join(layout.transformer, "config.json")
    data, where = folder.object(name), str(folder.root / name)
    if data.get("model_type") != "t5":
        raise CheckpointError(f"{where}: model_type is {shown(data.get('model_type'))}; only 't5' can be exported.")
    architectures = data.get("architectures") or ["T5EncoderModel"]
    if not isinstance(architectures, list) or not all(isinstance(a, str) and a in HAS_DECODER for a in architectures):
        raise CheckpointError(
            f"{where}: architectures is {shown(architectures)}; expected one of {', '.join(HAS_DECODER)}."
        )
    d_model = _whole(data, "d_model", where)
    # Configurations older than the two relative_attention fields mean T5's own 32 and 128.
    max_distance = _whole(data, "relative_attention_max_distance", where, default=128)
    vocab_size = _whole(data, "vocab_size", where)
    return Config(
        d_model=d_model,
        d_ff=_whole(data, "d_ff", where),
        d_kv=_whole(data, "d_kv", where),
        num_heads=_whole(data, "num_heads", where),
        num_layers=_whole(data, "num_layers", where),
        vocab_size=vocab_size,
        feed_forward=_feed_forward(data, where),
        layer_norm_epsilon=_epsilon(data, where),
        relative_attention_num_buckets=_buckets(data, where, max_distance),
        relative_attention_max_distance=max_distance,
        pad_token_id=_token_id(data, "pad_token_id", where, vocab_size, default=0),
        eos_token_id=_token_id(data, "eos_token_id", where, vocab_size, default=1),
        max_seq_length=_max_seq_length(folder, layout.transformer),
        embedding_dim=d_model if layout.dense is None else _read_dense(folder, layout.dense, d_model),
        has_dense=layout.dense is not None,
        normalize=layout.normalize,
        has_decoder=data.get("is_encoder_decoder") is True or any(HAS_DECODER[a] for a in architectures),
    )


def _read_dense(folder: CheckpointFolder, path: str, d_model: int) -> int:
    """Output width of the Dense module."""
    name = join(path, "config.json")
    data, where = folder.object(name), str(folder.root / name)
    if data.get("bias") is not False:
        raise CheckpointError(
            f"{where}: bias is {shown(data.get('bias'))}; only a Dense without a bias can be exported."
        )
    activation = data.get("activation_function")
    if not isinstance(activation, str) or activation.rpartition(".")[2] != "Identity":
        raise CheckpointError(f"{where}: activation_function is {shown(activation)}; only Identity can be exported.")
    for key in ("module_input_name", "module_output_name"):
        if data.get(key) not in (None, "sentence_embedding"):
            raise CheckpointError(f"{where}: {key} is {shown(data[key])}; only 'sentence_embedding' can be exported.")
    if _whole(data, "in_features", where) != d_model:
        raise CheckpointError(f"{where}: in_features is {data['in_features']}, d_model of the encoder is {d_model}.")
    return _whole(data, "out_features", where)


def _max_seq_length(folder: CheckpointFolder, path: str) -> int:
    name = join(path, "sentence_bert_config.json")
    if folder.find(name) is None:
        return 512  # T5's model_max_length, which sentence-transformers falls back to
    data, where = folder.object(name), str(folder.root / name)
    if data.get("do_lower_case"):
        raise CheckpointError(f"{where}: do_lower_case is on; only a model that keeps the case can be exported.")
    if data.get("max_seq_length") is None:
        return 512
    return _whole(data, "max_seq_length", where)


def _feed_forward(data: Mapping[str, Any], where: str) -> str:
    kind = data.get("feed_forward_proj", "relu")  # older than the field: T5 v1.0, ReLU
    if not isinstance(kind, str) or kind not in ACTIVATIONS:
        raise CheckpointError(f"{where}: feed_forward_proj is {shown(kind)}; known are {', '.join(ACTIVATIONS)}.")
    # transformers writes what it derived; where that was changed by hand, it is unclear what was trained.
    derived = {"dense_act_fn": ACTIVATIONS[kind], "is_gated_act": kind.startswith("gated-")}
    for key, expected in derived.items():
        if data.get(key, expected) != expected:
            raise CheckpointError(f"{where}: {key} is {shown(data[key])}, but feed_forward_proj is {kind!r}.")
    return kind


def _whole(data: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LIMITS[key]:
        raise CheckpointError(f"{where}: {key} is {shown(value)}; expected a whole number from 1 to {LIMITS[key]:,}.")
    return value


def _buckets(data: Mapping[str, Any], where: str, max_distance: int) -> int:
    count = _whole(data, "relative_attention_num_buckets", where, default=32)
    # Half of them for each direction, half of those for exact distances; the rest divides by log(max / exact).
    if count < 4 or count % 2 or max_distance <= count // 4:
        raise CheckpointError(
            f"{where}: relative_attention_num_buckets is {count}; expected an even number from 4 up, "
            "below 4 x relative_attention_max_distance."
        )
    return count


def _token_id(data: Mapping[str, Any], key: str, where: str, vocab_size: int, default: int) -> int:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab_size:
        raise CheckpointError(f"{where}: {key} is {shown(value)}; expected a token id below vocab_size {vocab_size:,}.")
    return value


def _epsilon(data: Mapping[str, Any], where: str) -> float:
    value = data.get("layer_norm_epsilon", 1e-6)
    if isinstance(value, bool) or not isinstance(value, float) or not SMALLEST_EPSILON <= value < 1:
        raise CheckpointError(
            f"{where}: layer_norm_epsilon is {shown(value)}; expected a number from {SMALLEST_EPSILON} to 1."
        )
    return value

"""What the tensors are called: those of a checkpoint, and what the graph makes of some. One flat table."""

from __future__ import annotations

from typing import NamedTuple

from instructor_onnx_export.checkpoint.config import Config

EMBEDDING = "shared.weight"
EMBEDDING_COPY = "encoder.embed_tokens.weight"  # the same table; a file may hold either, or both
POSITION_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"  # by bucket
BIAS_BY_DISTANCE = "encoder.relative_attention_bias"  # what the graph makes of it
EPSILON = "encoder.layer_norm_epsilon"  # the number of config.json that every norm of the graph adds
FINAL_NORM = "encoder.final_layer_norm.weight"
DENSE = "dense.linear.weight"  # in its own file "linear.weight"


class BlockNames(NamedTuple):
    """The tensors of one block of the encoder."""

    attention_norm: str
    q: str
    k: str
    v: str
    qkv: str  # q, k and v, which the graph multiplies by at once
    o: str
    feed_forward_norm: str
    gate: str | None  # wi_0, whose gelu multiplies the other; None: there is no gate but a ReLU
    wi: str  # or wi_1
    wo: str


def block_names(config: Config) -> list[BlockNames]:
    """The names of every block."""
    return [_block(f"encoder.block.{index}", config.feed_forward == "gated-gelu") for index in range(config.num_layers)]


def _block(block: str, gated: bool) -> BlockNames:
    attention, dense = f"{block}.layer.0.SelfAttention", f"{block}.layer.1.DenseReluDense"
    return BlockNames(
        attention_norm=f"{block}.layer.0.layer_norm.weight",
        q=f"{attention}.q.weight",
        k=f"{attention}.k.weight",
        v=f"{attention}.v.weight",
        qkv=f"{attention}.qkv.weight",
        o=f"{attention}.o.weight",
        feed_forward_norm=f"{block}.layer.1.layer_norm.weight",
        gate=f"{dense}.wi_0.weight" if gated else None,
        wi=f"{dense}.wi_1.weight" if gated else f"{dense}.wi.weight",
        wo=f"{dense}.wo.weight",
    )

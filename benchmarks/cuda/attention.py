"""More ways to write attention for CUDA, to be measured against the exporter's defaults (its attention.py).

They share what they add to the scores between all layers, as the defaults do. With lengths, the bias is one for all
texts, [1, heads, sequence, sequence], instead of one a text, and keys past a text's end are skipped instead of masked:
at 16,384 tokens of 512 and 12 heads 6.3 MB instead of 201. They are no default: nothing but a GPU runs the first of
them (traced, it takes the same kernel as the default), and where the length is no multiple of 8 its unfused fallback
reads the starts of the queries as starts of the keys, so that padding is attended to (UnfusedAttention in
attention_impl.cu, MaskedSoftmaxKernelSmall in a trace of 1.31.1). ONNX's own operator with lengths is fused there too
and wants no cuDNN, but an onnxruntime-gpu of 2026 (microsoft/onnxruntime#27542).

Left out: PackedMultiHeadAttention (it has no CPU kernel to be checked against, and texts sorted by length leave about
1 % of padding to be saved), and GatedRelativePositionBias (its gate depends on the query; T5 has none).
"""

from __future__ import annotations

import numpy as np
from instructor_onnx_export.graph.attention import (
    Attention,
    MultiHeadAttention,
    masked_bias,
    split,
)
from instructor_onnx_export.graph.model_file import MICROSOFT, OPSET, ModelWriter
from onnx import TensorProto


class StockHalfAttention:
    """MatMul, Add, Softmax, MatMul with fp32 scores: what a graph without fused operators does."""

    opset = OPSET

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        return (masked_bias(model, model.node("Cast", position_bias, to=TensorProto.FLOAT), TensorProto.FLOAT),)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        qkv = model.node("Reshape", qkv, model.constant([0, 0, 3, num_heads, d_kv], np.int64))
        qkv = model.node("Transpose", qkv, perm=[2, 0, 3, 1, 4])  # [3, batch, heads, sequence, d_kv]
        query, key, value = (model.node("Gather", qkv, model.constant(part, np.int64), axis=0) for part in range(3))
        # Products are rounded to half before they are cast: that is the price of leaving the fused kernel.
        scores = model.node("MatMul", query, model.node("Transpose", key, perm=[0, 1, 3, 2]))
        scores = model.node("Add", model.node("Cast", scores, to=TensorProto.FLOAT), *shared)
        weights = model.node("CastLike", model.node("Softmax", scores, axis=-1), value)
        context = model.node("Transpose", model.node("MatMul", weights, value), perm=[0, 2, 1, 3])
        return str(model.node("Reshape", context, model.constant([0, 0, num_heads * d_kv], np.int64)))


class MultiHeadAttentionByLength:
    """MultiHeadAttention with the lengths of texts in place of a mask; right for sequences of a multiple of 8 alone."""

    opset = OPSET

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        # int32 [3 * batch + 2]: the lengths, then the first row of each text among all queries, and among all keys.
        shape = model.node("Shape", "input_ids")
        batch, sequence = (model.node("Gather", shape, model.constant(axis, np.int64), axis=0) for axis in (0, 1))
        one = model.constant(1, np.int64)
        texts = model.node("Range", model.constant(0, np.int64), model.node("Add", batch, one), one)
        starts = model.node("Mul", texts, sequence)  # [batch + 1]
        places = model.node("Concat", text_lengths(model), starts, starts, axis=0)
        return shared_bias(model, position_bias), model.node("Cast", places, to=TensorProto.INT32)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        bias, places = shared
        inputs = [*split(model, qkv), "", places, bias]
        return str(model.node("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=num_heads, scale=1.0))


class StandardAttention:
    """ONNX's own operator, since opset 23; on CUDA in fp16, bf16 and fp32."""

    opset = 23

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        return (masked_bias(model, position_bias, element_type),)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        inputs = [*split(model, qkv), *shared]
        return str(model.node("Attention", *inputs, q_num_heads=num_heads, kv_num_heads=num_heads, scale=1.0))


class StandardAttentionByLength:
    """ONNX's Attention with the lengths of texts in place of a mask, since opset 24."""

    opset = 24

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        return shared_bias(model, position_bias), text_lengths(model)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        bias, lengths = shared
        inputs = [*split(model, qkv), bias, "", "", lengths]
        return str(model.node("Attention", *inputs, q_num_heads=num_heads, kv_num_heads=num_heads, scale=1.0))


def shared_bias(model: ModelWriter, position_bias: str) -> str:
    """[1, heads, sequence, sequence]"""
    return str(model.node("Unsqueeze", position_bias, model.constant([0], np.int64)))


def text_lengths(model: ModelWriter) -> str:
    """int64 [batch]"""
    return str(model.node("ReduceSum", "attention_mask", model.constant([1], np.int64), keepdims=0))


WAYS: dict[str, type[Attention]] = {
    "mha": MultiHeadAttention,
    "attention": StandardAttention,
    "mha-lengths": MultiHeadAttentionByLength,
    "attention-lengths": StandardAttentionByLength,
    "stock": StockHalfAttention,
}
DEFAULT = "mha"

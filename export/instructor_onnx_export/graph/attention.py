"""How attention is written: softmax(q k^T + bias) v for every head, in stock nodes or as one fused operator.

T5 has no 1/sqrt(d) and adds a learned position bias, so what fits is an operator with an additive bias and a scale
that can be set. Of onnxruntime's CUDA kernels (as read in its sources), flash and TensorRT refuse a bias; the
memory-efficient one (CUTLASS) takes it if the sequence is a multiple of 8, keeps scores and softmax in fp32 and never
stores them. `MultiHeadAttention` reaches it in fp32, fp16 and, in 1.31, bf16; other lengths run unfused. Knows nothing
of weights. `benchmarks/cuda/attention.py` has another way, to be measured against this one.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from onnx import TensorProto

from instructor_onnx_export.graph.model_file import MICROSOFT, OPSET, ModelWriter

# Added to the score of a padding token: its weight after softmax is 0. In half precision what fits beside a position
# bias and stays finite in fp16; an infinity would turn a fused kernel's sums into NaN.
MASKED = {TensorProto.FLOAT: -1e9, TensorProto.FLOAT16: -30000, TensorProto.BFLOAT16: -30000}


class Attention(Protocol):
    """One way to write the attention of a model."""

    opset: int  # the first that has its operators

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        """What all layers use, made once a run from [heads, sequence, sequence] and `attention_mask`: bias first."""
        ...

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        """qkv [batch, sequence, 3 * heads * d_kv] -> [batch, sequence, heads * d_kv], all of one element type."""
        ...


def masked_bias(model: ModelWriter, position_bias: str, element_type: int) -> str:
    """Position bias plus padding mask: [batch, heads, sequence, sequence]."""
    mask = model.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    absent = model.node("Sub", model.constant(1, np.float32), mask)
    mask_bias = model.node("Mul", absent, model.constant(MASKED[element_type], np.float32))
    if element_type != TensorProto.FLOAT:
        mask_bias = model.node("Cast", mask_bias, to=element_type)
    mask_bias = model.node("Unsqueeze", mask_bias, model.constant([1, 2], np.int64))
    return str(model.node("Add", position_bias, mask_bias))


class StockAttention:
    """MatMul, Add, Softmax, MatMul: runs anywhere, in fp32."""

    opset = OPSET

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        return (masked_bias(model, position_bias, element_type),)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        qkv = model.node("Reshape", qkv, model.constant([0, 0, 3, num_heads, d_kv], np.int64))
        qkv = model.node("Transpose", qkv, perm=[2, 0, 3, 1, 4])  # [3, batch, heads, sequence, d_kv]
        query, key, value = (model.node("Gather", qkv, model.constant(part, np.int64), axis=0) for part in range(3))
        scores = model.node("MatMul", query, model.node("Transpose", key, perm=[0, 1, 3, 2]))
        weights = model.node("Softmax", model.node("Add", scores, *shared), axis=-1)
        context = model.node("MatMul", weights, value)  # [batch, heads, sequence, d_kv]
        context = model.node("Transpose", context, perm=[0, 2, 1, 3])
        return str(model.node("Reshape", context, model.constant([0, 0, num_heads * d_kv], np.int64)))


class MultiHeadAttention:
    """onnxruntime's own operator, one fused kernel where there is one."""

    opset = OPSET

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        return (masked_bias(model, position_bias, element_type),)

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        inputs = [*split(model, qkv), "", "", *shared]
        return str(model.node("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=num_heads, scale=1.0))


def split(model: ModelWriter, qkv: str) -> list[str]:
    """Query, key and value: each [batch, sequence, heads * d_kv]."""
    return list(model.node("Split", qkv, outputs=3, axis=-1, num_outputs=3))

"""Another way to write attention for CUDA, to be measured against the exporter's default (its attention.py).

ONNX's own operator, with the lengths of texts in place of a mask: the bias is one for all texts, [1, heads, sequence,
sequence], instead of one a text (at 16,384 tokens of 512 and 12 heads 6.3 MB instead of 201), and keys past a text's
end are skipped instead of masked. Traced, it is fused at any length, not at multiples of 8 alone, and wants no cuDNN;
but it starts two kernels more a layer, which zero rows that have no key, and wants an onnxruntime-gpu of 2026
(microsoft/onnxruntime#27542). So a text alone should lose by it and long ones gain: a GPU has to say how much.

Left out: MultiHeadAttention with lengths (its unfused fallback, where the length is no multiple of 8, attends to
padding: attention_impl.cu), PackedMultiHeadAttention (no CPU kernel to be checked against, and texts sorted by length
leave about 1 % of padding to be saved), and GatedRelativePositionBias (its gate depends on the query; T5 has none).
"""

from __future__ import annotations

import numpy as np
from instructor_onnx_export.graph.attention import Attention, MultiHeadAttention, split
from instructor_onnx_export.graph.model_file import ModelWriter


class StandardAttentionByLength:
    """ONNX's Attention with the lengths of texts in place of a mask, since opset 24."""

    opset = 24

    def shared(self, model: ModelWriter, position_bias: str, element_type: int) -> tuple[str, ...]:
        bias = model.node("Unsqueeze", position_bias, model.constant([0], np.int64))  # [1, heads, sequence, sequence]
        lengths = model.node("ReduceSum", "attention_mask", model.constant([1], np.int64), keepdims=0)  # [batch]
        return bias, lengths

    def context(self, model: ModelWriter, qkv: str, shared: tuple[str, ...], num_heads: int, d_kv: int) -> str:
        bias, lengths = shared
        inputs = [*split(model, qkv), bias, "", "", lengths]
        return str(model.node("Attention", *inputs, q_num_heads=num_heads, kv_num_heads=num_heads, scale=1.0))


WAYS: dict[str, type[Attention]] = {"mha": MultiHeadAttention, "attention-lengths": StandardAttentionByLength}
DEFAULT = "mha"

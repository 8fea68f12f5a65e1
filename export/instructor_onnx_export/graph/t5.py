"""The INSTRUCTOR model as an ONNX graph: T5 encoder, masked mean, Dense, Normalize.

Built from the weights, not traced: what is computed is what stands here. T5 v1.0/v1.1 encoder after Raffel et
al. 2020 (relative position bias shared by all blocks, RMS norm, no biases, no 1/sqrt(d) in attention), pooling
after Su et al. 2023. Knows nothing about files or number formats beyond the `Precision` it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.names import (
    BIAS_BY_DISTANCE,
    DENSE,
    EMBEDDING,
    FINAL_NORM,
    POSITION_BIAS,
    BlockNames,
    block_names,
)
from instructor_onnx_export.graph.model_file import Float32, ModelWriter
from instructor_onnx_export.graph.precision import Precision, Prepared

INPUTS = [(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask", "pooling_mask")]
DOC = (
    "INSTRUCTOR text embeddings. input_ids: instruction and text joined, ending in </s>, padded on the right; "
    "attention_mask: 1 for every real token; pooling_mask: 1 for every real token after the instruction."
)


def write_graph(
    folder: Path,
    config: Config,
    weights: Mapping[str, torch.Tensor],
    precision: Precision,
    on_layer: Callable[[], object] = lambda: None,
) -> None:
    """Write the model into `folder`, one weight in memory at a time.

    `on_layer` is called once for the embedding table and once for each layer, for a progress bar.

    Inputs: `input_ids`, `attention_mask`, `pooling_mask`, int64 [batch, sequence], of any batch and sequence.
    Outputs: `sentence_embedding` float32 [batch, embedding_dim], `token_embeddings` float32
    [batch, sequence, d_model] (rows of padding tokens have no meaning).
    """
    with ModelWriter(folder, precision.attention.opset) as model:
        builder = GraphBuilder(model, config, weights, precision, on_layer)
        hidden_states = model.rename(builder.encoder(), "token_embeddings")
        model.rename(builder.sentence_embedding(hidden_states), "sentence_embedding")
        outputs = [
            ("sentence_embedding", TensorProto.FLOAT, ["batch", config.embedding_dim]),
            ("token_embeddings", TensorProto.FLOAT, ["batch", "sequence", config.d_model]),
        ]
        model.save(INPUTS, outputs, DOC)


class GraphBuilder:
    """The parts of the model, each a method that appends its nodes and returns the name of its result."""

    def __init__(
        self,
        model: ModelWriter,
        config: Config,
        weights: Mapping[str, torch.Tensor],
        precision: Precision,
        on_layer: Callable[[], object],
    ) -> None:
        self.model = model
        self.config = config
        self.weights = weights
        self.precision = precision
        self.on_layer = on_layer

    def encoder(self) -> str:
        """Hidden states after the final norm: [batch, sequence, d_model]."""
        blocks = block_names(self.config)
        total = self.precision.embed(self.model, EMBEDDING, self._weight(EMBEDDING), "input_ids")
        self.on_layer()
        shared = self.attention_inputs()
        normed = self.precision.norm.alone(self.model, total, *self._gain(blocks[0].attention_norm))
        for names, after in zip(blocks, [*(names.attention_norm for names in blocks[1:]), FINAL_NORM], strict=True):
            update = self.self_attention(names, normed, shared)
            total, normed = self._add(total, update, names.feed_forward_norm)
            update = self.feed_forward(names, normed)
            total, normed = self._add(total, update, after)
            self.on_layer()
        return self._float32(normed)

    def attention_inputs(self) -> tuple[str, ...]:
        """What every block's attention uses, made once a run: the position bias, and what hides padding.

        The position bias depends on key - query alone and no longer changes past the maximum distance, so it is
        one table over the clipped distance, looked up with the run's own length.
        """
        furthest = self.config.relative_attention_max_distance
        element_type = self.precision.element_type
        # [heads, 2 * max + 1]
        table = self.model.weight(BIAS_BY_DISTANCE, self._bias_by_distance(), element_type)
        length = self.model.node("Shape", "input_ids", start=1, end=2)  # [1]
        zero, one = self.model.constant(0, np.int64), self.model.constant(1, np.int64)
        position = self.model.node("Range", zero, self.model.node("Squeeze", length), one)  # [sequence]
        query = self.model.node("Unsqueeze", position, self.model.constant([1], np.int64))
        distance = self.model.node("Sub", position, query)  # [sequence (query), sequence (key)]
        low, high = self.model.constant(-furthest, np.int64), self.model.constant(furthest, np.int64)
        clipped = self.model.node("Add", self.model.node("Clip", distance, low, high), high)
        position_bias = self.model.node("Gather", table, clipped, axis=1)  # [heads, sequence, sequence]
        return self.precision.attention.shared(self.model, position_bias, element_type)

    def self_attention(self, names: BlockNames, normed: str, shared: tuple[str, ...]) -> str:
        """attention(normed) W_o."""
        heads, d_kv = self.config.num_heads, self.config.d_kv
        # One product for all three: [d_model, 3 * heads * d_kv].
        qkv_weight = np.concatenate([self._transposed(name) for name in (names.q, names.k, names.v)], axis=1)
        qkv = self.precision.project(self.model, names.qkv, self._prepared(normed), qkv_weight)
        context = self.precision.attention.context(self.model, qkv, shared, heads, d_kv)
        prepared = self.precision.prepare(self.model, context, self.precision.element_type)
        return self._product(names.o, prepared)

    def feed_forward(self, names: BlockNames, normed: str) -> str:
        """relu(normed W_i) W_o, or with gelu(normed W_0) * (normed W_1) inside."""
        x = self._prepared(normed)
        if names.gate is None:
            # ReLU commutes with a positive scale, so the row scale of the first product waits for the second.
            inner, scale = self.precision.matmul_unscaled(self.model, names.wi, x, self._transposed(names.wi))
            prepared = self.precision.prepare_positive(self.model, self.model.node("Relu", inner), scale)
        else:
            gate = self.gelu(self._float32(self._product(names.gate, x)))
            linear = self._float32(self._product(names.wi, x))
            prepared = self.precision.prepare(self.model, self.model.node("Mul", gate, linear))
        return self._product(names.wo, prepared)

    def sentence_embedding(self, hidden_states: str) -> str:
        """Masked mean, Dense, Normalize: [batch, embedding_dim]."""
        mask = self.model.node("Cast", "pooling_mask", to=TensorProto.FLOAT)
        total = self.total(hidden_states, mask)
        count = self.model.node("ReduceSum", mask, self.model.constant([1], np.int64), keepdims=1)  # exact in fp32
        vector = self.model.node("Div", total, self.model.node("Max", count, self.model.constant(1e-9, np.float32)))
        if self.config.has_dense:
            dense = self.precision.dense(self.model, DENSE, self._transposed(DENSE))
            vector = self.model.node("MatMul", vector, dense)
        if not self.config.normalize:
            return str(vector)
        # Not ReduceL2, the one norm that onnxruntime leaves to cuDNN on a GPU: fp32 does without that library.
        square = self.model.node("Mul", vector, vector)
        norm = self.model.node(
            "Sqrt", self.model.node("ReduceSum", square, self.model.constant([-1], np.int64), keepdims=1)
        )
        return str(self.model.node("Div", vector, self.model.node("Max", norm, self.model.constant(1e-12, np.float32))))

    def total(self, hidden_states: str, mask: str) -> str:
        """The sum of the tokens that the mask [batch, sequence] has: [batch, d_model].

        Where a text must have one vector in any batch, it is the last row of a running sum, which adds token after
        token. A product with the mask, or ReduceSum, would group its additions by the padded length and the number
        of threads. Elsewhere it is that product: on a GPU one pass, where the running sum is quadratic.
        """
        if not self.precision.batch_invariant:
            row = self.model.node("Unsqueeze", mask, self.model.constant([1], np.int64))  # [batch, 1, sequence]
            total = self.model.node("MatMul", row, hidden_states)
            return str(self.model.node("Squeeze", total, self.model.constant([1], np.int64)))
        column = self.model.node("Unsqueeze", mask, self.model.constant([2], np.int64))  # [batch, sequence, 1]
        running = self.model.node(
            "CumSum", self.model.node("Mul", hidden_states, column), self.model.constant(1, np.int64)
        )
        return str(self.model.node("Gather", running, self.model.constant(-1, np.int64), axis=1))

    def gelu(self, x: str) -> str:
        """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): T5 v1.1's "gelu_new" (Hendrycks and Gimpel 2016)."""
        cube = self.model.node("Mul", x, self.model.node("Mul", x, x))
        inner = self.model.node("Add", x, self.model.node("Mul", cube, self.model.constant(0.044715, np.float32)))
        inner = self.model.node("Mul", inner, self.model.constant(math.sqrt(2 / math.pi), np.float32))
        one = self.model.node("Add", self.model.node("Tanh", inner), self.model.constant(1, np.float32))
        return str(self.model.node("Mul", x, self.model.node("Mul", one, self.model.constant(0.5, np.float32))))

    def _add(self, total: str, update: str, norm: str) -> tuple[str, str]:
        """total + update, and its norm."""
        return self.precision.norm.after_add(self.model, total, update, *self._gain(norm))

    def _gain(self, name: str) -> tuple[str, Float32, float]:
        return name, self._weight(name), self.config.layer_norm_epsilon

    def _prepared(self, normed: str) -> Prepared:
        return self.precision.prepare(self.model, normed, self.precision.norm.element_type)

    def _float32(self, x: str) -> str:
        """x, a product's or norm's."""
        half = self.precision.norm.element_type != TensorProto.FLOAT
        return str(self.model.node("Cast", x, to=TensorProto.FLOAT)) if half else x

    def _product(self, name: str, x: Prepared) -> str:
        return self.precision.matmul(self.model, name, x, self._transposed(name))

    def _weight(self, name: str) -> Float32:
        return self.weights[name].to(torch.float32).numpy()

    def _transposed(self, name: str) -> Float32:
        """A torch Linear's weight [out, in] as [in, out], so that no node has to turn it."""
        return np.ascontiguousarray(self._weight(name).T)

    def _bias_by_distance(self) -> Float32:
        """The position bias of each head at key - query = -max ... max: [heads, 2 * max + 1]."""
        furthest = self.config.relative_attention_max_distance
        distance = torch.arange(-furthest, furthest + 1)
        buckets = relative_position_bucket(distance, self.config.relative_attention_num_buckets, furthest)
        return np.ascontiguousarray(self._weight(POSITION_BIAS)[buckets.numpy()].T)


def relative_position_bucket(distance: torch.Tensor, num_buckets: int, max_distance: int) -> torch.Tensor:
    """Bucket of a distance key - query in a bidirectional encoder (Raffel et al. 2020, section 2.1).

    Half of the buckets are for keys to the right; of each half, half again hold one distance each and the rest
    grow with its logarithm up to `max_distance`, past which all share the last.
    """
    half = num_buckets // 2
    exact = half // 2
    away = distance.abs()
    # In fp32 and in this order, as the models were trained: the rounding decides where a bucket begins.
    ratio = torch.log(away.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    logarithmic = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(away < exact, away, logarithmic) + (distance > 0).long() * half

"""How a product with a weight matrix is written: what fp32.py, int8.py, int4.py and half.py each answer for t5.py.

How tokens are looked up, how an activation is prepared for products, and how a prepared activation is multiplied.
Knows nothing about layers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from onnx import TensorProto

from instructor_onnx_export.graph.attention import Attention
from instructor_onnx_export.graph.model_file import Float32, ModelWriter
from instructor_onnx_export.graph.norm import Norm


class Prepared(NamedTuple):
    """An activation [..., in] ready for products; float or half, or uint8 with a scale for int8."""

    values: str
    scale: str | None = None  # [..., 1], None where the values are the activation itself
    zero_point: int = 0


class Precision(Protocol):
    """One way to write the products of a model."""

    element_type: int  # ONNX type that attention is computed from
    norm: Norm
    attention: Attention
    batch_invariant: bool  # whether a row's numbers must be the same to the bit in any batch

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        """Rows of `table` [vocab, d_model] -> [batch, sequence, d_model] of `norm`'s type."""
        ...

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        """An activation of any sign, of type `element_type`: [..., in]."""
        ...

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        """The output of a ReLU, float [..., in], still to be multiplied by `scale` [..., 1] if given."""
        ...

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        """x @ weight as attention takes it; weight [in, 3 * inner] -> `element_type` [..., 3 * inner]."""
        ...

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        """x @ weight; weight [in, out] -> [..., out] of `norm`'s type."""
        ...

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        """Like `matmul`, but leaves the row scale [..., 1] to be multiplied in later (None: there is none)."""
        ...

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        """The weight of the Dense layer, [d_model, embedding_dim], as float32."""
        ...

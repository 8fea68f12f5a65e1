"""fp32: products as they are."""

from __future__ import annotations

from onnx import TensorProto

from instructor_onnx_export.graph.attention import Attention, StockAttention
from instructor_onnx_export.graph.model_file import Float32, ModelWriter
from instructor_onnx_export.graph.norm import Norm, StockNorm
from instructor_onnx_export.graph.precision import Prepared


class Fp32:
    """Products as they are."""

    element_type = int(TensorProto.FLOAT)
    norm: Norm = StockNorm()
    attention: Attention = StockAttention()
    batch_invariant = True

    def embed(self, model: ModelWriter, name: str, table: Float32, input_ids: str) -> str:
        return str(model.node("Gather", model.weight(name, table), input_ids))

    def prepare(self, model: ModelWriter, x: str, element_type: int = TensorProto.FLOAT) -> Prepared:
        return Prepared(x)

    def prepare_positive(self, model: ModelWriter, x: str, scale: str | None) -> Prepared:
        return Prepared(x)

    def project(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return self.matmul(model, name, x, weight)

    def matmul(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> str:
        return str(model.node("MatMul", x.values, model.weight(name, weight)))

    def matmul_unscaled(self, model: ModelWriter, name: str, x: Prepared, weight: Float32) -> tuple[str, str | None]:
        return self.matmul(model, name, x, weight), None

    def dense(self, model: ModelWriter, name: str, weight: Float32) -> str:
        return model.weight(name, weight)

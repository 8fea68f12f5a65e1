"""Every way to write attention in benchmarks/cuda/attention.py computes what the exporter's own does."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.half import Half, Shifts
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.verify import cosines, probe_rows
from onnx import TensorProto, helper

from benchmarks.cuda.attention import DEFAULT, WAYS
from tests.half_graphs import emulated

ROWS = probe_rows(512)[:44:2]
ELEMENT_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def written(checkpoint: Path, folder: Path, precision: str, way: str) -> Path:
    source = read_checkpoint(checkpoint)
    write_graph(folder, source.config, source.weights, Half(ELEMENT_TYPES[precision], WAYS[way](), Shifts()))
    return folder / "model.onnx"


def test_the_default_is_the_exporters(base_checkpoint: Path) -> None:
    source = read_checkpoint(base_checkpoint)
    for make in (Half.fp16, Half.bf16):
        assert isinstance(make(source.config, source.weights).attention, WAYS[DEFAULT])


@pytest.mark.parametrize("precision", list(ELEMENT_TYPES))
@pytest.mark.parametrize("way", list(WAYS))
def test_near_to_fp32(base_checkpoint: Path, bundle: Path, tmp_path: Path, precision: str, way: str) -> None:
    graph = written(base_checkpoint, tmp_path, precision, way)
    fp32 = INSTRUCTOR(bundle, variant="fp32", device="cpu")
    (found,) = emulated(graph).run(["sentence_embedding"], fp32.tokenize(ROWS))
    assert cosines(fp32.encode(ROWS), found).min() >= {"fp16": 0.99999, "bf16": 0.9998}[precision]


@pytest.mark.parametrize(("precision", "added"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.FLOAT)])
def test_types_agree(base_checkpoint: Path, tmp_path: Path, precision: str, added: int) -> None:
    """With standard operators alone, ONNX can infer every type and shape, and must agree with what is written."""
    model = onnx.load(written(base_checkpoint, tmp_path, precision, "attention-lengths"), load_external_data=False)
    nodes, totals = [], set()
    for node in model.graph.node:
        if node.op_type != "SkipSimplifiedLayerNormalization":
            nodes.append(node)
            continue
        x, update, gain = node.input
        normed, _, _, total = node.output
        totals |= {x, total}
        nodes += [helper.make_node("Add", [x, update], [total]), helper.make_node("Mul", [total, gain], [normed])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == ELEMENT_TYPES[precision]}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in halves]
    assert {types[node.output[0]] for node in products} == {ELEMENT_TYPES[precision]}
    norms = [node for node in model.graph.node if node.op_type in ("Pow", "ReduceMean", "Sqrt", "Div", "ReduceL2")]
    assert {types[node.output[0]] for node in norms} == {TensorProto.FLOAT}
    assert {types[name] for name in totals} == {added}

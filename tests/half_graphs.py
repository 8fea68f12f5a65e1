"""A half-precision graph as a GPU computes it, on the CPU.

onnxruntime's CPU provider has no bf16 products, and runs fp16 ones in fp32 with most roundings left out. Here the graph
is rewritten: everything is fp32, and every number that the graph holds in half is rounded to half where it arises.
That is the arithmetic of tensor cores, which add in fp32 and round the result. Inside an operator nothing is rounded,
as in the fused attention of CUDA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def emulated(path: Path) -> Any:
    """An onnxruntime session on the CPU that computes `path` as a GPU would."""
    model = onnx.load(path)
    element_type = next(tensor.data_type for tensor in model.graph.initializer if tensor.data_type in HALF)
    half = set()
    for tensor in model.graph.initializer:
        if tensor.data_type in HALF:
            half.add(tensor.name)
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        to = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
        if to not in HALF and (node.op_type == "Cast" or not half.intersection(node.input)):
            continue
        half.update(node.output)
        for index, name in enumerate(node.output):
            if not name:  # an output that nobody wants
                continue
            node.output[index] = f"{name}/exact"
            nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=element_type))
            nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
        if to in HALF:
            next(attribute for attribute in node.attribute if attribute.name == "to").i = TensorProto.FLOAT
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # An optimizer would take the pairs of casts for no-ops.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

"""Weights read without the onnx package are those that the onnx package reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from instructor_onnx import BundleError
from instructor_onnx.initializers import DTYPES, read_graph
from onnx import numpy_helper


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_every_weight_and_node(bundle: Path, variant: str) -> None:
    path = bundle / variant / "model.onnx"
    graph = read_graph(path)
    model = onnx.load(path)
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    expected = {name: array for name, array in expected.items() if array.dtype in DTYPES.values()}
    assert graph.weights.keys() == expected.keys()
    for name, array in graph.weights.items():
        assert array.dtype == expected[name].dtype
        assert np.array_equal(array, expected[name])
        assert not array.flags.writeable
    assert [(n.op_type, list(n.inputs)) for n in graph.nodes] == [(n.op_type, list(n.input)) for n in model.graph.node]


def test_a_cut_file(bundle: Path, tmp_path: Path) -> None:
    whole = (bundle / "int8/model.onnx").read_bytes()
    for length in range(0, len(whole), 997):
        (tmp_path / "model.onnx").write_bytes(whole[:length])
        if length:
            with pytest.raises(BundleError, match="cannot be read"):
                read_graph(tmp_path / "model.onnx")

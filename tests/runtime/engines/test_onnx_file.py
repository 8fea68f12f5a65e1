"""An ONNX file read without the onnx package: what is read is what the onnx package reads, and stays in the bundle."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from instructor_onnx import BundleError
from instructor_onnx.engines import onnx_file
from instructor_onnx.engines.onnx_file import DTYPES, check_external_data, read_initializers
from onnx import numpy_helper


@pytest.mark.parametrize("variant", ["fp32", "int8", "int4"])
def test_every_weight(bundle: Path, variant: str) -> None:
    path = bundle / variant / "model.onnx"
    found = read_initializers(path)
    model = onnx.load(path)
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    expected = {name: array for name, array in expected.items() if array.dtype in DTYPES.values()}
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        assert np.array_equal(array, expected[name])
        assert not array.flags.writeable


def test_a_cut_file(bundle: Path, tmp_path: Path) -> None:
    whole = (bundle / "int8/model.onnx").read_bytes()
    for length in range(0, len(whole), 997):
        (tmp_path / "model.onnx").write_bytes(whole[:length])
        if length:
            with pytest.raises(BundleError, match="cannot be read"):
                read_initializers(tmp_path / "model.onnx")


def written(folder: Path, tensor: onnx.TensorProto) -> Path:
    """A model of one weight."""
    path = folder / "model.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], [tensor])), path)
    return path


def outside(location: str, offset: str = "0") -> onnx.TensorProto:
    """A weight of one number that lies in another file."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset)):
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.parametrize("dims", [[1] * 9, [2**62] * 100_000], ids=["nine", "many"])
def test_a_weight_of_many_dimensions(tmp_path: Path, dims: list[int]) -> None:
    with pytest.raises(BundleError, match="more than 8 dimensions"):
        read_initializers(written(tmp_path, onnx.TensorProto(name="w", data_type=1, dims=dims)))


@pytest.mark.parametrize("dims", [[0, -1], [2**62, 2**62], [-1]])
def test_a_shape_that_no_array_has(tmp_path: Path, dims: list[int]) -> None:
    with pytest.raises(BundleError, match="its weights cannot be read"):
        read_initializers(written(tmp_path, onnx.TensorProto(name="w", data_type=1, dims=dims, raw_data=b"")))


@pytest.mark.parametrize("offset", ["x", "-4", "1" * 5000, "1e3", ""])
def test_an_offset_that_is_none(tmp_path: Path, offset: str) -> None:
    (tmp_path / "data").write_bytes(bytes(4))
    with pytest.raises(BundleError, match="its weights cannot be read"):
        read_initializers(written(tmp_path, outside("data", offset)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_pipe_of_weights_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data")
    with pytest.raises(BundleError, match="'data' is no regular file"):
        read_initializers(written(tmp_path, outside("data")))
    (tmp_path / "model.onnx").unlink()
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx: missing"):
        check_external_data(tmp_path / "model.onnx", set())


@pytest.mark.parametrize("kind", ["node", "initializer"])
def test_a_model_of_empty_parts_takes_no_memory(tmp_path: Path, kind: str) -> None:
    """Each takes two bytes of the file, and would take hundreds of the memory if it were kept."""
    model = onnx.ModelProto()
    for _ in range(50_000):
        getattr(model.graph, kind).add()
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    tracemalloc.start()
    try:
        assert read_initializers(tmp_path / "model.onnx") == {}
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_model_that_is_all_weights_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: no bytes on the disk
    for read in (read_initializers, lambda path: check_external_data(path, set())):
        with pytest.raises(BundleError, match=rf"a model beside its data has at most {onnx_file.MOST_MODEL:,}"):
            read(path)

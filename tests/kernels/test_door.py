"""The Python side of the C interface: which arrays it takes, and what it says of the others."""

from __future__ import annotations

import ctypes
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import Manifest
from instructor_onnx.engines import native
from instructor_onnx.engines.onnx_file import read_initializers

kernels = pytest.importorskip(
    "instructor_onnx.engines.kernels", exc_type=ImportError, reason="the native kernels were not compiled"
)

FOLDER = Path(native.__file__).parents[1] / "instructor-mini"
SIZES = Manifest.read(FOLDER).model
ARGUMENTS = ("ids", "offsets", "starts", "rows", "sentence_embeddings", "token_embeddings")


@pytest.fixture(scope="module")
def weights() -> tuple[Any, list[npt.NDArray[Any]]]:
    """instructor-mini's, and their Config."""
    path = FOLDER / "int8/model.onnx"
    config, tensors = native.arguments(read_initializers(path), SIZES, path)
    return kernels.Config(**config), tensors


@pytest.fixture(scope="module")
def model(weights: tuple[Any, list[npt.NDArray[Any]]]) -> Any:
    return kernels.Model(*weights, "scalar", 1)


def call(**changed: Any) -> dict[str, Any]:
    """Two texts of three tokens and one, and room for what becomes of them."""
    arrays: dict[str, Any] = {
        "ids": np.array([5, 6, 1, 1], dtype=np.int32),
        "offsets": np.array([0, 3, 4], dtype=np.int64),
        "starts": np.array([1, 0], dtype=np.int64),
        "rows": np.array([1, 0], dtype=np.int64),
        "sentence_embeddings": np.zeros((2, SIZES.embedding_dim), dtype=np.float32),
        "token_embeddings": np.zeros((4, SIZES.d_model), dtype=np.float32),
    }
    return arrays | changed


def encode(model: Any, **changed: Any) -> npt.NDArray[Any]:
    """Everything that the call has written."""
    arrays = call(**changed)
    model.encode(**arrays, threads=1)
    return np.concatenate([np.asarray(arrays[name]).ravel() for name in ARGUMENTS[4:]])


def spread(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers with a gap after each."""
    return np.stack([numbers, numbers], axis=-1)[..., 0]


def shifted(numbers: npt.NDArray[Any]) -> Any:
    """The same numbers, a byte past an address that they may have."""
    return cast(b"\0" + numbers.tobytes(), numbers.dtype, 1)


def cast(contents: bytes, dtype: np.dtype[Any], first: int = 0) -> Any:
    """`contents` from `first` on as writable numbers, without numpy."""
    view: Any = memoryview(bytearray(contents))
    return view[first:].cast(dtype.char)


class TestARun:
    def test_other_buffers_than_numpys(self, model: Any) -> None:
        others = {name: cast(call()[name].tobytes(), call()[name].dtype) for name in ARGUMENTS}
        others["rows"] = array("q", [1, 0])
        assert np.array_equal(encode(model, **others), encode(model))

    def test_inputs_may_be_read_only(self, model: Any) -> None:
        frozen = {name: call()[name] for name in ARGUMENTS[:4]}
        for numbers in frozen.values():
            numbers.flags.writeable = False
        assert np.array_equal(encode(model, **frozen), encode(model))

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_numbers_of_another_type(self, model: Any, name: str) -> None:
        numbers = call()[name]
        for other in (numbers.astype(np.float64), numbers.astype(numbers.dtype.newbyteorder()), numbers.astype("i2")):
            with pytest.raises(kernels.KernelError, match=rf"^{name}: found \S+, expected {numbers.dtype}\."):
                encode(model, **{name: other})

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_no_array_at_all(self, model: Any, name: str) -> None:
        for other in (call()[name].tolist(), np.zeros(3, "M8[s]"), call()[name].ctypes.data):
            with pytest.raises(kernels.KernelError, match=rf"^{name}: found \w+, expected {call()[name].dtype}\."):
                encode(model, **{name: other})

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_gaps_between_the_numbers(self, model: Any, name: str) -> None:
        with pytest.raises(kernels.KernelError, match=f"^{name}: found gaps between the numbers"):
            encode(model, **{name: spread(call()[name])})

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_an_address_that_numbers_may_not_have(self, model: Any, name: str) -> None:
        with pytest.raises(kernels.KernelError, match=f"^{name}: found an array that is not aligned"):
            encode(model, **{name: shifted(call()[name])})

    @pytest.mark.parametrize("name", ARGUMENTS[4:])
    def test_results_need_room(self, model: Any, name: str) -> None:
        numbers = call()[name]
        with pytest.raises(kernels.KernelError, match=rf"{name}|sentence_count"):
            encode(model, **{name: numbers[:1]})
        numbers.flags.writeable = False
        with pytest.raises(kernels.KernelError, match=f"^{name}: found a read-only array"):
            encode(model, **{name: numbers})

    @pytest.mark.parametrize("count", [0, 2, 4])
    def test_offsets_are_one_more_than_starts(self, model: Any, count: int) -> None:
        with pytest.raises(kernels.KernelError, match=f"^offsets: found {count} numbers, expected 3"):
            encode(model, offsets=np.zeros(count, dtype=np.int64))

    def test_more_tokens_than_attention_adds_up(self, model: Any) -> None:
        ids, offsets = np.zeros(262_146, dtype=np.int32), np.array([0, 1, 262_146], dtype=np.int64)
        with pytest.raises(kernels.KernelError, match="text 1 has 262145 tokens, at most 262144 fit"):
            encode(model, ids=ids, offsets=offsets)

    def test_others_may_use_pythons_api_their_way(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = encode(model)
        for function in (ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release):
            monkeypatch.setattr(function, "argtypes", [ctypes.c_int])
        assert np.array_equal(encode(model), expected)

    def test_nothing_in(self, model: Any) -> None:
        empty = np.zeros(0, dtype=np.int64)
        assert not encode(model, rows=empty, sentence_embeddings=np.zeros((0, SIZES.embedding_dim), "f")).any()


class TestWeights:
    def test_other_types_than_the_files_have(self, weights: tuple[Any, list[npt.NDArray[Any]]]) -> None:
        config, tensors = weights
        for other in (tensors[3].astype(np.float64), tensors[3].view(np.int32), None):
            with pytest.raises(kernels.KernelError, match=r"^tensor 3: found \w+, expected int8 or uint8 or float16"):
                kernels.Model(config, [*tensors[:3], other, *tensors[4:]], "scalar", 1)

    def test_gaps_between_the_numbers(self, weights: tuple[Any, list[npt.NDArray[Any]]]) -> None:
        config, tensors = weights
        with pytest.raises(kernels.KernelError, match=r"^tensor 3: found gaps between the numbers"):
            kernels.Model(config, [*tensors[:3], spread(tensors[3]), *tensors[4:]], "scalar", 1)

"""Whether onnxruntime's 8-bit products saturate is asked, and the option that costs speed is set where they do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.engines import saturation
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.ort import Session
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

OPTION = "session.x64quantprecision"


def exact(a: Array, b: Array) -> Array:
    return np.asarray(a.astype(np.int32) @ b.astype(np.int32))


def in_saturating_pairs(a: Array, b: Array) -> Array:
    """What `vpmaddubsw` computes: neighbours along k, added in 16 bits."""
    products = a.astype(np.int32)[:, :, None] * b.astype(np.int32)
    pairs = products[:, ::2] + products[:, 1::2]
    return np.asarray(np.clip(pairs, -(1 << 15), (1 << 15) - 1).sum(axis=1))


def a_row_alone_in_pairs(a: Array, b: Array) -> Array:
    return in_saturating_pairs(a, b) if len(a) == 1 else exact(a, b)


def many_rows_in_pairs(a: Array, b: Array) -> Array:
    return in_saturating_pairs(a, b) if len(a) > 1 else exact(a, b)


def stand_in(product: Any) -> Any:
    """An onnxruntime on a processor with this product: a class, as a module is hashable too."""

    class InferenceSession:
        def __init__(self, model: bytes, options: Any, **_: Any) -> None:
            graph = onnx.load_model_from_string(model).graph
            self._b = next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "b")

        def run(self, _: None, feeds: dict[str, Array]) -> list[Array]:
            return [product(feeds["a"], self._b).astype(np.float32)]

    return type("onnxruntime", (), {"SessionOptions": SimpleNamespace, "InferenceSession": InferenceSession})


def test_the_probe_is_a_model_of_the_product_that_int8_uses() -> None:
    """Field by field what the onnx package makes of it."""
    product = "MatMulIntegerToFloat"
    values = {
        "b": saturation.WEIGHTS,
        "a_scale": np.float32(1),
        "b_scale": np.ones(saturation.WIDTH, np.float32),
        "a_zero_point": np.uint8(0),
        "b_zero_point": np.int8(0),
    }
    graph = helper.make_graph(
        [helper.make_node(product, ["a", *values], ["y"], domain="com.microsoft")],
        "saturation",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", saturation.DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", saturation.WIDTH])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in values.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    expected = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    found = onnx.load_model_from_string(saturation.PROBE)
    assert found == expected
    onnx.checker.check_model(found)
    own = onnx.load(Path(saturation.__file__).parents[1] / "instructor-mini/int8/model.onnx", load_external_data=False)
    assert any((node.op_type, node.domain) == (product, "com.microsoft") for node in own.graph.node)
    np.testing.assert_array_equal(
        saturation.EXPECTED, exact(np.full((1, saturation.DEPTH), 255), saturation.WEIGHTS)[0]
    )


@pytest.mark.parametrize(
    ("product", "expected"),
    [(exact, False), (in_saturating_pairs, True), (a_row_alone_in_pairs, True), (many_rows_in_pairs, True)],
)
def test_what_a_processor_answers(product: Any, expected: bool) -> None:
    assert saturation.saturates(stand_in(product)) is expected


def test_this_processor_answers_and_is_exact_with_its_answer() -> None:
    options = onnxruntime.SessionOptions()
    if saturation.saturates(onnxruntime):
        options.add_session_config_entry(OPTION, "1")
    session = onnxruntime.InferenceSession(saturation.PROBE, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for rows in range(1, 40):
        a = random.integers(128, 256, (rows, saturation.DEPTH), dtype=np.uint8)
        np.testing.assert_array_equal(session.run(None, {"a": a})[0], exact(a, saturation.WEIGHTS))


def test_what_users_of_other_languages_are_told_to_ask() -> None:
    """README and model card: a product of two, whose answer has to be the probe's."""
    a = helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 2])
    b = helper.make_tensor_value_info("b", TensorProto.INT8, [2, 1])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [1, 1])
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "pair", [a, b], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"a": np.array([[255, 255]], np.uint8), "b": np.array([[127], [127]], np.int8)})
    assert found.item() == (32_767 if saturation.saturates(onnxruntime) else 64_770)


@pytest.mark.parametrize("saturates", [False, True])
def test_the_option_is_set_where_products_saturate_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, saturates: bool
) -> None:
    opened: list[str] = []

    def inference_session(path: str, options: Any, **_: Any) -> Any:
        try:
            opened.append(options.get_session_config_entry(OPTION))
        except RuntimeError:  # was never set
            opened.append("0")
        return SimpleNamespace()

    monkeypatch.setattr(saturation, "saturates", lambda module: saturates)
    monkeypatch.setattr(onnxruntime, "InferenceSession", inference_session)
    Session.open(Path("model.onnx"), Device("cpu"), 1)
    assert opened == ["1" if saturates else "0"]


def test_int8_is_the_same_under_the_exact_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is about speed alone: where nothing saturates, no bit depends on it."""
    texts = ["a", "the river rises in the hills " * 20, "no two texts are of one length"]
    vectors = []
    for option in (saturation.saturates(onnxruntime), True):
        monkeypatch.setattr(saturation, "saturates", lambda module, option=option: option)
        model = INSTRUCTOR("instructor-mini", device="cpu", engine="onnxruntime", num_threads=1)
        vectors.append(model.encode(texts))
    np.testing.assert_array_equal(*vectors)

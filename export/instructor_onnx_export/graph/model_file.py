"""Writes an ONNX model node by node, its weights streamed to one file beside it.

Knows ONNX's file format, nothing about T5. Weights never gather in memory, so a model of any size (protobuf
stops at 2 GB) is written with one tensor in hand; onnxruntime maps the file instead of reading it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
import torch
from instructor_onnx.bundle import InstructorOnnxError
from onnx import TensorProto, helper, numpy_helper

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
OPSET = 18  # the first whose reductions take axes as an input; onnxruntime reads it since 1.14
IR_VERSION = 9  # the newest that onnxruntime 1.20 reads is 10
MICROSOFT = "com.microsoft"
ALIGNMENT = 64  # bytes: a cache line, and what SIMD loads like best
# numpy has no bf16; torch has both, and the same bits.
TORCH_TYPES = {TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16}
INLINE = 1024  # bytes: smaller tensors stay in the model file, where shape inference can read them

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]


class RangeError(InstructorOnnxError):
    """A checkpoint whose numbers leave the range of a variant's; names the variant and the tensor."""


class ModelWriter:
    """A model under construction in `folder`, which bears the variant's name; use as a context manager, then `save`."""

    def __init__(self, folder: Path, opset: int = OPSET) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._opset = opset
        self._data: BinaryIO = (folder / WEIGHTS_FILE).open("wb")
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, str, tuple[int, ...], bytes], str] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> ModelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Append a node; returns the name of its output (a list of names if there are several)."""
        number = self._counts[op] = self._counts.get(op, 0) + 1
        name = f"{op}_{number}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def rename(self, name: str, output: str) -> str:
        """Give the value `name` the name of a graph output, wherever it stands (an Identity would copy it)."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [output if each == name else each for each in names]
        return output

    def weight(self, name: str, array: Array, element_type: int | None = None) -> str:
        """Store a weight under `name`, as `element_type` or as it is; it is written at once and not kept.

        Raises:
            RangeError: a number is not finite as it would be stored.
        """
        array = np.ascontiguousarray(array)
        stored = element_type or helper.np_dtype_to_tensor_dtype(array.dtype)
        values = torch.from_numpy(array)
        if stored in TORCH_TYPES:  # rounded to nearest even
            values = values.to(TORCH_TYPES[stored])
            array = values.view(torch.int16).numpy()
        self._check_finite(name, values)
        if array.nbytes < INLINE:
            tensor = TensorProto(name=name, dims=array.shape, data_type=stored, raw_data=array.tobytes())
            self._initializers.append(tensor)
            return name
        self._data.write(b"\0" * (-self._data.tell() % ALIGNMENT))
        offset = self._data.tell()
        self._data.write(array.data)
        tensor = TensorProto(name=name, dims=array.shape, data_type=stored, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", WEIGHTS_FILE), ("offset", str(offset)), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self._initializers.append(tensor)
        return name

    def _check_finite(self, name: str, values: torch.Tensor) -> None:
        if values.is_floating_point() and not all(math.isfinite(extreme) for extreme in torch.aminmax(values)):
            raise RangeError(
                f"{self._folder.name}: {name} would hold NaN or infinity, as numbers of the checkpoint leave the range "
                f"of {str(values.dtype).removeprefix('torch.')}. Export it without {self._folder.name}."
            )

    def constant(self, value: Any, dtype: npt.DTypeLike, name: str = "") -> str:
        """A small constant; equal ones of the same name, or of none, are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (name, array.dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = name or f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def save(
        self, inputs: Sequence[tuple[str, int, list[str]]], outputs: Sequence[tuple[str, int, list[Any]]], doc: str
    ) -> None:
        """Write the model file; inputs and outputs are (name, element type, shape)."""
        self._data.flush()
        graph = helper.make_graph(
            self._nodes,
            "instructor",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            self._initializers,
        )
        opsets = [helper.make_opsetid("", self._opset)]
        if any(node.domain == MICROSOFT for node in self._nodes):
            opsets.append(helper.make_opsetid(MICROSOFT, 1))
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=max(IR_VERSION, helper.find_min_ir_version_for(opsets, ignore_unknown=True)),
            producer_name="instructor-onnx",
            doc_string=doc,
        )
        path = self._folder / MODEL_FILE
        path.write_bytes(model.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(path))

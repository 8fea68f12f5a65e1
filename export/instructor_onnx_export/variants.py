"""The variants that an export makes, in one table: what is written, where it runs, and what it promises.

Knows nothing about layers, nor how a promise is checked (verify.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.graph.fp32 import Fp32
from instructor_onnx_export.graph.half import Half
from instructor_onnx_export.graph.int4 import Int4Blocks
from instructor_onnx_export.graph.int8 import Int8PerRow
from instructor_onnx_export.graph.precision import Precision

Tensors = Mapping[str, torch.Tensor]

# An exact variant may differ from torch by rounding only: the two add in another order, which costs about 1e-6.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Spec:
    """The facts of a variant."""

    name: str
    weight_type: str  # as the manifest names it
    devices: tuple[str, ...]  # where it runs well
    # Smallest cosine to torch of any probe row, unless the user names another; None: it is exact, every number.
    min_cosine: float | None
    # How its products are written: of the configuration, the weights, and the inputs seen while calibrating (none
    # where it is not calibrated), by the weight's name. Raises RangeError.
    precision: Callable[[Config, Tensors, Tensors], Precision]
    calibrated: bool = False  # fitted to the calibration texts
    migrated: bool = False  # its weights take over the outliers of the activations, as calibrating found them


# Below its cosine a variant of a sound checkpoint is broken rather than rounded. Smallest seen: int8 0.9992 without
# outliers, 0.9916 with strong ones; int4 0.9958 (trained small model), 0.985 (base shape, random weights); fp16
# 0.999999 and bf16 0.99994, with outliers too (emulated).
VARIANTS: Mapping[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec("fp32", "float32", ("cpu", "cuda"), None, lambda *_: Fp32()),
        Spec("int8", "int8", ("cpu",), 0.99, lambda *_: Int8PerRow(), calibrated=True, migrated=True),
        Spec("int4", "int4", ("cpu",), 0.97, lambda config, weights, inputs: Int4Blocks(inputs), calibrated=True),
        Spec("fp16", "float16", ("cuda",), 0.9995, lambda config, weights, _: Half.fp16(config, weights)),
        Spec("bf16", "bfloat16", ("cuda",), 0.9995, lambda config, weights, _: Half.bf16(config, weights)),
    )
}

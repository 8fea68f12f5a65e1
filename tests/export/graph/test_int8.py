"""The numbers of int8: weights by output channel, the embedding table by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from instructor_onnx_export.graph.int8 import quantize

# Numbers whose scale is not subnormal: weights below 1e-30 are zeros to every model.
NUMBERS = st.floats(-1e4, 1e4, width=32).map(lambda x: x if abs(x) > 1e-30 else 0.0)
MATRICES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=NUMBERS)


@given(MATRICES, st.sampled_from([0, 1]))
def test_half_a_step_off_at_most(weight: np.ndarray, axis: int) -> None:
    values, scales = quantize(weight, axis)
    assert values.dtype == np.int8
    assert scales.shape == ((1, weight.shape[1]) if axis == 0 else (weight.shape[0], 1))
    assert np.abs(values.astype(int)).max() <= 127
    # In float64: half a step, and the rounding of weight / scale in float32 near a tie.
    off = np.abs(values * scales.astype(np.float64) - weight)
    assert np.all(off <= scales * 0.5 * (1 + 1e-4))


def test_the_largest_of_each_channel_is_exact_at_127() -> None:
    values, scales = quantize(np.array([[1, -8], [-0.5, 4]], dtype=np.float32), axis=0)
    assert values.tolist() == [[127, -127], [-64, 64]]
    assert scales[0].tolist() == pytest.approx([1 / 127, 8 / 127])


def test_a_channel_of_zeros_stays_zero() -> None:
    values, scales = quantize(np.array([[0, 1], [0, 2]], dtype=np.float32), axis=0)
    assert values[:, 0].tolist() == [0, 0]
    assert scales[0, 0] == 1

"""What becomes of sentence embeddings: cut, brought to unit length, quantised, compared. Knows no model.

Names and semantics are sentence-transformers' (6.x), but for what a cut does: the rest has unit length again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
SimilarityName = Literal["cosine", "dot", "euclidean", "manhattan"]
Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

PRECISIONS: tuple[str, ...] = get_args(Precision)
LEVELS = 127  # of an int8 code, to either side of 0
EPSILON = 1e-12  # torch.nn.functional.normalize's
FEW = 100  # vectors that ranges should not be taken from
AT_ONCE = 1 << 22  # differences of two vectors' numbers held at a time

logger = logging.getLogger(__name__)


def quantize_embeddings(
    embeddings: Any,
    precision: Precision,
    ranges: Any = None,
    calibration_embeddings: Any = None,
) -> Array:
    """Fewer bits for each number of a vector: sentence-transformers' function, with its results.

    Args:
        embeddings: floats [n, dim], or one vector [dim].
        precision: "int8" and "uint8": one of 256 steps of a dimension's range, from -128 or 0 up; "binary" and
            "ubinary": whether a number is above 0, eight to a byte, as int8 (less 128) or uint8; "float32": as it is.
        ranges: [2, dim], the least and the largest number of each dimension. A model has its own,
            `INSTRUCTOR.int8_ranges`, the same in every run.
        calibration_embeddings: floats [m, dim] to take the ranges from, instead; with neither, `embeddings` are.

    Returns:
        [n, dim] of int8 or uint8, [n, ceil(dim / 8)] of bits, or float32.

    Raises:
        ValueError: another precision, quantised vectors, ranges of another shape, or none and a single vector.

    >>> quantize_embeddings(np.array([[0.5, -0.25, 0.0]]), "int8", ranges=[[-1.0] * 3, [1.0] * 3]).tolist()
    [[63, -33, -1]]
    >>> quantize_embeddings(np.array([[0.5, -0.25, 0.1]]), "ubinary").tolist()  # bits 101, then zeros
    [[160]]
    """
    check_precision(precision)
    vectors = np.asarray(embeddings)
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(f"embeddings: found {vectors.dtype}, expected floats; they are quantised already.")
    if precision == "float32":
        return vectors.astype(np.float32)
    if precision == "binary":
        return np.asarray((np.packbits(vectors > 0, axis=-1) ^ np.uint8(0x80)).view(np.int8))
    if precision == "ubinary":
        return np.packbits(vectors > 0, axis=-1)
    starts, steps = _steps(vectors, ranges, calibration_embeddings)
    codes = np.clip(np.floor((vectors - starts) / steps), 0, 255)
    return np.asarray(codes.astype(np.uint8) if precision == "uint8" else (codes - 128).astype(np.int8))


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> Float32:
    """The first `truncate_dim` numbers of each vector, at unit length again; None: all of them, as they are.

    >>> truncate_embeddings([[0.6, 0.8, 0.0], [0.0, 0.5, 0.5]], 2)
    array([[0.6, 0.8],
           [0. , 1. ]], dtype=float32)
    """
    vectors = np.asarray(embeddings, dtype=np.float32)
    return vectors if truncate_dim is None else normalize(vectors[..., :truncate_dim])


def symmetric_ranges(scale: float, dim: int) -> Float32:
    """Ranges whose int8 codes are round(number / scale): 0 is 0, and each dimension has the same step.

    So products of codes are products of vectors, but for a factor, and any index of int8 vectors finds what it would
    find among floats. With a range for each dimension (the least and largest number seen) it would not.

    >>> quantize_embeddings([[0.5, -0.25, 0.0]], "int8", ranges=symmetric_ranges(0.005, 3)).tolist()
    [[100, -50, 0]]
    """
    return np.outer([-128.5 * scale, 126.5 * scale], np.ones(dim)).astype(np.float32)


def normalize(vectors: Float32) -> Float32:
    """Unit length; a zero vector stays one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, EPSILON), dtype=np.float32)


def similarities(name: SimilarityName, a: Float32, b: Float32) -> Float32:
    """Of every vector of `a` with every one of `b`, float32 [len(a), len(b)]; distances are negative."""
    if name == "cosine":
        return np.asarray(normalize(a) @ normalize(b).T, dtype=np.float32)
    if name == "dot":
        return np.asarray(a @ b.T, dtype=np.float32)
    found = np.empty((len(a), len(b)), dtype=np.float32)
    rows = max(1, AT_ONCE // max(1, b.size))
    for first in range(0, len(a), rows):
        found[first : first + rows] = _negative_distance(name, a[first : first + rows, None], b[None])
    return found


def pairwise_similarities(name: SimilarityName, a: Float32, b: Float32) -> Float32:
    """Of each vector of `a` with that of `b` in the same place, float32 [n]."""
    if name in ("euclidean", "manhattan"):
        return _negative_distance(name, a, b)
    left, right = (normalize(a), normalize(b)) if name == "cosine" else (a, b)
    return np.asarray((left * right).sum(axis=-1), dtype=np.float32)


def as_floats(vectors: Any, dim: int) -> Float32:
    """Vectors [n, d] of any precision as floats to compare, one vector [d] as [1, d].

    Bytes of an eighth of `dim` are bits, and become 1 and -1; other bytes are codes of `symmetric_ranges`, in steps.
    """
    array = np.atleast_2d(np.asarray(vectors))
    if array.dtype not in (np.int8, np.uint8):
        return array.astype(np.float32, copy=False)
    if array.shape[-1] == -(-dim // 8):
        packed = array.view(np.uint8) ^ np.uint8(0x80 if array.dtype == np.int8 else 0)
        return np.asarray(np.unpackbits(packed, axis=-1, count=dim) * np.float32(2) - 1, dtype=np.float32)
    return np.asarray(array.astype(np.float32) - (128 if array.dtype == np.uint8 else 0), dtype=np.float32)


@dataclass(frozen=True)
class Form:
    """The form in which vectors of a model are kept: how many numbers, of which precision.

    The int8, uint8 and binary codes of a cut vector are those of the whole vector, cut: an index may be cut later.
    """

    dim: int  # numbers kept of each
    precision: Precision
    unit: bool  # float32: brought to unit length
    ranges: Float32 | None  # [2, dim], for int8 and uint8

    @property
    def columns(self) -> int:
        """Of an array of such vectors."""
        return -(-self.dim // 8) if self.precision.endswith("binary") else self.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype({"binary": "int8", "ubinary": "uint8"}.get(self.precision, self.precision))

    def __call__(self, vectors: Float32) -> Array:
        """float32 [n, d] or [d], d not below `dim`, in this form."""
        kept = vectors[..., : self.dim]
        if self.precision == "float32":
            return normalize(kept) if self.unit else kept
        return quantize_embeddings(kept, self.precision, self.ranges)


def check_precision(precision: str) -> None:
    """Raise ValueError for one that there is not."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision: found {precision!r}, expected one of {', '.join(map(repr, PRECISIONS))}.")


def _steps(vectors: Array, ranges: Any, calibration: Any) -> tuple[Float32, Float32]:
    """The start and the step of each dimension, float32 [dim]."""
    if ranges is None:
        seen = np.atleast_2d(np.asarray(vectors if calibration is None else calibration))
        if len(seen) < 2:
            raise ValueError(
                "ranges: a single vector tells none. Give ranges, as INSTRUCTOR.int8_ranges, or calibration_embeddings."
            )
        if len(seen) < FEW:
            logger.warning(
                "int8 ranges are taken of %d vectors; those of other texts may lie outside. Give ranges, as "
                "INSTRUCTOR.int8_ranges, or %d calibration_embeddings.",
                len(seen),
                FEW,
            )
        ranges = np.stack([seen.min(axis=0), seen.max(axis=0)])
    ranges = np.asarray(ranges, dtype=np.float32)
    if ranges.shape != (2, vectors.shape[-1]):
        raise ValueError(f"ranges: found {list(ranges.shape)}, expected [2, {vectors.shape[-1]}]: least, largest.")
    steps = (ranges[1] - ranges[0]) / 255
    return ranges[0], np.where(steps == 0, np.float32(1), steps)


def _negative_distance(name: SimilarityName, a: Float32, b: Float32) -> Float32:
    difference = a - b
    if name == "manhattan":
        return np.asarray(-np.abs(difference).sum(axis=-1), dtype=np.float32)
    return np.asarray(-np.sqrt(np.square(difference).sum(axis=-1)), dtype=np.float32)

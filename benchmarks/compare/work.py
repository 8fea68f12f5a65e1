"""What is timed, checked and tuned on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import Tokenizer

from benchmarks.common.texts import MIXED_ROWS, Writer, mixed_lengths

QUERIES = (16, 32, 64)  # tokens of a single query, instruction and </s> counted, as everywhere here
SHAPES = ((8, 64), (32, 128), (4, 512))  # rows, tokens of each
CHECKED = (8, 12, 16, 24, 32, 48, 64, 96, 128, 256)  # lengths of the rows that are compared with torch


@dataclass(frozen=True)
class Work:
    """Rows that are embedded in one call of `encode`, and timed as one."""

    name: str
    kind: str  # "query", "shape", "mixed", "check" or "tune"
    rows: list[Row]
    tokens: int  # real ones, of all rows


def all_work(tokenizer: Tokenizer, *, slice_rows: int) -> list[Work]:
    """Everything that is checked, tuned on and timed, in this order.

    Args:
        slice_rows: the mixed set is cut into slices of so many rows, each with the same spread of lengths.
    """
    return list(_all_work(Writer(tokenizer), slice_rows))


def _all_work(writer: Writer, slice_rows: int) -> Iterator[Work]:
    def work(name: str, kind: str, lengths: list[int]) -> Work:
        return Work(name, kind, writer.rows(lengths), sum(lengths))

    yield work("check", "check", list(CHECKED))
    for tokens in QUERIES:
        yield work(f"query {tokens}", "query", [tokens])
    for count, tokens in SHAPES:
        yield work(f"({count}, {tokens})", "shape", [tokens] * count)
    lengths = np.sort(mixed_lengths())
    yield work("tune", "tune", lengths[:: MIXED_ROWS // 40].tolist())
    slices = MIXED_ROWS // slice_rows
    for index in range(slices):
        # every slice takes one of each run of like lengths; in what order the lengths come is drawn
        part = np.random.default_rng(index).permutation(lengths[index::slices])
        yield work(f"mixed {index}", "mixed", part.tolist())


def write_work(work: list[Work], path: Path) -> None:
    """Rows by name, as the workers read them."""
    path.write_text(json.dumps({item.name: item.rows for item in work}), encoding="utf-8")

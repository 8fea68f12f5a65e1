"""The texts that are timed: made-up sentences of exact lengths in the model's own tokens."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_export.calibrate import read_rows

Row = tuple[str, str]  # instruction, text

INSTRUCTION = "Represent the sentence: "  # one for all rows: sentence-transformers takes one a call
QUERIES = (16, 32, 64)  # tokens of a single query, instruction and </s> counted, as everywhere here
SHAPES = ((8, 64), (32, 128), (4, 512))  # rows, tokens of each
MIXED_ROWS, MIXED_MEDIAN, MIXED_SIGMA, SHORTEST, LONGEST = 2000, 60, 0.8, 8, 512
CHECKED = (8, 12, 16, 24, 32, 48, 64, 96, 128, 256)  # lengths of the rows that are compared with torch
SEED = 20260911


@dataclass(frozen=True)
class Work:
    """Rows that are embedded in one call of `encode`, and timed as one."""

    name: str
    kind: str  # "query", "shape", "mixed", "check" or "tune"
    rows: list[Row]
    tokens: int  # real ones, of all rows


class Writer:
    """Makes texts of an exact number of tokens; the same ones every time."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._random = random.Random(SEED)
        words = sorted({word for _, text in read_rows() for word in re.findall(r"[a-z]+", text)})
        own = self._count([(INSTRUCTION, "")])[0]  # the instruction's, and </s>
        counts = [count - own for count in self._count([(INSTRUCTION, word) for word in words])]
        self._own = own
        self._words = list(zip(words, counts, strict=True))
        if 1 not in counts:
            raise ValueError(
                "the tokenizer knows none of the benchmark's words whole: is it a T5 tokenizer of English?"
            )

    def rows(self, lengths: list[int]) -> list[Row]:
        """One row of each length in tokens, instruction and `</s>` counted."""
        rows = [self._row(length) for length in lengths]
        if self._count(rows) != [max(length, self._own + 1) for length in lengths]:
            raise ValueError("the tokenizer does not split these texts at spaces: no text of an exact length.")
        return rows

    def _row(self, length: int) -> Row:
        words, left = [], max(1, length - self._own)
        while left:
            word, count = self._random.choice(self._words)
            if 0 < count <= left:
                words.append(word)
                left -= count
        return INSTRUCTION, " ".join(words)

    def _count(self, rows: list[Row]) -> list[int]:
        from instructor_onnx.inputs import as_rows

        return [int(length) for length in self._tokenizer(as_rows(rows)[0], 2 * LONGEST).lengths]


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
    lengths = mixed_lengths()
    yield work("tune", "tune", [int(length) for length in np.sort(lengths)[:: MIXED_ROWS // 40]])
    slices = MIXED_ROWS // slice_rows
    for index in range(slices):
        # every slice takes one of each run of like lengths; in what order the lengths come is drawn
        part = np.sort(lengths)[index::slices]
        yield work(f"mixed {index}", "mixed", [int(n) for n in np.random.default_rng(index).permutation(part)])


def mixed_lengths() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Tokens of each of the 2,000 mixed rows: lognormal, median 60, cut to 8 to 512."""
    drawn = np.random.default_rng(SEED).lognormal(np.log(MIXED_MEDIAN), MIXED_SIGMA, MIXED_ROWS)
    return np.clip(np.rint(drawn), SHORTEST, LONGEST).astype(np.int64)


def write_work(work: list[Work], path: Path) -> None:
    """Rows by name, as the workers read them."""
    path.write_text(json.dumps({item.name: item.rows for item in work}), encoding="utf-8")

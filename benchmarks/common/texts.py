"""Made-up sentences of exact lengths in a model's own tokens, and the lengths of the mixed set."""

from __future__ import annotations

import random
import re

import numpy as np
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_export.calibrate import read_rows

INSTRUCTION = "Represent the sentence: "  # one for all rows: sentence-transformers takes one a call
MIXED_ROWS, MIXED_MEDIAN, MIXED_SIGMA, SHORTEST, LONGEST = 2000, 60, 0.8, 8, 512
SEED = 20260911


class Writer:
    """Makes texts of an exact number of tokens; the same ones every time."""

    def __init__(self, tokenizer: Tokenizer, instruction: str = INSTRUCTION) -> None:
        self._tokenizer, self._instruction = tokenizer, instruction
        self._random = random.Random(SEED)
        words = sorted({word for _, text in read_rows() for word in re.findall(r"[a-z]+", text)})
        own = self._count([Row(instruction, "")])[0]  # the instruction's, and </s>
        counts = [count - own for count in self._count([Row(instruction, word) for word in words])]
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
        return Row(self._instruction, " ".join(words))

    def _count(self, rows: list[Row]) -> list[int]:
        return [int(length) for length in self._tokenizer(rows, 2 * LONGEST).lengths]


def mixed_lengths() -> list[int]:
    """Tokens of each of the 2,000 mixed rows: lognormal, median 60, cut to 8 to 512."""
    drawn = np.random.default_rng(SEED).lognormal(np.log(MIXED_MEDIAN), MIXED_SIGMA, MIXED_ROWS)
    return [int(length) for length in np.clip(np.rint(drawn), SHORTEST, LONGEST)]

"""Rows -> token ids and masks. The only module that knows tokenizers.

Two masks, two names: `attention_mask` is what the encoder sees (every real token, the instruction too),
`pooling_mask` is what the mean takes (real tokens from the end of the instruction on).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as FastTokenizer

from instructor_onnx.bundle import BundleError
from instructor_onnx.inputs import Row

Int64 = npt.NDArray[np.int64]
FIX = "Use the tokenizer.json that came with the model."
# Rows tokenised at a time. It bounds the memory of the tokenizer's Encoding objects, and of `encode()` apart from
# its result; sorted among so many, rows of like length run together with about 1 % of padding.
CHUNK_ROWS = 2048


@dataclass(frozen=True)
class Tokens:
    """Tokenised rows, packed: row i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: npt.NDArray[np.int32]  # [total tokens]
    offsets: Int64  # [rows + 1]
    starts: Int64  # [rows], the first pooled position: the length k of the instruction in tokens
    truncated: int  # rows that lost tokens to max_seq_length

    @property
    def lengths(self) -> Int64:
        """Real tokens of each row, `</s>` included: [rows]."""
        return np.diff(self.offsets)

    @classmethod
    def concatenate(cls, parts: Sequence[Tokens]) -> Tokens:
        """The rows of all `parts`, one after another."""
        lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(part.lengths for part in parts)])
        return cls(
            ids=np.concatenate([np.zeros(0, dtype=np.int32), *(part.ids for part in parts)]),
            offsets=np.cumsum(lengths),
            starts=np.concatenate([np.zeros(0, dtype=np.int64), *(part.starts for part in parts)]),
            truncated=sum(part.truncated for part in parts),
        )

    @classmethod
    def gather(cls, places: Sequence[tuple[Tokens, int]]) -> Tokens:
        """Single rows, each given as where it is and its index there, one after another."""
        spans = [(tokens, int(tokens.offsets[row]), int(tokens.offsets[row + 1])) for tokens, row in places]
        lengths = [0, *(end - start for _, start, end in spans)]
        return cls(
            ids=np.concatenate([np.zeros(0, dtype=np.int32), *(tokens.ids[start:end] for tokens, start, end in spans)]),
            offsets=np.cumsum(lengths, dtype=np.int64),
            starts=np.array([tokens.starts[row] for tokens, row in places], dtype=np.int64),
            truncated=0,
        )

    def padded(self, rows: Int64, multiple: int = 1) -> tuple[Int64, Int64, Int64]:
        """`input_ids`, `attention_mask`, `pooling_mask` of the given rows: int64 [len(rows), longest].

        `longest` is rounded up to a multiple of `multiple`.
        """
        lengths = self.lengths[rows]
        longest = -(-int(lengths.max(initial=0)) // multiple) * multiple
        position = np.arange(longest)
        real = position < lengths[:, None]  # [rows, longest]
        input_ids = np.zeros(real.shape, dtype=np.int64)
        # The same [row, position] grid read from the packed ids: offsets[row] + position.
        input_ids[real] = self.ids[(self.offsets[rows][:, None] + position)[real]]
        pooled = real & (position >= self.starts[rows][:, None])
        return input_ids, real.astype(np.int64), pooled.astype(np.int64)


class Piece(NamedTuple):
    """One token, as people look at it."""

    id: int
    text: str
    span: tuple[int, int] | None  # characters of the text, from and to; a special token has none


class Tokenizer:
    """A T5 tokenizer that joins, strips, counts and cuts as the reference does. Stateless: thread-safe."""

    def __init__(self, tokenizer: FastTokenizer, *, eos_token_id: int) -> None:
        self._tokenizer = tokenizer
        self._eos_token_id = eos_token_id

    @classmethod
    def load(cls, path: Path, *, vocab_size: int, eos_token_id: int) -> Tokenizer:
        """Read a `tokenizer.json`; raises as `parse`."""
        try:
            contents = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: not a tokenizer that can be read ({error}). {FIX}") from None
        return cls.parse(contents, path, vocab_size=vocab_size, eos_token_id=eos_token_id)

    @classmethod
    def parse(cls, contents: bytes, path: Path, *, vocab_size: int, eos_token_id: int) -> Tokenizer:
        """Take the contents of a `tokenizer.json`; `path` is where they are from, for the error.

        Raises:
            BundleError: unreadable, or it does not fit the model (ids past `vocab_size`, no `</s>` at the end).
        """
        try:
            tokenizer = FastTokenizer.from_buffer(contents)
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"{path}: not a tokenizer that can be read ({error}). {FIX}") from None
        # Published files carry Fixed(512) padding and truncation; lengths are decided here, per call.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= vocab_size:
            raise BundleError(f"{path}: has token id {largest}, the model has {vocab_size} rows. {FIX}")
        if tokenizer.encode("").ids != [eos_token_id]:
            raise BundleError(f"{path}: does not end a text with id {eos_token_id} (</s>). {FIX}")
        return cls(tokenizer, eos_token_id=eos_token_id)

    def __call__(self, rows: list[Row], max_seq_length: int) -> Tokens:
        """Tokenise rows; `max_seq_length` counts tokens, instruction and `</s>` included.

        joined = strip(instruction + strip(text)), cut so that the last kept token is always `</s>`;
        k = tokens of strip(instruction) alone, without `</s>`, cut alike; k <= 1 counts as 0 (the reference's
        rule). k is never re-aligned with the joined tokens, and may therefore exceed a row's length.
        """
        return Tokens.concatenate(list(self.chunks(rows, max_seq_length)))

    def chunks(self, rows: list[Row], max_seq_length: int) -> Iterator[Tokens]:
        """The same, CHUNK_ROWS rows at a time; each distinct instruction is tokenised once for all chunks."""
        starts = self._instruction_lengths(rows, max_seq_length)
        for first in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(first, first + CHUNK_ROWS)
            yield self._joined(rows[chunk], starts[chunk], max_seq_length)

    def from_ids(self, rows: Sequence[tuple[str, Sequence[int]]], max_seq_length: int) -> Tokens:
        """Rows of (instruction, token ids of the text): the instruction's tokens, the ids, and `</s>`, cut alike.

        The ids may end with `</s>` or not. They give the vector of their text where the tokens of instruction and
        text together are those of each, as they are when the instruction ends with a colon and a space.
        """
        starts = self._instruction_lengths([Row(instruction, "") for instruction, _ in rows], max_seq_length)
        known = {
            text: self._tokenizer.encode(text).ids[:-1] for text in {instruction.strip() for instruction, _ in rows}
        }
        eos = self._eos_token_id
        ids = []
        for instruction, text_ids in rows:
            body = text_ids[:-1] if text_ids and text_ids[-1] == eos else text_ids
            ids.append([*known[instruction.strip()], *body, eos])
        return self._packed(ids, starts, max_seq_length)

    def pieces(self, row: Row, *, add_special_tokens: bool) -> list[Piece]:
        """The tokens of one row, not cut, with their places in instruction and text together."""
        joined = _join(row)
        encoding = self._tokenizer.encode(joined, add_special_tokens=add_special_tokens)
        return [
            Piece(token_id, piece, None) if special else Piece(token_id, joined[span[0] : span[1]], span)
            for token_id, piece, span, special in zip(
                encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
        ]

    def _joined(self, rows: list[Row], starts: Int64, max_seq_length: int) -> Tokens:
        # spread over threads by the library
        encodings = self._tokenizer.encode_batch_fast([_join(row) for row in rows])
        return self._packed([encoding.ids for encoding in encodings], starts, max_seq_length)

    def _packed(self, ids: list[list[int]], starts: Int64, max_seq_length: int) -> Tokens:
        truncated = 0
        for index, found in enumerate(ids):
            if len(found) > max_seq_length:
                truncated += 1
                ids[index] = [*found[: max_seq_length - 1], self._eos_token_id]
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(found) for found in ids], out=offsets[1:])
        packed = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=offsets[-1])
        return Tokens(ids=packed, offsets=offsets, starts=starts, truncated=truncated)

    def _instruction_lengths(self, rows: list[Row], max_seq_length: int) -> Int64:
        """k of each row: int64 [rows]."""
        distinct = list({row.instruction.strip(): None for row in rows})
        encodings = self._tokenizer.encode_batch_fast(distinct)
        counts = [min(len(encoding.ids), max_seq_length) - 1 for encoding in encodings]
        known = {text: count if count > 1 else 0 for text, count in zip(distinct, counts, strict=True)}
        return np.array([known[row.instruction.strip()] for row in rows], dtype=np.int64)


def _join(row: Row) -> str:
    """Instruction and text as the reference tokenises them."""
    return (row.instruction + row.text.strip()).strip()

"""Rows -> token ids and masks. The only module that knows tokenizers.

Two masks, two names: `attention_mask` is what the encoder sees (every real token, the instruction too),
`pooling_mask` is what the mean takes (real tokens from the end of the instruction on).
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as FastTokenizer

from instructor_onnx import prefixes
from instructor_onnx.bundle import BundleError
from instructor_onnx.inputs import Row

Int64 = npt.NDArray[np.int64]
FIX = "Use the tokenizer.json that came with the model."
# Rows tokenised at a time. It bounds the memory of the tokenizer's Encoding objects, and of `encode()` apart from
# its result; sorted among so many, rows of like length run together with about 1 % of padding.
ROWS_AT_ONCE = 2048
CHARACTERS_AT_ONCE = 1 << 20  # likewise: characters tokenised at a time, of one row or of many; up to 200 MB
# The most that is read of a text to find so many tokens, in characters: a T5 piece has at most 16. Only where a text
# has almost no words (a million characters without a space, say) does more of it matter, and is cut off.
MOST_READ = 1 << 20
MOST_READ_PER_TOKEN = 16
FIRST_READ_PER_TOKEN, FIRST_READ = 8, 1 << 14  # prose has 4 to 5, a space among them; the first look, at most
MOST_REMEMBERED, MOST_REMEMBERED_CHARACTERS = 256, 1 << 16  # instructions whose length in tokens is known
MOST_GROWTH = 64  # U+FDFA becomes 18 characters


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
        return np.asarray(self.offsets[1:] - self.offsets[:-1])  # a fifth of what np.diff takes for few rows

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


class Places(NamedTuple):
    """Where the tokens of a row lie in instruction and text together, in characters."""

    starts: Int64  # [tokens]
    ends: Int64  # [tokens]
    begins_word: npt.NDArray[np.bool_]  # [tokens]; not within one of the text's characters


class Tokenizer:
    """A T5 tokenizer that joins, strips, counts and cuts as the reference does. Thread-safe.

    Args:
        borders: where a text may end early (see `prefixes.borders`); None: nowhere.
        begins_word: of each id whether its piece begins a word, [largest id + 1].
        path: where it is from, for errors.
    """

    def __init__(
        self,
        tokenizer: FastTokenizer,
        *,
        borders: re.Pattern[str] | None,
        begins_word: npt.NDArray[np.bool_],
        eos_token_id: int,
        path: Path,
    ) -> None:
        self._tokenizer = tokenizer
        self._borders = borders
        self._begins_word = begins_word
        self._eos_token_id = eos_token_id
        self._path = path
        self._known_starts: dict[tuple[str, int], int] = {}  # k, by instruction and max_seq_length

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
            BundleError: unreadable, or it does not fit the model (ids past `vocab_size`, no `</s>` at the end), or it
                makes texts many times as long.
        """
        with _LibraryErrors(path, "not a tokenizer that can be read"):
            tokenizer = FastTokenizer.from_buffer(contents)
        # Published files carry Fixed(512) padding and truncation; lengths are decided here, per call.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        largest = max(vocabulary.values(), default=-1)
        if largest >= vocab_size:
            raise BundleError(f"{path}: has token id {largest}, the model has {vocab_size} rows. {FIX}")
        with _LibraryErrors(path, "cannot be used"):
            normalizer, pre_tokenizer = _part(tokenizer.normalizer), _part(tokenizer.pre_tokenizer)
            longer = prefixes.growth(normalizer)
        if longer > MOST_GROWTH:
            raise BundleError(f"{path}: its normalizer can make a text {longer:,.0f} times as long. {FIX}")
        with _LibraryErrors(path, "cannot be used"):
            empty = tokenizer.encode("").ids
        if empty != [eos_token_id]:
            raise BundleError(f"{path}: does not end a text with id {eos_token_id} (</s>). {FIX}")
        begins_word = np.zeros(largest + 1, dtype=np.bool_)
        begins_word[[index for piece, index in vocabulary.items() if piece.startswith(prefixes.WORD)]] = True
        return cls(
            tokenizer,
            borders=prefixes.borders(normalizer, pre_tokenizer, list(tokenizer.get_added_tokens_decoder().values())),
            begins_word=begins_word,
            eos_token_id=eos_token_id,
            path=path,
        )

    def __call__(self, rows: list[Row], max_seq_length: int) -> Tokens:
        """Tokenise rows; `max_seq_length` counts tokens, instruction and `</s>` included.

        joined = strip(instruction + strip(text)), cut so that the last kept token is always `</s>`;
        k = tokens of strip(instruction) alone, without `</s>`, cut alike; k <= 1 counts as 0 (the reference's
        rule). k is never re-aligned with the joined tokens, and may therefore exceed a row's length.
        """
        chunks = list(self.chunks(rows, max_seq_length))
        return chunks[0] if len(chunks) == 1 else Tokens.concatenate(chunks)

    def chunks(self, rows: list[Row], max_seq_length: int) -> Iterator[Tokens]:
        """The same, ROWS_AT_ONCE rows at a time; each distinct instruction is tokenised once for all chunks."""
        starts = self._instruction_lengths(rows, max_seq_length)
        for first in range(0, len(rows), ROWS_AT_ONCE):
            chunk = slice(first, first + ROWS_AT_ONCE)
            yield self._joined(rows[chunk], starts[chunk], max_seq_length)

    def from_ids(self, rows: Sequence[tuple[str, Sequence[int]]], max_seq_length: int) -> Tokens:
        """Rows of (instruction, token ids of the text): the instruction's tokens, the ids, and `</s>`, cut alike.

        The ids may end with `</s>` or not. They give the vector of their text where the tokens of instruction and
        text together are those of each, as they are when the instruction ends with a colon and a space.
        """
        known = self._instruction_ids((instruction for instruction, _ in rows), max_seq_length)
        eos = self._eos_token_id
        ids, starts = [], np.zeros(len(rows), dtype=np.int64)
        for index, (instruction, text_ids) in enumerate(rows):
            found = known[instruction.strip()]
            body = text_ids[:-1] if text_ids and text_ids[-1] == eos else text_ids
            ids.append([*found[:-1], *body, eos])
            starts[index] = _start(found, max_seq_length)
        return self._packed(ids, starts, max_seq_length)

    def pieces(self, row: Row, limit: int, *, add_special_tokens: bool) -> list[Piece]:
        """The tokens of one row with their places in instruction and text together; of more than `limit`, one more."""
        joined = _join(row)

        def encode(texts: list[str]) -> list[Any]:
            return self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)

        ((_, encoding, _),) = self._encodings([row], limit, encode)
        encoding.truncate(limit + 1)
        return [
            Piece(token_id, piece, None) if special else Piece(token_id, joined[span[0] : span[1]], span)
            for token_id, piece, span, special in zip(
                encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
        ]

    def places(self, row: Row, limit: int) -> Places:
        """Where the tokens of one row lie, `</s>` left out; of more than `limit`, one more."""
        encode = functools.partial(self._tokenizer.encode_batch, add_special_tokens=False)
        ((_, encoding, _),) = self._encodings([row], limit, encode)
        encoding.truncate(limit + 1)
        starts, ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
        apart = starts >= np.concatenate([[0], ends[:-1]])  # of the tokens that one character became, the first
        return Places(starts, ends, self._begins_word[encoding.ids] & apart)

    def _joined(self, rows: list[Row], starts: Int64, max_seq_length: int) -> Tokens:
        ids, unread = self._ids(rows, max_seq_length)
        return self._packed(ids, starts, max_seq_length, unread)

    def _ids(self, rows: Sequence[Row], limit: int) -> tuple[list[list[int]], int]:
        """The ids of each row, `</s>` included; of one that has more than `limit`, one more than that.

        Also how many rows have fewer, but were not read to their end (see MOST_READ).
        """
        encode = self._tokenizer.encode_batch_fast  # spread over threads by the library
        characters = sum(len(row.instruction) + len(row.text) for row in rows)
        if characters <= min(FIRST_READ_PER_TOKEN * limit, FIRST_READ):  # all are read whole, together
            with _LibraryErrors(self._path, "failed on a text"):
                return [encoding.ids[: limit + 1] for encoding in encode([_join(row) for row in rows])], 0
        found: list[list[int]] = [[] for _ in rows]
        unread = 0
        for index, encoding, whole in self._encodings(rows, limit, encode):
            found[index] = encoding.ids[: limit + 1]
            unread += not whole and len(found[index]) <= limit
        return found, unread

    def _encodings(
        self, rows: Sequence[Row], limit: int, encode: Callable[[list[str]], list[Any]]
    ) -> Iterator[tuple[int, Any, bool]]:
        """Of each row its place, tokenizers' `Encoding` of as much as has `limit` tokens, and whether that is all.

        Beginnings four times as long are tried until one has.
        """
        most = max(MOST_READ, MOST_READ_PER_TOKEN * limit)
        size = most if self._borders is None else min(FIRST_READ_PER_TOKEN * limit, FIRST_READ)
        waiting: Iterable[int] = range(len(rows))
        while waiting:
            again = []
            for group in _groups(self._beginning(index, _join(rows[index]), size, most) for index in waiting):
                with _LibraryErrors(self._path, "failed on a text"):
                    encodings = encode([part.text for part in group])
                for part, encoding in zip(group, encodings, strict=True):
                    if part.whole or len(part.text) == most or self._settled(encoding.ids) >= limit:
                        yield part.row, encoding, part.whole
                    else:
                        again.append(part.row)
            waiting, size = again, 4 * size

    def _beginning(self, index: int, text: str, size: int, most: int) -> _Beginning:
        beginning = text
        if self._borders is not None and size < most:
            beginning = prefixes.beginning(text, size, self._borders)
        beginning = beginning[:most]
        return _Beginning(index, beginning, whole=len(beginning) == len(text))

    def _settled(self, ids: list[int]) -> int:
        """How many of a beginning's tokens the whole text has too: those before its last word."""
        begins = np.flatnonzero(self._begins_word[ids])
        return int(begins[-1]) if len(begins) else 0

    def _packed(self, ids: list[list[int]], starts: Int64, max_seq_length: int, unread: int = 0) -> Tokens:
        truncated = unread
        for index, found in enumerate(ids):
            if len(found) > max_seq_length:
                truncated += 1
                ids[index] = [*found[: max_seq_length - 1], self._eos_token_id]
        ends = itertools.accumulate(map(len, ids), initial=0)
        offsets = np.fromiter(ends, dtype=np.int64, count=len(ids) + 1)
        packed = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=offsets[-1])
        return Tokens(ids=packed, offsets=offsets, starts=starts, truncated=truncated)

    def _instruction_lengths(self, rows: list[Row], max_seq_length: int) -> Int64:
        """k of each row: int64 [rows]; those of the last instructions are remembered."""
        wanted = [(row.instruction.strip(), max_seq_length) for row in rows]
        known = self._known_starts
        if not all(map(known.__contains__, wanted)):
            ids = self._instruction_ids((instruction for instruction, _ in wanted), max_seq_length)
            known = known | {(text, max_seq_length): _start(found, max_seq_length) for text, found in ids.items()}
            few = len(known) <= MOST_REMEMBERED and sum(len(text) for text, _ in known) <= MOST_REMEMBERED_CHARACTERS
            self._known_starts = known if few else {}  # another one, not changed: a thread may be reading the old
        return np.array([known[key] for key in wanted], dtype=np.int64)

    def _instruction_ids(self, instructions: Iterable[str], limit: int) -> dict[str, list[int]]:
        """The ids of each distinct instruction, by its stripped text, as `_ids` gives them."""
        distinct = list({instruction.strip(): None for instruction in instructions})
        return dict(zip(distinct, self._ids([Row(text, "") for text in distinct], limit)[0], strict=True))


def _start(ids: list[int], max_seq_length: int) -> int:
    """k of an instruction with these ids, `</s>` included."""
    count = min(len(ids), max_seq_length) - 1
    return count if count > 1 else 0


def _join(row: Row) -> str:
    """Instruction and text as the reference tokenises them."""
    return (row.instruction + row.text.strip()).strip()


class _Beginning(NamedTuple):
    """As much of a row as is tokenised."""

    row: int  # its place
    text: str  # instruction and text
    whole: bool  # whether that is all


def _groups(parts: Iterable[_Beginning]) -> Iterator[list[_Beginning]]:
    """So many together as have CHARACTERS_AT_ONCE, or a longer one, in their order."""
    group: list[_Beginning] = []
    characters = 0
    for part in parts:
        if group and characters + len(part.text) > CHARACTERS_AT_ONCE:
            yield group
            group, characters = [], 0
        group.append(part)
        characters += len(part.text)
    if group:
        yield group


def _part(part: Any) -> Any:
    """A normalizer or pre-tokenizer as tokenizer.json has it: what tokenizers pickles of one."""
    return None if part is None else json.loads(part.__getstate__())


class _LibraryErrors:
    """A BundleError for whatever tokenizers raises: bare Exceptions, and panics, which are not even Exceptions.

    A class, as it is in the way of every text: contextlib's take a microsecond more.
    """

    def __init__(self, path: Path, said: str) -> None:
        self._path, self._said = path, said

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise BundleError(f"{self._path}: {self._said} ({error!s:.200}). {FIX}") from None

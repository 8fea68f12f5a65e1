"""Long texts: cut into windows that a model takes, and the vectors of these. Knows no engine.

A window is a span of a text's characters that has, under the row's instruction, no more tokens than the model takes. It
is a row like any other, and its vector that of `encode([[instruction, text[start:end]]])`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from instructor_onnx.bundle import BundleError, Manifest
from instructor_onnx.engines.onnx_file import read_initializers
from instructor_onnx.inputs import Row
from instructor_onnx.tokens import MOST_READ_PER_TOKEN, Places, Tokenizer
from instructor_onnx.vectors import Form, normalize

Float32 = npt.NDArray[np.float32]
LongTexts = Literal["cut", "mean", "chunks", "late_chunks"]
LONG_TEXTS = get_args(LongTexts)
Span = tuple[int, int]

LATE = 128  # tokens of a late chunk where none are named: with all that fit, each window would be one
DENSE = "dense.linear.weight"  # [d_model, embedding_dim], in the file of every variant
RUNS_AT_ONCE = 16  # whose windows are in memory together; of late chunks one, as every token's vector is too
NO_SPACE = re.compile(r"\S")


class Chunk(NamedTuple):
    """A part of a row's text and its vector, as `encode` gives them for `long_texts="chunks"` and "late_chunks"."""

    start: int  # characters of the row's text: text[start:end] is the part
    end: int
    embedding: Any  # [embedding_dim], array or tensor


@dataclass(frozen=True)
class Cuts:
    """How long texts are cut; see `INSTRUCTOR.encode`."""

    long_texts: LongTexts = "cut"
    tokens_per_chunk: int | None = None
    chunk_overlap: int = 0

    def __post_init__(self) -> None:
        if self.long_texts not in LONG_TEXTS:
            allowed = ", ".join(map(repr, LONG_TEXTS))
            raise ValueError(f"long_texts: found {self.long_texts!r}, expected one of {allowed}.")
        if self.tokens_per_chunk is not None:
            _check_whole("tokens_per_chunk", self.tokens_per_chunk, 1)
        _check_whole("chunk_overlap", self.chunk_overlap, 0)
        if self.long_texts == "cut" and (self.tokens_per_chunk is not None or self.chunk_overlap):
            raise ValueError("tokens_per_chunk and chunk_overlap need long_texts='mean', 'chunks' or 'late_chunks'.")


class Window(NamedTuple):
    """A part of a text."""

    start: int  # characters of the row's text
    end: int
    tokens: int  # of the text, without the instruction's
    repeated: int = 0  # of them, the first ones, which the window before ends with


class Part(NamedTuple):
    """A window of one of many rows."""

    owner: int  # the row's place
    window: Window
    row: Row  # the window's text under the row's instruction


class Embedded(NamedTuple):
    """The vectors of long texts."""

    vectors: Float32  # [rows, embedding_dim], or of all chunks one after another [chunks, embedding_dim]
    spans: list[list[Span]] | None  # of each row its chunks' characters; None: each vector is a row's
    losses: Any


class Encoder(Protocol):
    """The part of INSTRUCTOR that is used here."""

    folder: Path
    manifest: Manifest
    variant: str
    max_seq_length: int

    @property
    def tokenizer(self) -> Tokenizer:
        """Makes the tokens."""

    def _embed(
        self, rows: list[Row], batch_size: int, output_value: Any = "sentence_embedding", *, form: Form | None = None
    ) -> tuple[Any, Any]:
        """The vectors of rows, or their details, and `Losses`."""


def embed(
    model: Encoder, rows: Sequence[Row], cuts: Cuts, batch_size: int, show_progress_bar: bool = False
) -> Embedded:
    """What `encode` gives where long texts are not cut. Memory grows with the result alone.

    Raises:
        BundleError: late chunks need the Dense layer's weights, and the model's file has none of that name.
    """
    late = cuts.long_texts == "late_chunks"
    run = functools.partial(_late, dense=_dense(model), most=cuts.tokens_per_chunk or LATE) if late else _alone
    limits = dataclasses.replace(cuts, tokens_per_chunk=None) if late else cuts
    parts = (
        Part(owner, window, Row(row.instruction, row.text[window.start : window.end]))
        for owner, row in enumerate(tqdm(rows, desc="Embedding", unit="text", disable=not show_progress_bar))
        for window in windows(model.tokenizer, row, limits, model.max_seq_length)
    )
    nothing, losses = model._embed([], batch_size, form=_whole(model))
    blocks, truncated = [nothing], 0
    masked: set[int] = set()
    found: list[list[Window]] = [[] for _ in rows]
    while block := list(itertools.islice(parts, batch_size * (1 if late else RUNS_AT_ONCE))):
        vectors, inside, lost = run(model, block, batch_size)
        blocks.append(vectors)
        for part, chunks in zip(block, inside, strict=True):
            found[part.owner] += chunks
        truncated += lost.truncated
        masked.update(block[place].owner for place in lost.masked)
    vectors = np.concatenate(blocks)
    losses = dataclasses.replace(
        losses, rows=len(rows), truncated=min(truncated, len(rows)), masked=tuple(sorted(masked))
    )
    if cuts.long_texts == "mean":
        return Embedded(_means(vectors, found, model.manifest.model.normalize), None, losses)
    return Embedded(vectors, [[(chunk.start, chunk.end) for chunk in chunks] for chunks in found], losses)


class Pooled:
    """A model for files.stream, whose long texts are the mean of their windows."""

    def __init__(self, model: Encoder) -> None:
        self._model = model

    def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Any]:
        found = embed(self._model, rows, Cuts("mean"), batch_size)
        return found.vectors, found.losses


def as_chunks(vectors: Any, spans: list[list[Span]]) -> list[list[Chunk]]:
    """Of each row its chunks; `vectors` are those of all rows, one after another."""
    each = iter(vectors)
    return [[Chunk(start, end, next(each)) for start, end in row] for row in spans]


def windows(tokenizer: Tokenizer, row: Row, cuts: Cuts, max_seq_length: int) -> Iterator[Window]:
    """The windows of a text from left to right; of a text that fits, or is blank, one with all of it.

    A window ends before a word where one begins in its second half, else between two tokens of a longer one.

    Args:
        max_seq_length: most tokens of a window, its instruction's and `</s>` among them.
    """
    text, instruction = row.text, row.instruction
    stop = len(text.rstrip())
    start = min(_next_character(text, 0), stop)
    ahead = len(instruction.lstrip())  # characters before the text's first, where both are joined
    limit = max_seq_length - 1
    if cuts.tokens_per_chunk is not None:
        limit = min(limit, len(tokenizer.places(Row(instruction, ""), limit).starts) + cuts.tokens_per_chunk)
    repeated = 0
    while True:
        end = min(stop, start + MOST_READ_PER_TOKEN * limit)
        places = tokenizer.places(Row(instruction, text[start:end]), limit)
        first, count = _first(places, ahead), len(places.starts)
        room = limit - first
        if room < 1 or (count <= limit and end == stop):  # no room beside the instruction, or the rest
            yield Window(start, stop, count - first, repeated)
            return
        cut = _cut(places, first, room)
        if cut > first:  # else there are only characters that are no token's
            after = min([places.ends[cut - 1], *places.starts[cut : cut + 1]])  # two tokens may share a character
            end = start + max(1, int(after) - ahead)
            yield Window(start, end, cut - first, repeated)
        again = _word(places, max(first + 1, cut - min(cuts.chunk_overlap, room // 2)), cut)
        repeated = cut - again
        start = start + int(places.starts[again]) - ahead if repeated else _next_character(text, end)
        if start >= stop:
            return


def _next_character(text: str, start: int) -> int:
    found = NO_SPACE.search(text, start)
    return found.start() if found else len(text)


def _first(places: Places, ahead: int) -> int:
    """The text's first token: the one that ends in it."""
    return int(np.searchsorted(places.ends, ahead, side="right"))


def _cut(places: Places, first: int, room: int) -> int:
    """The token that comes after a window, which begins with `first` and has room for so many."""
    last = first + room
    if last >= len(places.starts):
        return len(places.starts)
    least = first + room // 2 + 1
    words = np.flatnonzero(places.begins_word[least : last + 1])
    if len(words):
        return least + int(words[-1])
    # one character may become several tokens, and is not cut
    apart = np.flatnonzero(places.starts[first + 1 : last + 1] >= places.ends[first:last])
    return first + 1 + int(apart[-1]) if len(apart) else last


def _word(places: Places, first: int, last: int) -> int:
    """The first token from `first` on that begins a word; `last` where none before it does."""
    words = np.flatnonzero(places.begins_word[first:last])
    return first + int(words[0]) if len(words) else last


def _alone(model: Encoder, parts: list[Part], batch_size: int) -> tuple[Float32, list[list[Window]], Any]:
    """Each window embedded by itself: the vectors, the chunks of each window, the losses."""
    vectors, losses = model._embed([part.row for part in parts], batch_size, form=_whole(model))
    return vectors, [[part.window] for part in parts], losses


def _late(
    model: Encoder, parts: list[Part], batch_size: int, *, dense: Float32 | None, most: int
) -> tuple[Float32, list[list[Window]], Any]:
    """The same of late chunks (Günther et al. 2024): a window is run whole, and its tokens are pooled chunk by chunk.

    What a window repeats of the one before is context: it is pooled there, and not again.
    """
    details, losses = model._embed([part.row for part in parts], batch_size, None, form=_whole(model))
    found, blocks = [], []
    for part, detail in zip(parts, details, strict=True):
        chunks, firsts = _within(model.tokenizer, part, most, model.max_seq_length)
        found.append(chunks)
        if len(chunks) == 1 and not part.window.repeated:
            blocks.append(detail["sentence_embedding"][None])
            continue
        mask = detail["attention_mask"][:, None].astype(np.float32)  # [length, 1]; the instruction's are 0
        sums: Float32 = np.add.reduceat(detail["token_embeddings"] * mask, firsts)  # [chunks, d_model]
        pooled = sums / np.maximum(np.add.reduceat(mask, firsts), np.float32(1e-9))
        # BLAS would round a chunk by how many there are
        vectors = pooled if dense is None else np.einsum("cm,md->cd", pooled, dense)
        blocks.append(normalize(vectors) if model.manifest.model.normalize else vectors)
    return np.concatenate(blocks), found, losses


def _within(tokenizer: Tokenizer, part: Part, most: int, max_seq_length: int) -> tuple[list[Window], list[int]]:
    """The chunks of what a window does not repeat, and the token that each begins with.

    The first of a text has the instruction's tokens too, as far as they are pooled, and the last of a window `</s>`.
    """
    window, row = part.window, part.row
    places = tokenizer.places(row, max_seq_length - 1)
    ahead = len(row.instruction.lstrip())
    begin = _first(places, ahead) + window.repeated
    last = min(len(places.starts), max_seq_length - 1)
    chunks, firsts = [], []
    while begin < last:
        cut = min(_cut(places, begin, most), last)
        start = window.start + max(0, int(places.starts[begin]) - ahead)
        end = window.end if cut == last else window.start + int(places.ends[cut - 1]) - ahead
        chunks.append(Window(start, end, cut - begin))
        firsts.append(begin if chunks[1:] or window.repeated else 0)
        begin = cut
    return (chunks, firsts) if chunks else ([window], [0])


def _means(vectors: Float32, found: list[list[Window]], unit: bool) -> Float32:
    """Of each row the mean of its windows' vectors, weighted by the tokens that each adds; alone, a vector stays."""
    counts = np.array([len(windows) for windows in found], dtype=np.int64)
    firsts = np.cumsum(counts) - counts
    means: Float32 = vectors[firsts]
    for row in np.flatnonzero(counts > 1):
        weights = np.array([max(1, window.tokens - window.repeated) for window in found[row]], dtype=np.float32)
        means[row] = weights @ vectors[firsts[row] : firsts[row] + counts[row]] / weights.sum()
    if unit:
        means[counts > 1] = normalize(means[counts > 1])
    return means


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: found {value!r}, expected a whole number from {least} up.")


def _whole(model: Encoder) -> Form:
    """Vectors as the engine gives them, whatever the model's `truncate_dim`: its callers cut and quantise."""
    return Form(model.manifest.model.embedding_dim, "float32", unit=False, ranges=None)


def _dense(model: Encoder) -> Float32 | None:
    """The weights of the Dense layer, float32 [d_model, embedding_dim]; None: there is none."""
    if not model.manifest.model.dense:
        return None
    path = model.folder / model.manifest.variants[model.variant].files[0].path
    weights = read_initializers(path).get(DENSE)
    sizes = model.manifest.model.d_model, model.manifest.model.embedding_dim
    if weights is None or weights.shape != sizes:
        found = "missing" if weights is None else f"of shape {weights.shape}"
        raise BundleError(f"{path}: {DENSE} is {found}, late chunks need it of {sizes}. Export the checkpoint again.")
    dense: Float32 = np.asarray(weights, dtype=np.float32)  # int4's is float16
    return dense

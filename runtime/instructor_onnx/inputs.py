"""Every accepted form of `sentences` -> rows. Knows nothing about tokens or vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

HALF_PAIR = "half a surrogate pair: decode it with errors='replace', or mend what cut it."
EXPECTED = "expected a string, [instruction, text] or {'instruction': ..., 'text': ...}"


class Row(NamedTuple):
    """One text under one instruction; an empty instruction means none."""

    instruction: str
    text: str


def as_rows(sentences: Any, prompt: str = "") -> tuple[list[Row], bool]:
    """Turn what a caller gave `encode()` into rows, without changing it.

    Args:
        sentences: one string, or any iterable (list, tuple, generator, array, series ...) of rows. A row is a
            string (no instruction), `[instruction, text]` as list or tuple (a third element, which the first
            model cards used to send, is ignored), or a dict with `text` and, optionally, `instruction`.
        prompt: the instruction of rows that come without one.

    Returns:
        The rows, and whether one plain string was given (the answer is then a single vector).

    Raises:
        TypeError: names the row and what was expected.
        ValueError: a row holds half a surrogate pair, which has no bytes in UTF-8; names the row.
    """
    if isinstance(sentences, str):
        return [as_row(sentences, 0, prompt)], True
    # Lists first, here and below: they are most common, and abstract classes take a while to ask.
    if not isinstance(sentences, list) and (
        isinstance(sentences, Mapping | bytes) or not isinstance(sentences, Iterable)
    ):
        raise TypeError(
            f"sentences: found one {type(sentences).__name__}, expected a string or a list of rows; "
            f"put it in a list. For each row: {EXPECTED}."
        )
    return [as_row(row, index, prompt) for index, row in enumerate(sentences)], False


def as_row(row: Any, index: int, prompt: str = "") -> Row:
    """One row of the input; `index` is its place, for the error.

    Raises:
        TypeError, ValueError: as `as_rows`.
    """
    if isinstance(row, str):
        if not is_unicode(row):
            raise ValueError(f"row {index}: holds {HALF_PAIR}")
        return Row(prompt, row)
    if isinstance(row, list | tuple):
        parts: Sequence[Any] = row
    elif isinstance(row, Mapping):
        unknown = set(row) - {"instruction", "text"}
        if unknown or "text" not in row:
            raise TypeError(f"row {index}: found a dict with keys {sorted(map(str, row))}, {EXPECTED}.")
        parts = row.get("instruction", prompt), row["text"]
    elif isinstance(row, Iterable) and not isinstance(row, bytes | set | frozenset):
        parts = list(row)
    else:
        raise TypeError(f"row {index}: found {type(row).__name__}, {EXPECTED}.")
    if len(parts) not in (2, 3):
        raise TypeError(f"row {index}: found {len(parts)} elements, {EXPECTED}.")
    instruction, text = parts[0], parts[1]
    for name, value in (("instruction", instruction), ("text", text)):
        if not isinstance(value, str):
            raise TypeError(f"row {index}: its {name} is {type(value).__name__} ({value!r:.40}), expected a string.")
        if not is_unicode(value):
            raise ValueError(f"row {index}: its {name} holds {HALF_PAIR}")
    return Row(instruction, text)


def is_unicode(text: str) -> bool:
    """Whether a string can be written as UTF-8; half a surrogate pair, as in "\\ud83d", cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False

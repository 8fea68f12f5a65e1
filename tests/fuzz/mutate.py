"""Changes to JSON, text and bytes that a random generator chooses. Knows no format of ours."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

# What JSON can hold and Python's json.dumps does not write, put in for these strings.
RAW = {"@deep@": "[" * 100_000, "@digits@": "9" * 5000, "@1e400@": "1e400", "@twice@": '1, "twice": 2'}
PATHS = ("../x", "/etc/passwd", "..\\x", "C:x", "C:\\x", ".", "..", "/", "//", "a/../b", "x\0y", "é" * 300, "a" * 5000)
TEXTS = ("", " ", "0", "-1", "é", "\0", "\ud83d", "\U0001f600", "a" * 5000, "@deep@", "@digits@", "@1e400@", *PATHS)
NUMBERS = (0, 1, -1, -3, 2, 3, 255, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 63, -(1 << 63), 10**30)
FLOATS = (0.5, -0.0, 1e-45, 1e308, float("nan"), float("inf"), -float("inf"))
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, ["a"], [0], {"a": 0})


def odd_value(rng: Random) -> Any:
    """Something that a JSON value is not expected to be."""
    return copy.deepcopy(rng.choice(rng.choice((TEXTS, NUMBERS, FLOATS, OTHERS))))


def change_json(rng: Random, value: Any, times: int | None = None) -> Any:
    """A copy of a JSON value with one to three places changed."""
    value = copy.deepcopy(value)
    for _ in range(times or rng.choice((1, 1, 1, 2, 3))):
        value = _change_once(rng, value)
    return value


def _change_once(rng: Random, value: Any) -> Any:
    holder, key = _place(rng, value)
    if holder is None:
        return odd_value(rng)
    operation = rng.randrange(8)
    if operation == 0:
        del holder[key]
    elif operation == 1 and isinstance(holder, dict):
        holder[rng.choice((str(key) * 2, "", "__class__", "a" * 5000, "\ud83d"))] = holder.pop(key)
    elif operation == 2 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    elif operation == 3:
        source, name = _place(rng, value)  # a value from elsewhere in the same document
        holder[key] = copy.deepcopy(source[name]) if source is not None else None
    elif operation == 4 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = rng.choice((holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 2, str(holder[key])))
    elif operation == 5 and isinstance(holder[key], str):
        holder[key] = change_text(rng, holder[key])
    else:
        holder[key] = odd_value(rng)
    return value


def _place(rng: Random, value: Any) -> tuple[Any, Any]:
    """A random place in a JSON value, as its container and key; a level further down with every step."""
    holder, key = None, None
    while isinstance(value, dict | list) and value and (holder is None or rng.random() < 0.85):
        holder = value
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = holder[key]
    return holder, key


def write_json(value: Any) -> bytes:
    """JSON text, with NaN as it is and lone surrogates as escapes."""
    text = json.dumps(value)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode()


def change_text(rng: Random, text: str) -> str:
    """A text with a piece taken out, doubled or put in."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((0, 1, 1, 2, 8, 64)))
    piece = rng.choice((text[start:end] * 2, "", rng.choice(TEXTS), text[start:end].swapcase(), "a", "ﷺ"))
    return text[:start] + piece + text[end:]


def damage(rng: Random, data: bytes) -> bytes:
    """Bytes as a bad disk, a broken copy or a stranger leaves them."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        data = rng.choice(DAMAGES)(rng, data)
    return data


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 8, 64, 1024)))


def _flip(rng: Random, data: bytes) -> bytes:
    if not data:
        return b"\xff"
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _double(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 1, 100)) + data[end:]


def _overwrite(rng: Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    odd = rng.choice(
        (b"\0", b"\xff", b"\x80", b"\x7f", b"\n", b'"', b"\xed\xa0\xbd", b"\xff\xff\xff\xff\xff\xff\xff\x7f")
    )
    return data[:start] + odd * rng.choice((1, 1, end - start)) + data[end:]


DAMAGES: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _flip, _cut, _remove, _double, _overwrite)


def odd_file(rng: Random, path: Path, *more: Callable[[], object]) -> None:
    """Put something else in a file's place, or nothing; `more` are further ways to make it."""
    path.unlink()
    makers: tuple[Callable[[], object], ...] = (
        lambda: None,
        path.mkdir,
        path.touch,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path.name),
    )
    rng.choice((*makers, *more))()

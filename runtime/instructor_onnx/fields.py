"""JSON of a stranger -> a dataclass, each field checked for its type and limits.

A field's type is its check: `int`, `str`, `X | None`, tuples, dicts, dataclasses; `Annotated[int, range(1, 9)]` and
`Annotated[float, Between(0, 1)]` have limits. Fields that no dataclass has are ignored: a later version's.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

MOST_TEXT = 1000  # characters of a name or path
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
UNFIT_PROMPT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # the same, but for tabs and line breaks

Prompt = Annotated[str, "may have line breaks"]

T = TypeVar("T")


class FieldError(ValueError):
    """A file or field that is not as expected; names it, what was found and what was expected."""


@dataclass(frozen=True)
class Between:
    """The limits of a float, both included."""

    low: float
    high: float


def read_json(path: Path, what: str, most_bytes: int) -> Any:
    """What a JSON file holds that should be `what` ("a manifest") and has at most so many bytes.

    Raises:
        FieldError: it is larger, cannot be read, or is no JSON.
    """
    try:
        if (size := path.stat().st_size) > most_bytes:
            raise FieldError(f"{path}: {size:,} bytes, {what} has at most {most_bytes:,}.")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise FieldError(f"{path}: cannot be read ({error.strerror}).") from None
    except FieldError:
        raise
    except (ValueError, RecursionError) as error:
        raise FieldError(f"{path}: not valid JSON ({error}).") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def parse(kind: type[T], value: Any, where: str) -> T:
    """Build dataclass `kind` from JSON, field by field; `where` is the path to name in errors.

    Raises:
        FieldError: a field is missing, of the wrong type or past its limits.
    """
    if not isinstance(value, Mapping):
        raise FieldError(f"{where}: expected an object, found {type(value).__name__}.")
    hints = typing.get_type_hints(kind, include_extras=True)
    arguments = {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        if each.name not in value:
            if each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING:
                continue
            raise FieldError(f"{where}: {each.name!r} is missing.")
        arguments[each.name] = _convert(hints[each.name], value[each.name], f"{where}: {each.name}")
    return kind(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # or None; Annotated[...] | None is the latter
        return None if value is None else _convert(inner[0], value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise FieldError(f"{where}: expected an object, found {type(value).__name__}.")
        return {_text(key, where): _convert(inner[1], item, f"{where}.{key:.60}") for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise FieldError(f"{where}: expected a list, found {type(value).__name__}.")
        return tuple(_convert(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, where)
    if hint == Prompt:
        return _text(value, where, UNFIT_PROMPT)
    plain, allowed = (inner[0], inner[1]) if origin is Annotated else (hint, None)
    return _scalar(plain, allowed, value, where)


def _scalar(plain: type, allowed: range | Between | None, value: Any, where: str) -> Any:
    accepted = (int, float) if plain is float else (plain,)
    if type(value) not in accepted:
        raise FieldError(f"{where}: expected {plain.__name__}, found {value!r:.60}.")
    if isinstance(allowed, range) and value not in allowed:
        raise FieldError(
            f"{where}: expected a whole number from {allowed[0]:,} to {allowed[-1]:,}, found {value!r:.60}."
        )
    if plain is float and not abs(value) <= sys.float_info.max:
        raise FieldError(f"{where}: expected a finite number, found {value!r:.60}.")
    if isinstance(allowed, Between) and not allowed.low <= value <= allowed.high:
        raise FieldError(f"{where}: expected a number from {allowed.low:g} to {allowed.high:g}, found {value!r:.60}.")
    return _text(value, where) if isinstance(value, str) else value


def _text(value: Any, where: str, unfit: re.Pattern[str] = UNPRINTABLE) -> str:
    """A name or path that can be printed and looked up, or an instruction."""
    if not isinstance(value, str) or len(value) > MOST_TEXT or unfit.search(value):
        raise FieldError(f"{where}: expected at most {MOST_TEXT:,} printable characters, found {value!r:.60}.")
    return value

"""Input files -> records, one at a time. Knows nothing about vectors or outputs."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from instructor_onnx.inputs import Row

INPUT_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".txt": "text"}
MAX_LINE = 1 << 26  # bytes; a file without line ends must not fill the memory
MAX_DEPTH = 100  # of lists and objects in a jsonl line; what is deeper, an output may be unable to write


class Record(NamedTuple):
    """One row of the input and where it stood."""

    line: int  # from 1; a csv row of several lines has its first
    row: Row
    fields: dict[str, Any]  # what a jsonl or parquet output carries over


@dataclass(frozen=True)
class Columns:
    """Where a record's parts are found."""

    text: str = "text"
    instruction: str | None = None  # None: a column "instruction" where there is one
    fixed_instruction: str | None = None  # the instruction of every text; columns are not looked at
    reserved: str | None = None  # a name the output needs for itself


class Lines:
    """The lines of a binary stream, as text. Counts and hashes what it has handed out, and reads no further."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.number = 0  # of the line handed out last, from 1
        self.bytes = 0  # handed out
        self._stream = stream
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all bytes handed out so far."""
        return self._digest.hexdigest()

    def error(self, line: int, problem: object) -> ValueError:
        """What is wrong with a line, with its place."""
        return ValueError(f"{self.name}, line {line}: {problem}")

    def __iter__(self) -> Iterator[str]:
        while raw := self._readline():
            self.number += 1
            self.bytes += len(raw)
            self._digest.update(raw)
            if len(raw) > MAX_LINE:
                raise self.error(self.number, f"longer than {MAX_LINE:,} bytes. Is --input-format right?")
            try:
                yield raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise self.error(
                    self.number, f"not UTF-8 ({error.reason} at byte {error.start}). Convert the file with iconv."
                ) from None

    def _readline(self) -> bytes:
        try:
            return self._stream.readline(MAX_LINE + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.error(self.number + 1, f"damaged gzip file ({error}). Compress it again.") from None


def input_format_of(source: Path | None) -> str:
    """The format that a file's name tells, `.gz` aside.

    Raises:
        ValueError: it tells none.
    """
    suffixes = [] if source is None else source.suffixes
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if not suffixes or suffixes[-1] not in INPUT_FORMATS:
        name = "stdin" if source is None else str(source)
        raise ValueError(f"{name}: no format is known from this name. Say --input-format jsonl, csv or text.")
    return INPUT_FORMATS[suffixes[-1]]


@contextmanager
def open_lines(source: Path | None) -> Iterator[Lines]:
    """The lines of a file, unpacked where it ends in .gz, or (None) of stdin.

    Raises:
        ValueError: stdin is closed.
    """
    if source is None:
        if sys.stdin is None:
            raise ValueError("stdin: is closed. Name a file, or send texts through a pipe.")
        yield Lines(sys.stdin.buffer, "stdin")
    else:
        with cast(BinaryIO, gzip.open(source) if source.suffix == ".gz" else source.open("rb")) as stream:
            yield Lines(stream, str(source))


def read_records(lines: Lines, input_format: str, columns: Columns) -> Iterator[Record]:
    """The records of an input, in order.

    Args:
        input_format: "jsonl" (an object, a string or [instruction, text] on each line; blank lines are skipped),
            "csv" (the first line names the columns) or "text" (each line is a text, a blank one too).

    Raises:
        ValueError: names the line, the column and the fix.
    """
    read = {"jsonl": read_jsonl, "csv": _read_csv, "text": _read_text}[input_format]
    for line, value in read(lines):
        try:
            record = _as_record(line, value, columns)
        except ValueError as error:
            raise lines.error(line, error) from None
        yield record


def _read_text(lines: Lines) -> Iterator[tuple[int, Any]]:
    for line in lines:
        yield lines.number, line.removesuffix("\n").removesuffix("\r")


def read_jsonl(lines: Lines) -> Iterator[tuple[int, Any]]:
    """The number and the JSON value of each line that is not blank.

    Raises:
        ValueError: names the line.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_number, parse_float=_finite)
            if line.count("[") + line.count("{") > MAX_DEPTH and _is_deep(value):
                raise ValueError(f"more than {MAX_DEPTH} lists and objects in each other")
            if "\\u" in line:  # an escape can smuggle in half a surrogate pair, which nothing can write
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise lines.error(lines.number, f"not valid JSON ({error}). Each line has to be one JSON value.") from None
        yield lines.number, value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON; write null")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits:.40} is more than a float can hold; write a string")
    return number


def _is_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other more than MAX_DEPTH deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _read_csv(lines: Lines) -> Iterator[tuple[int, Any]]:
    # The process's, and by default 131,072 characters, less than a long document. Nobody's is lowered.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    first = size = 0

    def lines_of_a_row() -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            if size > MAX_LINE:
                raise lines.error(first, f"a row of more than {MAX_LINE:,} characters. Is a quote left open?")
            yield line

    reader = csv.reader(lines_of_a_row(), strict=True)
    header: list[str] | None = None
    while True:
        first, size = lines.number + 1, 0
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise lines.error(
                first, f'not valid CSV ({error}). Put "..." around fields with commas, quotes or line ends.'
            ) from None
        if values is None:
            break
        if not values:
            continue
        if header is None:
            header = values
            if len(set(header)) < len(header):
                raise lines.error(first, f"the header names a column twice ({', '.join(header):.200}). Rename one.")
        elif len(values) != len(header):
            raise lines.error(
                first,
                f"{len(values)} fields, the header has {len(header)} ({', '.join(header):.200}). "
                'Put "..." around fields with commas.',
            )
        else:
            yield first, dict(zip(header, values, strict=True))
    if header is None:
        raise lines.error(1, "empty, where a CSV file has a header that names its columns. Is it the right file?")


def _as_record(line: int, value: Any, columns: Columns) -> Record:
    if isinstance(value, str):
        value = {columns.text: value}
    elif isinstance(value, list):
        if len(value) not in (2, 3):  # a third element, which the first model cards had, is ignored
            raise ValueError(f"a list of {len(value)}, expected [instruction, text].")
        if columns.fixed_instruction is not None or columns.instruction is not None:
            raise ValueError("brings its own instruction: leave --instruction and --instruction-column out.")
        columns = Columns(reserved=columns.reserved)
        value = {"instruction": value[0], "text": value[1]}
    elif not isinstance(value, dict):
        raise ValueError(f"found {type(value).__name__}, expected an object, a string or [instruction, text].")
    if columns.reserved in value:
        raise ValueError(f"has a column {columns.reserved!r} already. Name the new one with --embedding-column.")
    text = _string(value, columns.text, "--text-column")
    if columns.fixed_instruction is not None:
        instruction = columns.fixed_instruction
    elif columns.instruction is not None:
        instruction = _string(value, columns.instruction, "--instruction-column")
    elif "instruction" in value and columns.text != "instruction":
        instruction = _string(value, "instruction", "--instruction-column")
    else:
        instruction = ""
    return Record(line, Row(instruction, text), value)


def _string(fields: dict[str, Any], column: str, option: str) -> str:
    if column not in fields:
        raise ValueError(f"no column {column!r} (it has {', '.join(map(str, fields)):.200}). Name one with {option}.")
    value = fields[column]
    if not isinstance(value, str):
        raise ValueError(
            f"column {column!r} holds {type(value).__name__} ({value!r:.40}), expected a string. "
            f"Mend the row, or name another column with {option}."
        )
    return value

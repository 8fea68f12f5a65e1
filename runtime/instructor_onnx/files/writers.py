"""Vectors -> a file that grows chunk by chunk in a work folder, in each output format. Knows no input and no model.

A writer's `position` after a chunk, given to `open_writer` again, takes back everything written since.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from instructor_onnx.extras import pip_install
from instructor_onnx.files.description import KEY, Description
from instructor_onnx.vectors import Form

Vectors = npt.NDArray[Any]  # [rows, columns], float32, or codes of one byte
Fields = list[dict[str, Any]]

OUTPUT_FORMATS = {".npy": "npy", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
NPY_HEADER = 128  # bytes; numpy pads a 2-D header to this, with room for any number of rows
ROW_GROUP = 8192  # rows; parquet parts are merged into groups of about this many
GROUP_BYTES = 1 << 26  # or into smaller ones of about this size
DATA = "data"  # the growing file of npy and jsonl
PART, PARTS = "part-{:06d}.parquet", "part-*.parquet"
MERGED = "merged.parquet"


class Writer(Protocol):
    """What every output format does."""

    @property
    def position(self) -> int:
        """Where the next chunk goes: a byte, or the number of a part."""

    def append(self, fields: Fields, vectors: Vectors) -> None:
        """Write one chunk and have it on the disk: the input fields and the vectors [rows, dim]."""

    def finish(self, description: Description) -> Path:
        """Complete the output; the finished file, inside the work folder."""

    def close(self) -> None:
        """Let go of the files."""


def output_format_of(target: Path | None) -> str:
    """The format that a file's name tells; stdout (None) is jsonl.

    Raises:
        ValueError: it tells none.
    """
    if target is None:
        return "jsonl"
    if target.suffix not in OUTPUT_FORMATS:
        raise ValueError(
            f"{target}: no format is known from this name. End it in .npy, .jsonl or .parquet, or say --output-format."
        )
    return OUTPUT_FORMATS[target.suffix]


def check_available(output_format: str) -> None:
    """Raise ImportError where a format needs what is not installed."""
    if output_format == "parquet":
        _import_pyarrow()


def open_writer(output_format: str, folder: Path, *, form: Form, column: str, position: int | None) -> Writer:
    """A writer in work folder `folder`.

    Args:
        form: of the vectors.
        column: the name of the vectors in jsonl and parquet.
        position: where an earlier writer stood; None: begin.
    """
    if output_format == "npy":
        return NpyWriter(_GrowingFile(folder / DATA, position), form)
    if output_format == "jsonl":
        return JsonlWriter(_GrowingFile(folder / DATA, position), column)
    return ParquetWriter(folder, form, column, position or 0)


def begin_with(output_format: str, folder: Path, finished: Path, form: Form) -> int:
    """Copy a finished output into a work folder, to be added to; the writer's position there.

    Raises:
        ValueError: it is none that this writer could have made.
    """
    if output_format == "parquet":
        shutil.copyfile(finished, folder / PART.format(0))
        return 1
    if output_format == "npy":
        _check_npy(finished, form)
    shutil.copyfile(finished, folder / DATA)
    return (folder / DATA).stat().st_size


def _check_npy(path: Path, form: Form) -> None:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        same = array.dtype == form.dtype and array.ndim == 2 and array.shape[1] == form.columns
        whole = path.stat().st_size == NPY_HEADER + array.nbytes and array.flags.c_contiguous
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error!s:.200}). Write another file.") from None
    if not same or not whole:
        raise ValueError(
            f"{path}: found {array.dtype} {list(array.shape)}, expected {form.dtype} [rows, {form.columns}] as this "
            "program writes it. Write another file."
        )


def json_lines(fields: Fields, vectors: Vectors, column: str) -> bytes:
    """One JSON object a line: the input fields, then the vector."""
    name = json.dumps(column, ensure_ascii=False)
    lines = []
    for values, vector in zip(fields, vectors.tolist(), strict=True):
        # 9 digits bring every float32 back exactly; repr would print the 17 of a double
        numbers = ", ".join([f"{number:.9g}" for number in vector])
        lines.append(f"{json.dumps(values, ensure_ascii=False)[:-1]}, {name}: [{numbers}]}}\n")
    return "".join(lines).encode()


class _GrowingFile:
    """A file that is cut to a known length, then only appended to."""

    def __init__(self, path: Path, position: int | None) -> None:
        self.path = path
        self._file = path.open("wb" if position is None else "r+b")
        size = self._file.seek(0, os.SEEK_END)
        if size < (position or 0):
            self._file.close()
            raise ValueError(f"{path}: {size:,} bytes, {position:,} were written. Begin anew with --restart.")
        self.position = self._file.seek(position or 0)
        self._file.truncate()

    def append(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.sync()
        self.position += len(data)

    def rewrite_start(self, data: bytes) -> None:
        self._file.seek(0)
        self._file.write(data)
        self.sync()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class NpyWriter:
    """[rows, columns], as `numpy.save` writes it; the header, which has the number of rows, comes last."""

    def __init__(self, file: _GrowingFile, form: Form) -> None:
        self._file = file
        self._columns, self._dtype = form.columns, form.dtype.newbyteorder("<")

    @property
    def position(self) -> int:
        return self._file.position

    def append(self, fields: Fields, vectors: Vectors) -> None:
        self._reserve_header()
        self._file.append(vectors.astype(self._dtype, copy=False).tobytes())

    def finish(self, description: Description) -> Path:
        self._reserve_header()
        rows = (self._file.position - NPY_HEADER) // (self._dtype.itemsize * self._columns)
        header = io.BytesIO()
        shape = {"descr": self._dtype.str, "fortran_order": False, "shape": (rows, self._columns)}
        np.lib.format.write_array_header_1_0(header, shape)
        if header.tell() != NPY_HEADER:
            raise RuntimeError(f"numpy {np.__version__} writes a header of {header.tell()} bytes, not {NPY_HEADER}.")
        self._file.rewrite_start(header.getvalue())
        return self._file.path

    def close(self) -> None:
        self._file.close()

    def _reserve_header(self) -> None:
        if self._file.position == 0:
            self._file.append(bytes(NPY_HEADER))


class JsonlWriter:
    """The input fields and the vector, one JSON object a line."""

    def __init__(self, file: _GrowingFile, column: str) -> None:
        self._file = file
        self._column = column

    @property
    def position(self) -> int:
        return self._file.position

    def append(self, fields: Fields, vectors: Vectors) -> None:
        self._file.append(json_lines(fields, vectors, self._column))

    def finish(self, description: Description) -> Path:
        self._file.sync()
        return self._file.path

    def close(self) -> None:
        self._file.close()


class ParquetWriter:
    """The input fields and the vector as columns: a part a chunk, merged at the end.

    A column's type is what its values have in all chunks together: whole numbers become floats where some are,
    a missing value is null.
    """

    def __init__(self, folder: Path, form: Form, column: str, parts: int) -> None:
        self._pa, self._pq = _import_pyarrow()
        self._folder = folder
        self._columns, self._type = form.columns, self._pa.from_numpy_dtype(form.dtype)
        self._column = column
        vector = self._pa.list_(self._type, form.columns)
        self._schema = self._pa.schema([(column, vector)])
        self.position = 0
        for number in range(parts):
            with self._part_errors(number):
                self._schema = self._widened(self._pq.read_schema(self._part(number)))
            self.position += 1

    def append(self, fields: Fields, vectors: Vectors) -> None:
        names = list(dict.fromkeys(name for values in fields for name in values))
        numbers = self._pa.array(vectors.ravel(), type=self._type)
        try:
            columns = {name: self._column_of(name, fields) for name in names}
            columns[self._column] = self._pa.FixedSizeListArray.from_arrays(numbers, self._columns)
            table = self._pa.table(columns)
            schema = self._widened(table.schema)
            if any(schema.field(field.name).type != field.type for field in self._schema):
                for number in range(self.position):  # a type that earlier parts cannot take has to fail now
                    self._cast(self._read(number), schema)
            self._write(self._part(self.position), schema, [self._cast(table, schema)])
        except self._pa.ArrowException as error:
            raise ValueError(
                f"parquet wants values of one type in a column: {error}. Mend the input, or write .jsonl."
            ) from error
        self._schema = schema
        self.position += 1

    def finish(self, description: Description) -> Path:
        merged = self._folder / MERGED
        described = {KEY: json.dumps(description, ensure_ascii=False)}
        self._write(merged, self._schema.with_metadata(described), self._groups())
        return merged

    def close(self) -> None:
        """Nothing stays open between chunks."""

    def _part(self, number: int) -> Path:
        return self._folder / PART.format(number)

    def _column_of(self, name: str, fields: Fields) -> Any:
        try:
            return self._pa.array([values.get(name) for values in fields])
        except (self._pa.ArrowException, OverflowError) as error:
            raise self._pa.ArrowInvalid(f"column {name!r}: {error}") from None

    def _widened(self, schema: Any) -> Any:
        """The schema so far, made to hold another part; the vectors stay last."""
        merged = self._pa.unify_schemas([self._schema, schema.remove_metadata()], promote_options="permissive")
        others = [field for field in merged if field.name != self._column]
        return self._pa.schema([*others, merged.field(self._column)])

    def _cast(self, table: Any, schema: Any) -> Any:
        """The table in a wider schema, nulls where it has no such column."""
        columns = []
        for field in schema:
            try:
                found = field.name in table.column_names
                columns.append(table[field.name].cast(field.type) if found else self._pa.nulls(len(table), field.type))
            except self._pa.ArrowException as error:
                raise self._pa.ArrowInvalid(f"column {field.name!r}: {error}") from None
        return self._pa.table(columns, schema=schema)

    def _read(self, number: int) -> Any:
        with self._part_errors(number):
            return self._pq.read_table(self._part(number), partitioning=None)

    @contextmanager
    def _part_errors(self, number: int) -> Iterator[None]:
        try:
            yield
        except (OSError, self._pa.ArrowException) as error:
            raise ValueError(f"{self._part(number)}: cannot be read ({error}). Begin anew with --restart.") from None

    def _groups(self) -> Iterable[Any]:
        """All parts in the common schema, several small ones together."""
        waiting: list[Any] = []
        for number in range(self.position):
            waiting.append(self._cast(self._read(number), self._schema))
            if sum(map(len, waiting)) >= ROW_GROUP or sum(table.nbytes for table in waiting) >= GROUP_BYTES:
                yield self._pa.concat_tables(waiting)
                waiting = []
        if waiting:
            yield self._pa.concat_tables(waiting)

    def _write(self, path: Path, schema: Any, tables: Iterable[Any]) -> None:
        with path.open("wb") as file:
            with self._pq.ParquetWriter(file, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"writing parquet needs pyarrow: {pip_install('parquet')}, or write .npy or .jsonl."
        ) from error
    return pyarrow, pyarrow.parquet

"""A file of texts -> a file of vectors, chunk by chunk: constant memory, resumable, complete or absent.

Chunks have fixed bounds and the state is saved after each (see resume.py), so a resumed run makes the same bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from instructor_onnx.files.description import Description, check_same, is_sidecar, sidecar, to_json, write_sidecar
from instructor_onnx.files.description import read as read_description
from instructor_onnx.files.records import Columns, Lines, Record, open_lines, read_records
from instructor_onnx.files.resume import DESCRIPTION, STATE_VERSION, State, clear, sync_folder, work_folder
from instructor_onnx.files.writers import DATA, Vectors, begin_with, check_available, json_lines, open_writer
from instructor_onnx.inputs import Row
from instructor_onnx.model import Losses, warn_of_cuts
from instructor_onnx.vectors import Form

Float32 = npt.NDArray[np.float32]

CHUNK_ROWS = 512  # seconds of work for a slow model on a CPU, and enough to sort by length
CHUNK_BYTES = 16 << 20  # of input, after which a chunk ends early: so many rows of 64 MB each fit no memory
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
LOG_SECONDS = 60  # between two lines of progress where stderr is no terminal
LINES_NAMED = 5  # lines that a warning names before it only counts

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """The part of INSTRUCTOR that is used here."""

    def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Losses]:
        """float32 [rows, embedding_dim], and what these do not contain."""


@dataclass(frozen=True)
class Job:
    """What to embed, and where to."""

    source: Path | None  # None: stdin
    target: Path | None  # None: stdout, jsonl only, not resumable
    input_format: str  # "jsonl", "csv" or "text"
    output_format: str  # "npy", "jsonl" or "parquet"
    columns: Columns = Columns()  # noqa: RUF009 (frozen)
    embedding_column: str = "embedding"  # the vectors' name in jsonl and parquet
    chunk_rows: int = CHUNK_ROWS  # rows between two save points
    batch_size: int = 32  # most rows of one run
    overwrite: bool = False  # replace an existing target, at the end
    append: bool = False  # add to an existing target, whose vectors must be of the same kind
    header: bool = False  # jsonl: the first line describes the vectors
    restart: bool = False  # forget what an interrupted run has done

    @property
    def folder(self) -> Path:
        """Where an unfinished output is kept."""
        if self.target is None:
            raise ValueError("stdout has no work folder.")
        return self.target.with_name(self.target.name + ".partial")

    @property
    def reserved(self) -> str | None:
        """The column that the output adds to the input's."""
        return None if self.output_format == "npy" else self.embedding_column


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    rows: int  # in the output
    resumed_rows: int  # of them, done by an earlier run
    seconds: float


def output_path(name: str) -> Path | None:
    """Where the output of that name goes: a link is followed, and None is stdout, whatever it is called."""
    if name in STDOUT:
        return None
    path = Path(name)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def prepare(job: Job) -> int | None:
    """Find what would fail, before a model is loaded and hours pass: the target, the formats, every row.

    Returns:
        The number of rows; None for an input that can be read only once (stdin, a pipe).

    Raises:
        FileNotFoundError, FileExistsError, IsADirectoryError, ImportError: with the fix.
        ValueError: a bad row; names the line, the column and the fix. Or a stream that is closed.
    """
    check_available(job.output_format)
    if job.header and job.output_format != "jsonl":
        raise ValueError(f"--header: is for jsonl; {job.output_format} describes its vectors without. Leave it out.")
    if job.append and job.target is None:
        raise ValueError("--append: stdout has nothing to add to. Name a file with -o.")
    if job.target is not None:
        _refuse_existing(job)
        if not job.target.parent.is_dir():
            raise FileNotFoundError(f"{job.target.parent}: no such folder. Make it first: mkdir -p.")
    elif job.output_format != "jsonl":
        raise ValueError(f"stdout takes jsonl, not {job.output_format}. Name a file with -o.")
    elif sys.stdout is None:
        raise ValueError("stdout: is closed. Name a file with -o.")
    if job.source is None:
        return None
    if not job.source.exists():
        raise FileNotFoundError(f"{job.source}: no such file. For stdin, say -.")
    if job.source.is_dir():
        raise IsADirectoryError(f"{job.source}: is a folder. Name a file of texts.")
    if not job.source.is_file():
        return None
    with open_lines(job.source) as lines:
        return sum(1 for _ in _read(lines, job))


def run(
    model: Encoder, job: Job, *, form: Form, description: Description, total: int | None, show_progress: bool = True
) -> Summary:
    """Embed every row of the input; continue where an interrupted run of the same job stopped.

    Args:
        form: of the vectors that are written.
        description: of them (`describe`); a run is only continued with the same.
        total: rows of the input, as far as known, for the time left.

    Raises:
        ValueError: a bad row, or an interrupted run that this one cannot continue; names the fix.
        FileExistsError: the target exists and overwriting it was not asked for.
        RuntimeError: another process works on this target; a vector is not finite.
        OSError: the disk is full, ... What was done is kept.
    """
    started = time.monotonic()
    with open_lines(job.source) as lines, closing(_Embedder(model, form, job, lines)) as embed:
        if job.target is None:
            rows, resumed = _to_stdout(embed, job, description, lines, total, show_progress), 0
        else:
            with work_folder(job.folder):
                _refuse_existing(job)  # again: another run may just have finished it
                rows, resumed = _to_file(embed, job, job.target, description, lines, total, show_progress)
    return Summary(rows, resumed, time.monotonic() - started)


def _to_file(
    embed: _Embedder, job: Job, target: Path, description: Description, lines: Lines, total: int | None, show: bool
) -> tuple[int, int]:
    """Rows that are done, and how many of them an earlier run had done."""
    fixed = {**_fixed_options(job), **description}
    if job.append and target.exists():
        check_same(target, read_description(target, job.output_format), description)
        fixed["--append to bytes"] = target.stat().st_size
    if job.restart:
        clear(job.folder)
    state = _last_state(job, fixed)
    records = _read(lines, job)
    if state:
        _skip(records, lines, state, job)
        logger.info("%s: continuing after %s rows", job.folder, f"{state.rows:,}")
    rows = resumed = state.rows if state else 0
    position = state.position if state else _begun(job, target, embed.form, description)
    writer = open_writer(job.output_format, job.folder, form=embed.form, column=job.embedding_column, position=position)
    with closing(writer), _progress(resumed, total, show) as progress:
        for chunk in _chunks(records, lines, job):
            writer.append([record.fields for record in chunk], embed(chunk))
            rows += len(chunk)
            State(STATE_VERSION, rows, writer.position, lines.sha256, fixed).write(job.folder)
            progress.update(len(chunk))
        finished = writer.finish(description)
    if job.output_format == "npy":
        write_sidecar(target, description, job.folder / DESCRIPTION)  # first: nobody adds to a file without
    finished.replace(target)
    sync_folder(target.parent)
    clear(job.folder)
    return rows, resumed


def _begun(job: Job, target: Path, form: Form, description: Description) -> int | None:
    """Where a writer begins: after what is added to, or a header; None: at the very beginning."""
    if job.append and target.exists():
        return begin_with(job.output_format, job.folder, target, form)
    if job.header:
        return (job.folder / DATA).write_bytes(to_json(description))
    return None


def _to_stdout(
    embed: _Embedder, job: Job, description: Description, lines: Lines, total: int | None, show: bool
) -> int:
    rows = 0
    if job.header:
        sys.stdout.buffer.write(to_json(description))
    with _progress(0, total, show) as progress:
        for chunk in _chunks(_read(lines, job), lines, job):
            vectors = embed(chunk)
            sys.stdout.buffer.write(json_lines([record.fields for record in chunk], vectors, job.embedding_column))
            sys.stdout.buffer.flush()
            rows += len(chunk)
            progress.update(len(chunk))
    return rows


class _Embedder:
    """Chunks -> vectors. Tells of texts that were cut with the first chunk that has some, and in sum when closed."""

    def __init__(self, model: Encoder, form: Form, job: Job, lines: Lines) -> None:
        self.form = form
        self._model, self._job, self._lines = model, job, lines
        self._truncated = self._told = 0

    def __call__(self, chunk: list[Record]) -> Vectors:
        """[rows, columns] in `form`, every number finite."""
        vectors, losses = self._model._embed([record.row for record in chunk], self._job.batch_size)
        if not self._truncated:
            warn_of_cuts(losses)
            self._told = losses.truncated
        self._truncated += losses.truncated
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise RuntimeError(
                f"{self._lines.name}, line {chunk[bad[0]].line}: its vector is not finite (NaN or inf). "
                "Take a more exact --variant; `instructor-onnx check` tells whether the bundle is whole."
            )
        if masked := losses.masked:
            logger.warning(
                "%s, line %s%s: the vector is all zeros, as the instruction covers every token; "
                "end the instruction with a colon and a space.",
                self._lines.name,
                ", ".join(str(chunk[row].line) for row in masked[:LINES_NAMED]),
                f" and {len(masked) - LINES_NAMED} more" if len(masked) > LINES_NAMED else "",
            )
        return self.form(vectors)

    def close(self) -> None:
        """The last word."""
        if self._truncated > self._told:
            logger.warning("in all, %s texts were cut; --max-seq-length keeps more.", f"{self._truncated:,}")


def _read(lines: Lines, job: Job) -> Iterator[Record]:
    return read_records(lines, job.input_format, dataclasses.replace(job.columns, reserved=job.reserved))


def _chunks(records: Iterator[Record], lines: Lines, job: Job) -> Iterator[list[Record]]:
    """Rows that are embedded and saved together; where one chunk ends depends only on the input since the last."""
    instruction = len(job.columns.fixed_instruction or "")
    chunk: list[Record] = []
    begun = lines.bytes
    for record in records:
        chunk.append(record)
        if len(chunk) == job.chunk_rows or lines.bytes - begun + len(chunk) * instruction > CHUNK_BYTES:
            yield chunk
            chunk, begun = [], lines.bytes
    if chunk:
        yield chunk


def _fixed_options(job: Job) -> dict[str, Any]:
    """The options that decide what the output holds, by their names on the command line."""
    return {
        "--input-format": job.input_format,
        "--output-format": job.output_format,
        "--text-column": job.columns.text,
        "--instruction-column": job.columns.instruction,
        "--instruction": job.columns.fixed_instruction,
        "--embedding-column": job.reserved,
        "--chunk-rows": job.chunk_rows,
        "--append": job.append,
        "--header": job.header,
    }


def _last_state(job: Job, fixed: dict[str, Any]) -> State | None:
    """Where to continue; None: at the beginning.

    Raises:
        ValueError: the interrupted run had other options or another model.
    """
    state = State.read(job.folder)
    if state is None or (job.output_format != "parquet" and not (job.folder / DATA).exists()):
        return None  # without its data, a run had finished and was killed while it cleaned up
    for name, value in fixed.items():
        before = state.fixed.get(name)
        if before != value:
            raise ValueError(
                f"{job.folder}: was begun with {name} = {before!r:.200}, now it is {value!r:.200}. "
                "Give the same again to continue, or begin anew with --restart."
            )
    return state


def _skip(records: Iterator[Record], lines: Lines, state: State, job: Job) -> None:
    """Pass over the rows that are done, and see that they are the same rows.

    Raises:
        ValueError: the input has changed.
    """
    skipped = sum(1 for _ in itertools.islice(records, state.rows))
    if skipped < state.rows or lines.sha256 != state.input_sha256:
        raise ValueError(
            f"{lines.name}: its first {state.rows:,} rows are not those that {job.folder} was begun with. "
            "Give the same input to continue, or begin anew with --restart."
        )


def _refuse_existing(job: Job) -> None:
    target = job.target
    if target is None:
        return
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder. Name a file with -o.")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise FileExistsError(
            f"{target}: is no regular file, and is not replaced. For a pipe or device, say -o - and >."
        )
    if target.exists() and not job.overwrite and not job.append:
        raise FileExistsError(
            f"{target}: exists. Name another output, replace it with --overwrite, or add to it with --append."
        )
    beside = sidecar(target)
    if job.output_format == "npy" and os.path.lexists(beside) and not is_sidecar(beside):
        raise FileExistsError(f"{beside}: exists, and goes beside {target.name}. Move it away, or name another output.")


class _Lines:
    """What a log has instead of a bar: a line a minute."""

    def __init__(self, done: int, total: int | None) -> None:
        self._done, self._total = done, "" if total is None else f" of {total:,}"
        self._next = time.monotonic() + LOG_SECONDS

    def update(self, rows: int) -> None:
        self._done += rows
        if time.monotonic() >= self._next:
            sys.stderr.write(f"Embedding: {self._done:,}{self._total} texts\n")
            self._next += LOG_SECONDS


@contextmanager
def _progress(done: int, total: int | None, show: bool) -> Iterator[_Lines | tqdm[Any]]:
    if show and sys.stderr is not None and not sys.stderr.isatty():
        yield _Lines(done, total)
        return
    with tqdm(
        desc="Embedding", unit="text", initial=done, total=total, mininterval=0.5, disable=not show, file=sys.stderr
    ) as bar:
        yield bar

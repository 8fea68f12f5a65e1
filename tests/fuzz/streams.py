"""What `encode` reads: rows in files of every format, packed or not, damaged, large."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
from instructor_onnx import INSTRUCTOR
from instructor_onnx.files import stream
from instructor_onnx.files.description import describe
from instructor_onnx.files.records import Columns
from instructor_onnx.files.stream import Job

from tests.fuzz.bundles import engines, small_bundle
from tests.fuzz.mutate import OTHERS, change_json, change_text, damage, odd_value, write_json
from tests.fuzz.verdict import Wrong

Float32 = npt.NDArray[np.float32]
FORMATS = ("npy", "jsonl", "parquet")
TEXTS = ("a", "What rises in the hills?", 'The river, "said" she', "é ½\u2028ﷺ", "", "a\tb", "<pad> </s>", "ab " * 700)
INSTRUCTIONS = ("", "Represent the question: ", "Represent:", " ", "a b c")
COLUMNS = ("text", "instruction", "embedding", "id", "", "é", "a" * 300)
OPEN_ENDS = (b"\xef\xbb\xbf", b"\r\n", b"\r", b"\0", b"\xff", b"\n\n", b" ")
# Lines of some megabytes, and one that does not end within them; made when they are needed.
LARGE: tuple[Callable[[], bytes], ...] = (
    lambda: b'"' + b"a b " * 2_000_000 + b'"\n',
    lambda: b'"' + "ﷺ".encode() * 2_000_000 + b'"\n',
    lambda: b'"' + b"a" * 8_000_000 + b'"\n',
    lambda: b'"' + (b"x" * 400_000 + b"\n") * 20,
    lambda: b"a," * 4_000_000,
    lambda: b"[" * 8_000_000,
)


class Streams:
    """What both kinds share: a model, and a folder for every case."""

    documented: tuple[type[BaseException], ...] = (ValueError, RuntimeError, FileNotFoundError, FileExistsError)

    def __init__(self, folder: Path) -> None:
        self.model = INSTRUCTOR(small_bundle(folder / "bundle"), device="cpu", engine=engines()[0], num_threads=1)
        self.form = self.model.form()
        self.description = describe(self.model, self.form, Columns())
        self.folder = folder / "case"
        self.named: tuple[str, ...] = (str(self.folder), "--embedding-column", "-o", "column")

    def close(self) -> None:
        """Nothing runs."""

    def fresh(self) -> None:
        """An empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def run(self, job: Job) -> None:
        """What the command does."""
        total = stream.prepare(job)
        stream.run(self.model, job, form=self.form, description=self.description, total=total, show_progress=False)


class Inputs(Streams):
    """Rows in jsonl, csv or text, packed or not, then changed; what is written has to hold each row's own vector."""

    documented: tuple[type[BaseException], ...] = (*Streams.documented, IsADirectoryError)

    def attempt(self, rng: Random) -> bool:
        self.fresh()
        name, contents = _file(rng)
        changed = _changed(rng, contents)
        if rng.random() < 0.2:
            name, changed = name + ".gz", gzip.compress(changed, 1)
            if rng.random() < 0.7:
                changed = rng.choice((damage(rng, changed), changed * 2, changed + b"\0" * 100, changed[:-5]))
        source = self.folder / name
        source.write_bytes(changed)
        job = self._job(rng, source)
        self.run(job)
        assert job.target is not None
        self._check(job, job.target)
        return changed == contents

    def _job(self, rng: Random, source: Path) -> Job:
        output = rng.choice(FORMATS)
        formats = {".jsonl": "jsonl", ".csv": "csv", ".txt": "text"}
        return Job(
            source=source,
            target=self._target(rng, output),
            input_format=formats[Path(source.name.removesuffix(".gz")).suffix] if rng.random() < 0.9 else "jsonl",
            output_format=output,
            columns=Columns(
                text="text" if rng.random() < 0.8 else rng.choice(COLUMNS),
                instruction=None if rng.random() < 0.8 else rng.choice(COLUMNS),
                fixed_instruction=None if rng.random() < 0.8 else rng.choice(INSTRUCTIONS),
            ),
            embedding_column="embedding" if rng.random() < 0.8 else rng.choice(COLUMNS),
            chunk_rows=rng.choice((1, 2, 512)),
            batch_size=rng.choice((1, 32)),
            overwrite=rng.random() < 0.3,
            restart=rng.random() < 0.1,
        )

    def _target(self, rng: Random, output: str) -> Path:
        """A new file; now and then one that is there, or is no file."""
        target = self.folder / f"out.{output}"
        makers: tuple[Callable[[], object], ...] = (
            target.mkdir,
            target.touch,
            lambda: target.symlink_to(self.folder / "elsewhere"),
            lambda: target.symlink_to(target.name),
            lambda: target.with_name(target.name + ".partial").touch(),
            lambda: target.with_name(target.name + ".partial").symlink_to(self.folder),
        )
        if rng.random() < 0.15:
            rng.choice(makers)()
        return target

    def _check(self, job: Job, target: Path) -> None:
        """Whether a finished file can be read, and holds the vector of each row it carries."""
        if job.output_format == "npy":
            vectors = np.load(target, allow_pickle=False)
            if vectors.shape[1:] != (384,) or vectors.dtype != np.float32:
                raise Wrong(f"vectors {vectors.shape} {vectors.dtype}")
            return
        for row in _rows(target, job.output_format):
            vector = np.array(row.pop(job.embedding_column), dtype=np.float32)
            expected = self.model.encode(_readings(row, job.columns), show_progress_bar=False)
            if vector.tobytes() not in [reading.tobytes() for reading in expected]:
                raise Wrong(f"{job.output_format}: another vector than that of {row!r:.200}")


def _readings(row: dict[str, Any], columns: Columns) -> list[list[str]]:
    """What was embedded, as [instruction, text], of a row of an output file: a list's elements have columns of their
    own there, and cannot be told from an object's.
    """
    if columns.fixed_instruction is not None:
        return [[columns.fixed_instruction, row[columns.text]]]
    readings = []
    if row.get(columns.text) is not None:
        column = columns.instruction or "instruction"
        looked_at = columns.instruction is not None or column != columns.text
        readings.append([(row.get(column) or "") if looked_at else "", row[columns.text]])
    if columns.instruction is None and isinstance(row.get("instruction"), str) and isinstance(row.get("text"), str):
        readings.append([row["instruction"], row["text"]])
    return readings


def _file(rng: Random) -> tuple[str, bytes]:
    """An input's name and contents, as a tool would write them."""
    rows = [
        {"text": rng.choice(TEXTS), "instruction": rng.choice(INSTRUCTIONS), "id": index}
        for index in range(rng.choice((0, 1, 2, 5)))
    ]
    kind = rng.choice((".jsonl", ".jsonl", ".csv", ".txt"))
    if kind == ".jsonl":
        lines = [write_json(_form(rng, row)) for row in rows]
        return f"rows{kind}", b"".join(line + b"\n" for line in lines)
    if kind == ".txt":
        return f"rows{kind}", "".join(f"{row['text']}\n" for row in rows).encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, ["text", "instruction", "id"])
    writer.writeheader()
    writer.writerows(rows)
    return f"rows{kind}", text.getvalue().encode()


def _form(rng: Random, row: dict[str, Any]) -> Any:
    """A row as one of the forms that are known, now and then with something odd in it."""
    row = dict(row)
    if rng.random() < 0.3:
        row[rng.choice(("extra", "id", "", "a" * 300))] = rng.choice((odd_value(rng), rng.choice(OTHERS)))
    if rng.random() < 0.1:
        return change_json(rng, row)
    return rng.choice((row, row, row["text"], [row["instruction"], row["text"]]))


def _changed(rng: Random, contents: bytes) -> bytes:
    if rng.random() < 0.03:
        return rng.choice(LARGE)() + contents
    what = rng.randrange(5)
    if what < 2:
        return contents
    if what == 2:
        return damage(rng, contents)
    if what == 3:
        return change_text(rng, contents.decode(errors="replace")).encode(errors="surrogatepass")
    place = rng.randrange(len(contents) + 1)
    return contents[:place] + rng.choice(OPEN_ENDS) + contents[place:]


def _rows(target: Path, output: str) -> Iterator[dict[str, Any]]:
    """The rows of an output file, read strictly."""
    if output == "parquet":
        yield from pyarrow.parquet.read_table(target).to_pylist()
        return
    for line in target.read_bytes().decode().split("\n")[:-1]:
        yield json.loads(line, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise Wrong(f"jsonl: {name} is no JSON")

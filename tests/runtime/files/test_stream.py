"""Files of texts -> files of vectors: every format, kills and full disks at every point, constant memory."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest
from instructor_onnx import lock
from instructor_onnx.files import stream, writers
from instructor_onnx.files.description import read, sidecar
from instructor_onnx.files.records import Columns
from instructor_onnx.files.resume import STATE_VERSION, _digest, work_folder
from instructor_onnx.files.stream import Job, prepare, run
from instructor_onnx.inputs import Row
from instructor_onnx.model import Losses
from instructor_onnx.vectors import Form, symmetric_ranges

Float32 = npt.NDArray[np.float32]

DIM = 6
LIMIT = 512  # tokens
CHUNK = 10
ROWS = 47  # four chunks and a rest
IDENTITY = {"variant": "fp32"}
FORM = Form(DIM, "float32", False, None)
OUTPUTS = ["npy", "jsonl", "parquet"]


class FakeModel:
    """A vector of each row that depends on nothing else."""

    def __init__(self, on_call: Callable[[int], None] = lambda call: None) -> None:
        self.rows_seen: list[Row] = []
        self._on_call = on_call
        self._calls = 0

    def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Losses]:
        self._calls += 1
        self._on_call(self._calls)
        self.rows_seen += rows
        vectors = np.array([vector_of(row) for row in rows], dtype=np.float32).reshape(-1, DIM)
        return vectors, Losses(len(rows), self.cut(rows), self.masked(rows), LIMIT)

    def cut(self, rows: list[Row]) -> int:
        """How many of the rows lose something."""
        return 0

    def masked(self, rows: list[Row]) -> tuple[int, ...]:
        """The places of those that lose everything."""
        return ()


def vector_of(row: Row) -> Float32:
    digest = hashlib.sha256("\0".join(row).encode()).digest()
    return (np.frombuffer(digest[: 4 * DIM], dtype="<u4") / 2**32 - 0.5).astype(np.float32)


def texts(count: int = ROWS) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"text {i} é\u2028 {'x' * (i % 7)}"} for i in range(count)]


def write_input(folder: Path, input_format: str, rows: list[dict[str, Any]]) -> Path:
    if input_format == "jsonl":
        path, data = folder / "in.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif input_format == "csv":
        path, data = folder / "in.csv", "id,text\r\n" + "".join(f'{row["id"]},"{row["text"]}"\r\n' for row in rows)
    else:
        path, data = folder / "in.txt", "".join(row["text"] + "\n" for row in rows)
    path.write_bytes(data.encode())
    return path


def job_for(source: Path, target: Path, **options: Any) -> Job:
    suffix = {".jsonl": "jsonl", ".csv": "csv", ".txt": "text", ".gz": "text", ".npy": "npy", ".parquet": "parquet"}
    formats = {"input_format": suffix[source.suffix], "output_format": suffix[target.suffix]}
    return Job(source, target, **{"chunk_rows": CHUNK, **formats, **options})


def go(job: Job, model: FakeModel | None = None, identity: dict[str, Any] | None = None) -> stream.Summary:
    total = prepare(job)
    return run(model or FakeModel(), job, form=FORM, description=identity or IDENTITY, total=total, show_progress=False)


def content(path: Path) -> Any:
    """What has to be equal: the bytes, but of parquet the table."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def load(path: Path) -> tuple[list[dict[str, Any]] | None, Float32]:
    """The fields, where the format has them, and the vectors."""
    if path.suffix == ".npy":
        vectors: Float32 = np.load(path)
        return None, vectors
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    else:
        rows = content(path).to_pylist()
    return rows, np.array([row.pop("embedding") for row in rows], dtype=np.float32).reshape(-1, DIM)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("input_format", ["jsonl", "csv", "text"])
@pytest.mark.parametrize("count", [0, 1, CHUNK, ROWS])
def test_every_format_pair(tmp_path: Path, input_format: str, output: str, count: int) -> None:
    rows = texts(count)
    job = job_for(
        write_input(tmp_path, input_format, rows),
        tmp_path / f"out.{output}",
        columns=Columns(fixed_instruction="Represent the text: "),
    )
    summary = go(job)
    assert job.target is not None
    fields, vectors = load(job.target)
    assert summary.rows == count
    assert vectors.dtype == np.float32
    expected = [vector_of(Row("Represent the text: ", row["text"])) for row in rows]
    np.testing.assert_array_equal(vectors, np.array(expected, dtype=np.float32).reshape(-1, DIM))
    if fields is not None:
        as_read = {
            "jsonl": rows,
            "csv": [{**r, "id": str(r["id"])} for r in rows],
            "text": [{"text": r["text"]} for r in rows],
        }
        assert fields == as_read[input_format]
    assert not job.folder.exists()


def test_npy_is_what_numpy_writes(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy")
    go(job)
    expected = io.BytesIO()
    np.save(expected, np.load(tmp_path / "out.npy"))
    assert (tmp_path / "out.npy").read_bytes() == expected.getvalue()


def test_parquet_has_fixed_size_vectors_and_one_type_a_column(tmp_path: Path) -> None:
    """Chunks whose columns differ: whole numbers then floats, missing then present, empty lists then full ones."""
    rows: list[dict[str, Any]] = [{"text": "a", "n": 1, "tags": [], "meta": {"x": 1}} for _ in range(CHUNK)]
    rows += [{"text": "b", "n": 0.5, "tags": ["t"], "later": True, "meta": {"y": "z"}}, {"text": "c", "n": None}]
    go(job_for(write_input(tmp_path, "jsonl", rows), tmp_path / "out.parquet"))
    table = content(tmp_path / "out.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "text": "string",
        "n": "double",
        "tags": "list<element: string>",
        "meta": "struct<x: int64, y: string>",
        "later": "bool",
        "embedding": f"fixed_size_list<element: float>[{DIM}]",
    }
    assert table["n"].to_pylist() == [1.0] * CHUNK + [0.5, None]
    assert table["later"].to_pylist() == [None] * CHUNK + [True, None]


@pytest.mark.parametrize("values", [[1, "a"], [1] * CHUNK + ["a"], [{}], [2**70], [2**60 + 1] * CHUNK + [0.5]])
def test_parquet_refuses_a_column_of_two_types(tmp_path: Path, values: list[Any]) -> None:
    job = job_for(
        write_input(tmp_path, "jsonl", [{"text": "a", "n": value} for value in values]), tmp_path / "out.parquet"
    )
    with pytest.raises(ValueError, match=r"one type in a column: .*\bn\b.* Mend the input, or write \.jsonl"):
        go(job)


def test_gzip_input(tmp_path: Path) -> None:
    path = tmp_path / "in.txt.gz"
    path.write_bytes(gzip.compress(b"a\nb\n"))
    assert go(job_for(path, tmp_path / "out.npy")).rows == 2


class Died(BaseException):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_run_that_dies_anywhere_is_continued_to_the_same_bytes(
    tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies at the first, second, ... time that anything is brought to the disk, until nothing is left to die at."""
    source = write_input(tmp_path, "jsonl", texts())
    go(job_for(source, tmp_path / f"whole.{output}"))
    job = job_for(source, tmp_path / f"out.{output}")
    assert job.target is not None
    fsync = os.fsync
    deaths = 0
    while True:
        calls = iter(range(deaths))

        def dying(descriptor: int, calls: Any = calls) -> None:
            if next(calls, None) is None:
                raise Died
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", dying)
        try:
            go(job)
        except Died:
            deaths += 1
        else:
            break
        finally:
            monkeypatch.setattr(os, "fsync", fsync)
        if job.target.exists():  # died after the rename: complete
            job.target.unlink()
        summary = go(job)
        assert summary.rows == ROWS
        assert content(job.target) == content(tmp_path / f"whole.{output}")
        known = [source, tmp_path / f"whole.{output}", job.target]
        assert sorted(tmp_path.iterdir()) == sorted([*known, *(path for path in map(sidecar, known) if path.exists())])
        job.target.unlink()
    assert deaths > 10


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_resumed_run_embeds_only_the_rest(tmp_path: Path, output: str) -> None:
    def die(call: int) -> None:
        if call == 3:
            raise Died

    job = job_for(write_input(tmp_path, "csv", texts()), tmp_path / f"out.{output}")
    with pytest.raises(Died):
        go(job, FakeModel(die))
    model = FakeModel()
    summary = go(job, model)
    assert (summary.rows, summary.resumed_rows, len(model.rows_seen)) == (ROWS, 2 * CHUNK, ROWS - 2 * CHUNK)


def interrupted(tmp_path: Path, output: str = "npy", **options: Any) -> Job:
    """A job that has two chunks done."""

    def die(call: int) -> None:
        if call == 3:
            raise Died

    job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / f"out.{output}", **options)
    with pytest.raises(Died):
        go(job, FakeModel(die))
    return job


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("chunk_rows", 11),
        ("columns", Columns(text="title")),
        ("columns", Columns(fixed_instruction="other: ")),
        ("output_format", "jsonl"),
    ],
)
def test_a_run_is_not_continued_with_other_options(tmp_path: Path, option: str, value: Any) -> None:
    job = dataclasses.replace(interrupted(tmp_path), **{option: value})
    with pytest.raises(ValueError, match=r"out\.npy\.partial: was begun with --.* = .*, now it is .*--restart"):
        run(FakeModel(), job, form=FORM, description=IDENTITY, total=None, show_progress=False)
    if option != "columns":
        assert go(dataclasses.replace(job, restart=True)).resumed_rows == 0


def test_a_run_is_not_continued_with_another_model(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    with pytest.raises(ValueError, match="begun with variant = 'fp32', now it is 'int8'"):
        go(job, identity={"variant": "int8"})
    assert go(job).resumed_rows == 2 * CHUNK  # nothing was lost by asking


def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    assert job.source is not None
    rows = texts()
    for changed in ([{"id": 0, "text": "other"}, *rows[1:]], rows[1:], rows[: CHUNK + 5]):
        write_input(tmp_path, "jsonl", changed)
        with pytest.raises(ValueError, match=r"first 20 rows are not those that .*partial was begun with.*--restart"):
            go(job)
    write_input(tmp_path, "jsonl", [*rows, {"id": 99, "text": "appended"}])
    assert go(job).rows == ROWS + 1


class Sizes(FakeModel):
    """Counts the characters of each call."""

    def __init__(self, on_call: Callable[[int], None] = lambda call: None) -> None:
        super().__init__(on_call)
        self.sizes: list[int] = []

    def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Losses]:
        self.sizes.append(sum(len(row.instruction) + len(row.text) for row in rows))
        return super()._embed(rows, batch_size)


@pytest.mark.parametrize("instruction", [None, "i" * 200])
@pytest.mark.parametrize("input_format", ["jsonl", "csv", "text"])
def test_a_chunk_ends_early_where_rows_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_format: str, instruction: str | None
) -> None:
    """The bound is of bytes, also of columns that are only carried over, and a resumed run has the same chunks."""
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1000)
    rows = [{"id": index, "text": "x" * (index * 37 % 600)} for index in range(ROWS)]
    source = write_input(tmp_path, input_format, rows)
    columns = Columns(fixed_instruction=instruction)
    whole = Sizes()
    go(job_for(source, tmp_path / "whole.npy", columns=columns), whole)
    assert max(whole.sizes) < 1000 + 600 + 200
    assert len(whole.sizes) > ROWS / CHUNK
    for death in range(2, len(whole.sizes)):

        def die(call: int, death: int = death) -> None:
            if call == death:
                raise Died

        job = job_for(source, tmp_path / "out.npy", columns=columns, overwrite=True)
        with pytest.raises(Died):
            go(job, Sizes(die))
        rest = Sizes()
        go(job, rest)
        assert rest.sizes == whole.sizes[death - 1 :]
        assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_columns_that_are_only_carried_over_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(writers, "GROUP_BYTES", 1000)
    rows: list[dict[str, Any]] = [{"text": "a", "rest": "x" * 600} for _ in range(6)]
    model = Sizes()
    go(job_for(write_input(tmp_path, "jsonl", rows), tmp_path / "out.parquet"), model)
    assert model.sizes == [2, 2, 2]
    assert load(tmp_path / "out.parquet")[0] == rows


def test_batch_size_may_change(tmp_path: Path) -> None:
    assert go(dataclasses.replace(interrupted(tmp_path), batch_size=1)).resumed_rows == 2 * CHUNK


STATE: dict[str, Any] = {"version": STATE_VERSION, "rows": 20, "position": 608, "input_sha256": "0", "fixed": {}}
WRONG: dict[str, list[Any]] = {
    "rows": [-1, 2.5, "20", True, None, 10**30, [20]],
    "position": [-1, 6e2, "608", 2**70],
    "fixed": [[], "x", None, 7],
    "input_sha256": [7, None, {}],
}


def signed(state: dict[str, Any]) -> str:
    """With the hash of its own that a state has."""
    return json.dumps(state | {"sha256": _digest(state)})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"version": 1}', '{"version": 9, "rows": 0}', "[" * 100_000, '"\\ud800"', "NaN"),
        *(signed(STATE | {name: value}) for name, values in WRONG.items() for value in values),
        *(signed({name: value for name, value in STATE.items() if name != left_out}) for left_out in STATE),
        signed(STATE | {"\ud83d": 1}),
        json.dumps(STATE),
    ],
)
def test_a_damaged_state_names_the_way_out(tmp_path: Path, text: str) -> None:
    job = interrupted(tmp_path)
    (job.folder / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"state\.json: .*--restart"):
        go(job)
    assert go(dataclasses.replace(job, restart=True)).rows == ROWS


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("name", "by"), [("rows", -1), ("rows", 10), ("position", -1), ("position", 1)])
def test_a_state_whose_numbers_were_changed(tmp_path: Path, output: str, name: str, by: int) -> None:
    """The run would go on in the wrong place, and its output be of the wrong rows."""
    job = interrupted(tmp_path, output)
    path = job.folder / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | {name: state[name] + by}))
    with pytest.raises(ValueError, match=r"state\.json: cannot be read \(it was changed\)\. Begin anew with --restart"):
        go(job)


def test_a_state_too_large_is_not_read(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    with (job.folder / "state.json").open("r+b") as file:
        file.truncate(10**12)  # a hole: no bytes on the disk
    with pytest.raises(ValueError, match=r"state\.json: cannot be read \(1,000,000,000,000 bytes\).*--restart"):
        go(job)


@pytest.mark.parametrize("damage", [lambda part: part.unlink(), lambda part: part.write_bytes(b"PAR1"), None])
def test_a_damaged_part_names_the_way_out(tmp_path: Path, damage: Callable[[Path], object] | None) -> None:
    job = interrupted(tmp_path, "parquet")
    if damage is None:
        state = json.loads((job.folder / "state.json").read_text())
        del state["sha256"]
        (job.folder / "state.json").write_text(signed(state | {"position": 10**18}))
    else:
        damage(job.folder / "part-000001.parquet")
    with pytest.raises(ValueError, match=r"part-00000\d\.parquet: cannot be read .*--restart"):
        go(job)
    assert go(dataclasses.replace(job, restart=True)).rows == ROWS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("name", ["lock", "state.json", "state.json.new", "data", "part-000000.parquet"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_is_written_through_what_someone_else_laid_there(tmp_path: Path, name: str, kind: str) -> None:
    job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "out.npy")
    job.folder.mkdir()
    (tmp_path / "precious").write_text("precious")
    if kind == "link":
        (job.folder / name).symlink_to(tmp_path / "precious")
    elif kind == "pipe":
        os.mkfifo(job.folder / name)
    else:
        (job.folder / name).mkdir()
    for restart in (False, True):
        with pytest.raises(FileExistsError, match=rf"{name}: is no regular file.*Remove .*out\.npy\.partial"):
            go(dataclasses.replace(job, restart=restart))
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_work_folder_whose_owner_has_just_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock file was opened before the owner removed it: by now another process may hold a new one."""
    folder = tmp_path / "o.npy.partial"
    folder.mkdir()
    try_lock = lock._try_lock
    tried: list[int] = []

    def owner_ends(descriptor: int) -> None:
        if not tried:
            (folder / "lock").unlink()
            folder.rmdir()
        tried.append(descriptor)
        try_lock(descriptor)

    monkeypatch.setattr(lock, "_try_lock", owner_ends)
    with work_folder(folder):
        assert (folder / "lock").exists()  # that of the folder there is now
        with pytest.raises(RuntimeError, match="another instructor-onnx works on this output"), work_folder(folder):
            pytest.fail("the second began")
    assert len(tried) == 3
    assert not folder.exists()


def test_a_file_in_the_work_folders_place(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "out.npy")
    job.folder.write_text("mine")
    with pytest.raises(FileExistsError, match=r"out\.npy\.partial: is no folder"):
        go(job)
    job.folder.unlink()
    (tmp_path / "home").mkdir()
    (tmp_path / "home/data").write_text("precious")
    job.folder.symlink_to("home")
    with pytest.raises(FileExistsError, match=r"out\.npy\.partial: is no folder"):
        go(job)
    assert (tmp_path / "home/data").read_text() == "precious"


def test_a_short_partial_output_names_the_way_out(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    (job.folder / "data").write_bytes(b"")
    with pytest.raises(ValueError, match=r"data: 0 bytes, .* were written.*--restart"):
        go(job)


def test_killed_while_cleaning_up(tmp_path: Path) -> None:
    """The output has its name already, the state is still there: another run starts anew."""
    job = interrupted(tmp_path)
    (job.folder / "data").unlink()
    assert go(job).resumed_rows == 0


def test_a_bad_row_is_found_before_anything_is_written(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "jsonl", [*texts(), {"id": 1}]), tmp_path / "out.npy")
    with pytest.raises(ValueError, match=rf"in\.jsonl, line {ROWS + 1}: no column 'text' \(it has id\)"):
        prepare(job)
    assert not job.folder.exists()


def test_a_bad_row_of_a_stream_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(rows: list[dict[str, Any]]) -> None:
        data = write_input(tmp_path, "jsonl", rows).read_bytes()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    whole = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "whole.npy")
    go(whole)
    job = dataclasses.replace(whole, source=None, target=tmp_path / "out.npy")
    feed([*texts()[:25], {"id": 25}, *texts()[26:]])
    with pytest.raises(ValueError, match="stdin, line 26: no column 'text'"):
        go(job)
    feed(texts())
    assert go(job).resumed_rows == 20
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_an_existing_output_survives_until_the_end(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy")
    assert job.target is not None
    job.target.write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"out\.npy: exists\. .*--overwrite"):
        go(job)

    def still_there(call: int) -> None:
        assert job.target is not None
        assert job.target.read_bytes() == b"old"

    go(dataclasses.replace(job, overwrite=True), FakeModel(still_there))
    assert np.load(job.target).shape == (ROWS, DIM)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("overwrite", [False, True])
def test_pipes_devices_and_links_that_lead_nowhere_are_not_replaced(tmp_path: Path, overwrite: bool) -> None:
    source = write_input(tmp_path, "text", texts(3))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "circle.npy").symlink_to("circle.npy")
    for name in ("pipe.npy", "circle.npy", os.devnull):
        job = Job(source, stream.output_path(str(tmp_path / name)), "text", "npy", overwrite=overwrite)
        with pytest.raises(FileExistsError, match="is no regular file, and is not replaced"):
            prepare(job)
        if name != os.devnull:  # which a failing test, run by root, would replace
            with pytest.raises(FileExistsError, match="is no regular file, and is not replaced"):
                run(FakeModel(), job, form=FORM, description=IDENTITY, total=None, show_progress=False)
    assert (tmp_path / "pipe.npy").is_fifo()


@pytest.mark.parametrize("exists", [False, True])
def test_a_link_is_written_where_it_leads(tmp_path: Path, exists: bool) -> None:
    source = write_input(tmp_path, "text", texts())
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk/real.npy", tmp_path / "out.npy"
    link.symlink_to("disk/real.npy")
    if exists:
        real.write_bytes(b"old")
    job = Job(source, stream.output_path(str(link)), "text", "npy", overwrite=exists)
    assert job.folder == tmp_path / "disk/real.npy.partial"
    go(job)
    assert link.is_symlink()
    assert np.load(real).shape == (ROWS, DIM)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_names_of_stdout(name: str) -> None:
    assert stream.output_path(name) is None


def test_a_closed_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(ValueError, match="stdout: is closed. Name a file with -o"):
        prepare(Job(write_input(tmp_path, "text", texts(3)), None, "text", "jsonl"))


def test_in_place(tmp_path: Path) -> None:
    source = write_input(tmp_path, "jsonl", texts())
    go(job_for(source, source, overwrite=True))
    assert len(load(source)[1]) == ROWS


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy")

    def second(call: int) -> None:
        with pytest.raises(RuntimeError, match=r"out\.npy\.partial: another instructor-onnx works on this output"):
            go(job)

    assert go(job, FakeModel(second)).rows == ROWS


def test_a_folder_of_someone_elses_is_left_alone(tmp_path: Path) -> None:
    job = job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy")
    job.folder.mkdir()
    (job.folder / "notes").write_text("mine")
    go(job)
    assert [path.name for path in job.folder.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        ("no.txt", "out.npy", FileNotFoundError, r"no\.txt: no such file"),
        ("in.txt", "no/out.npy", FileNotFoundError, "no: no such folder"),
        ("in.txt", ".npy", IsADirectoryError, r"\.npy: is a folder"),
        (".npy", "out.npy", IsADirectoryError, r"\.npy: is a folder. Name a file of texts"),
    ],
)
def test_paths_that_cannot_be(tmp_path: Path, source: str, target: str, error: type[Exception], message: str) -> None:
    write_input(tmp_path, "text", texts(3))
    (tmp_path / ".npy").mkdir()
    job = Job(tmp_path / source, tmp_path / target, "text", "npy")
    with pytest.raises(error, match=message):
        prepare(job)


def test_a_vector_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    class Overflowing(FakeModel):
        def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Losses]:
            vectors, losses = super()._embed(rows, batch_size)
            vectors[3] = np.inf
            return vectors, losses

    with pytest.raises(RuntimeError, match=r"in\.txt, line 4: its vector is not finite"):
        go(job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy"), Overflowing())


def test_zero_vectors_are_named_by_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Masking(FakeModel):
        def masked(self, rows: list[Row]) -> tuple[int, ...]:
            return tuple(index for index, row in enumerate(rows) if not row.text)

    (tmp_path / "in.txt").write_text("a\n" * 10 + "\nb\nc\n\n" + "d\n" * 6 + "\n" * 8)
    go(job_for(tmp_path / "in.txt", tmp_path / "out.npy"), Masking())
    first, second = (record.getMessage() for record in caplog.records)  # one a chunk
    assert "in.txt, line 11, 14: the vector is all zeros" in first
    assert "line 21, 22, 23, 24, 25 and 3 more: the vector" in second


@pytest.mark.parametrize("ends_at", [None, 4])
def test_cut_texts_are_told_of_once_and_in_sum(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ends_at: int | None
) -> None:
    """The first chunk has none; what a run that fails has lost is told too."""

    class Cutting(FakeModel):
        def cut(self, rows: list[Row]) -> int:
            return sum(row.text.startswith("long") for row in rows)

    def fail(call: int) -> None:
        if call == ends_at:
            raise MemoryError("no memory for a run.")

    (tmp_path / "in.txt").write_text("a\n" * 11 + "long\n" * 2 + "b\n" * 7 + "long\n" * 20)
    job = job_for(tmp_path / "in.txt", tmp_path / "out.npy")
    with contextlib.nullcontext() if ends_at is None else pytest.raises(MemoryError):
        go(job, Cutting(fail))
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"2 of {CHUNK} texts were cut to max_seq_length={LIMIT} tokens (instruction included)",
        f"in all, {22 if ends_at is None else 12} texts were cut",
    ]


def test_cut_texts_of_one_chunk_need_no_sum(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Cutting(FakeModel):
        def cut(self, rows: list[Row]) -> int:
            return sum("text 3" in row.text for row in rows[:4])

    go(job_for(write_input(tmp_path, "text", texts()), tmp_path / "out.npy", chunk_rows=100), Cutting())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("output", OUTPUTS)
def test_memory_does_not_grow_with_the_input(tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow

    class Constant(FakeModel):
        def _embed(self, rows: list[Row], batch_size: int) -> tuple[Float32, Losses]:
            return np.full((len(rows), DIM), 0.5, dtype=np.float32), Losses(len(rows), 0, (), LIMIT)

    def peak(rows: int) -> int:
        """Bytes, Python's and Arrow's, to embed this many rows of 1 kB."""
        source = tmp_path / f"{rows}.txt"
        source.write_bytes((b"x" * 1000 + b"\n") * rows)
        default = pyarrow.default_memory_pool()
        counted = pyarrow.proxy_memory_pool(default)
        pyarrow.set_memory_pool(counted)
        tracemalloc.start()
        try:
            go(job_for(source, tmp_path / f"{rows}.{output}", chunk_rows=50), Constant())
            return tracemalloc.get_traced_memory()[1] + int(counted.max_memory() or 0)
        finally:
            tracemalloc.stop()
            pyarrow.set_memory_pool(default)

    monkeypatch.setattr(writers, "ROW_GROUP", 200)
    peak(200)  # imports and caches
    assert peak(5000) < peak(1000) + 300_000


class TestWhatIsBeside:
    FORMS: ClassVar = {
        "float32": FORM,
        "int8": Form(4, "int8", False, symmetric_ranges(0.05, 4)),
        "binary": Form(DIM, "binary", False, None),
    }

    @pytest.mark.parametrize("precision", FORMS)
    @pytest.mark.parametrize("output", OUTPUTS)
    def test_every_form_in_every_format(self, tmp_path: Path, output: str, precision: str) -> None:
        source = write_input(tmp_path, "jsonl", texts())
        job = dataclasses.replace(job_for(source, tmp_path / f"out.{output}"), header=output == "jsonl")
        form, description = self.FORMS[precision], {"precision": precision, "instruction": "Represent: "}
        run(FakeModel(), job, form=form, description=description, total=None, show_progress=False)
        assert job.target is not None
        assert read(job.target, output) == description
        expected = form(np.array([vector_of(Row("", row["text"])) for row in texts()], dtype=np.float32))
        found = self.vectors(tmp_path / f"out.{output}", output)
        assert found.dtype == expected.dtype or output == "jsonl"
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    @pytest.mark.parametrize("output", OUTPUTS)
    def test_appended_in_two_runs_as_in_one(self, tmp_path: Path, output: str) -> None:
        header = output == "jsonl"
        first, second, whole = (tmp_path / name for name in ("first", "second", "whole"))
        for folder, some in ((first, texts()[:20]), (second, texts()[20:]), (whole, texts())):
            folder.mkdir()
            write_input(folder, "jsonl", some)
        target = tmp_path / f"out.{output}"
        for folder in (first, second):
            go(dataclasses.replace(job_for(folder / "in.jsonl", target), append=True, header=header))
        once = tmp_path / f"once.{output}"
        go(dataclasses.replace(job_for(whole / "in.jsonl", once), header=header))
        np.testing.assert_array_equal(self.vectors(target, output), self.vectors(once, output))
        if output != "parquet":
            assert target.read_bytes() == once.read_bytes()

    @pytest.mark.parametrize("output", OUTPUTS)
    def test_an_append_that_dies_is_continued(self, tmp_path: Path, output: str) -> None:
        source = write_input(tmp_path, "jsonl", texts())
        job = dataclasses.replace(job_for(source, tmp_path / f"out.{output}"), append=True, header=output == "jsonl")
        go(job)
        before = content(tmp_path / f"out.{output}")

        def die(call: int) -> None:
            if call == 3:
                raise Died

        with pytest.raises(Died):
            go(job, FakeModel(die))
        assert content(tmp_path / f"out.{output}") == before
        assert go(job).resumed_rows == 2 * CHUNK
        found = self.vectors(tmp_path / f"out.{output}", output)
        assert len(found) == 2 * ROWS
        np.testing.assert_array_equal(found[:ROWS], found[ROWS:])

    @pytest.mark.parametrize("output", OUTPUTS)
    def test_nothing_is_added_to_vectors_of_another_kind(self, tmp_path: Path, output: str) -> None:
        source = write_input(tmp_path, "jsonl", texts())
        job = dataclasses.replace(job_for(source, tmp_path / f"out.{output}"), append=True, header=output == "jsonl")
        go(job, identity={"fingerprint": "aaaa"})
        before = content(tmp_path / f"out.{output}")
        with pytest.raises(ValueError, match="were made with fingerprint = 'aaaa', now it is 'bbbb'"):
            go(job, identity={"fingerprint": "bbbb"})
        assert content(tmp_path / f"out.{output}") == before
        assert not job.folder.exists()

    def test_nothing_is_added_to_vectors_of_unknown_origin(self, tmp_path: Path) -> None:
        source = write_input(tmp_path, "jsonl", texts())
        np.save(tmp_path / "out.npy", np.zeros((3, DIM), np.float32))
        (tmp_path / "out.jsonl").write_text('{"text": "a", "embedding": [1]}\n')
        for name in ("out.npy", "out.jsonl"):
            with pytest.raises(ValueError, match="does not say what its vectors were made with"):
                go(dataclasses.replace(job_for(source, tmp_path / name), append=True))
        (tmp_path / "out.npy.json").write_text('{"instructor_onnx": {"variant": "fp32"}}')
        np.save(tmp_path / "out.npy", np.zeros((3, DIM + 1), np.float32))
        with pytest.raises(ValueError, match=r"found float32 \[3, 7\], expected float32 \[rows, 6\]"):
            go(dataclasses.replace(job_for(source, tmp_path / "out.npy"), append=True))

    def test_a_file_of_somebody_else_is_not_replaced(self, tmp_path: Path) -> None:
        source = write_input(tmp_path, "jsonl", texts())
        (tmp_path / "out.npy.json").write_text('{"mine": 1}')
        with pytest.raises(FileExistsError, match=r"out.npy.json: exists, and goes beside out.npy"):
            go(job_for(source, tmp_path / "out.npy"))
        (tmp_path / "out.npy.json").write_text('{"instructor_onnx": {}}')  # left by a run that was killed there
        go(job_for(source, tmp_path / "out.npy"))
        assert read(tmp_path / "out.npy", "npy") == IDENTITY

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"header": True}, "--header: is for jsonl; npy describes its vectors"),
            ({"append": True, "target": None, "output_format": "jsonl"}, "--append: stdout has nothing to add to"),
        ],
    )
    def test_options_that_do_not_fit(self, tmp_path: Path, changes: Any, sentence: str) -> None:
        job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "out.npy")
        with pytest.raises(ValueError, match=sentence):
            prepare(dataclasses.replace(job, **changes))

    def vectors(self, path: Path, output: str) -> npt.NDArray[Any]:
        if output == "npy":
            return np.asarray(np.load(path))
        if output == "parquet":
            column = pyarrow.parquet.read_table(path)["embedding"].combine_chunks()
            return np.asarray(column.values.to_numpy().reshape(len(column), -1))
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return np.array([line["embedding"] for line in lines if "embedding" in line])


def test_a_log_has_lines_and_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """capsys' stderr is no terminal."""
    monkeypatch.setattr(stream, "LOG_SECONDS", 0)
    job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "out.npy")
    run(FakeModel(), job, form=FORM, description=IDENTITY, total=ROWS, show_progress=True)
    lines = [f"Embedding: {rows} of 47 texts" for rows in (10, 20, 30, 40, 47)]
    assert capsys.readouterr().err.splitlines() == lines


def test_a_short_run_leaves_nothing_in_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_for(write_input(tmp_path, "jsonl", texts()), tmp_path / "out.npy")
    run(FakeModel(), job, form=FORM, description=IDENTITY, total=ROWS, show_progress=True)
    assert capsys.readouterr().err == ""

"""The work folder of an unfinished output: its lock, its state, and how it is left. Knows no rows and no formats.

OUTPUT.partial lies beside OUTPUT until that is complete, and holds

    lock          held while a process works here
    state.json    rows done, the writer's position, a hash of the input so far, what must not change, and its own hash
    data, ...     the growing output (see writers.py)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructor_onnx import lock
from instructor_onnx.files.writers import DATA, MERGED, PARTS

STATE_VERSION = 3
MOST_STATE = 1 << 24  # bytes; an instruction of the command line may be part of it
LOCK, STATE, NEW_STATE, DESCRIPTION = "lock", "state.json", "state.json.new", "description.json"


@dataclass(frozen=True)
class State:
    """`state.json`: where a run stands after a chunk."""

    version: int
    rows: int
    position: int  # the writer's
    input_sha256: str  # of the input's bytes up to there
    fixed: dict[str, Any]  # options and model, which a resumed run must share

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """The state of an interrupted run; None: nothing was saved.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        path = folder / STATE
        if not path.is_file():
            return None
        try:
            if (size := path.stat().st_size) > MOST_STATE:
                raise ValueError(f"{size:,} bytes")
            return cls._from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: cannot be read ({error!s:.200}). Begin anew with --restart.") from None

    @classmethod
    def _from_json(cls, data: Any) -> State:
        if not isinstance(data, dict) or data.get("version") != STATE_VERSION:
            raise ValueError("written by another version of instructor-onnx, if by any")
        if data.pop("sha256", None) != _digest(data):
            raise ValueError("it was changed")
        if data.keys() != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError("it has other fields")
        for name in ("rows", "position"):
            if type(data[name]) is not int or not 0 <= data[name] < 1 << 62:
                raise ValueError(f"{name} is {data[name]!r:.40}")
        for name, kind in (("input_sha256", str), ("fixed", dict)):
            if type(data[name]) is not kind:
                raise ValueError(f"{name} is {data[name]!r:.40}")
        return cls(**data)

    def write(self, folder: Path) -> None:
        """Replace the state at once, and have it on the disk."""
        new = folder / NEW_STATE
        data = dataclasses.asdict(self)
        with new.open("w", encoding="utf-8") as file:
            json.dump(data | {"sha256": _digest(data)}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / STATE)
        sync_folder(folder)


def _digest(data: dict[str, Any]) -> str:
    """A hash of a state: with another position or number of rows, a run would go on in the wrong place."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


@contextmanager
def work_folder(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, for this process; leave none behind that has nothing to resume.

    Raises:
        RuntimeError: another process holds it.
        FileExistsError: something in its place, or in it, is not of this program's making.
    """
    held = _held(folder)
    try:
        yield
    finally:
        if (folder / STATE).exists():
            os.close(held)
        else:
            clear(folder)
            lock.release(folder / LOCK, held)
            with suppress(OSError):
                folder.rmdir()  # leaves what is not ours


def _held(folder: Path) -> int:
    """The folder's lock, taken; a folder that its last owner is just removing is made anew."""
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        if folder.is_symlink() or not folder.is_dir():
            raise FileExistsError(f"{folder}: is no folder, and the unfinished output goes there. Move it away.")
        for path in folder.iterdir():
            if _is_ours(path) and (path.is_symlink() or not path.is_file()):  # writing there would write somewhere else
                raise FileExistsError(
                    f"{path}: is no regular file, so no run of this program made it. Remove {folder}."
                )
        try:
            return lock.acquire(folder / LOCK)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            raise RuntimeError(
                f"{folder}: another instructor-onnx works on this output. Wait for it, or name another output."
            ) from None


def clear(folder: Path) -> None:
    """Remove what runs have left in a work folder, the state first: without it, the rest means nothing."""
    (folder / STATE).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if _is_ours(path) and path.name != LOCK:
            path.unlink()


def _is_ours(path: Path) -> bool:
    return path.name in (LOCK, STATE, NEW_STATE, DESCRIPTION, DATA, MERGED) or path.match(PARTS)


def sync_folder(folder: Path) -> None:
    """Have a rename on the disk; only POSIX systems can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

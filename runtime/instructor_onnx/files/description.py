"""What is kept beside vectors: which model made them, under which instruction, in which form.

In a .npy's sidecar (VECTORS.npy.json), a parquet file's metadata, and the first line of a jsonl file that was asked to
have one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from instructor_onnx.files.records import Columns
from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.vectors import Form

KEY = "instructor_onnx"
MOST = 1 << 20  # bytes; an instruction may be part of it

Description = dict[str, Any]


def describe(model: INSTRUCTOR, form: Form, columns: Columns) -> Description:
    """What decides the vectors of a run, but for the texts."""
    return {
        "model": model.manifest.model.name,
        "variant": model.variant,
        "engine": model.engine.name,
        "fingerprint": model.fingerprint,  # after what explains it, in an error
        "max_seq_length": model.max_seq_length,
        "instruction": columns.fixed_instruction,
        "precision": form.precision,
        "dim": form.dim,
        **({"int8_scale": model.manifest.int8_scale} if form.ranges is not None else {}),
    }


def sidecar(target: Path) -> Path:
    """Where the description of a .npy file lies."""
    return target.with_name(target.name + ".json")


def write_sidecar(target: Path, description: Description, beside: Path) -> None:
    """Put it there in one step; `beside` is a free name on the same disk."""
    with beside.open("wb") as file:
        file.write(to_json(description))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(sidecar(target))


def is_sidecar(path: Path) -> bool:
    """Whether a file is a description, and may be replaced by another."""
    try:
        return path.is_file() and not path.is_symlink() and read(path, "jsonl") is not None
    except ValueError:
        return False


def to_json(description: Description) -> bytes:
    """As it is written beside a .npy, or as the first line of a jsonl."""
    return (json.dumps({KEY: description}, ensure_ascii=False) + "\n").encode()


def read(target: Path, output_format: str) -> Description | None:
    """What a finished output says of its vectors; None: nothing.

    Raises:
        ValueError: what is there is damaged.
    """
    try:
        if output_format == "parquet":
            import pyarrow.parquet

            found = (pyarrow.parquet.read_schema(target).metadata or {}).get(KEY.encode())
        else:
            path = sidecar(target) if output_format == "npy" else target
            if not path.is_file():
                return None
            with path.open("rb") as file:
                found = file.readline(MOST)
        data = json.loads(found) if found else None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{target}: what it says of its vectors cannot be read ({error!s:.200}).") from None
    inner = data.get(KEY) if isinstance(data, dict) and output_format != "parquet" else data
    return inner if isinstance(inner, dict) else None


def check_same(target: Path, before: Description | None, now: Description) -> None:
    """Raise ValueError where vectors of another kind would be added to those of `target`."""
    if before is None:
        raise ValueError(
            f"{target}: does not say what its vectors were made with (a .npy does in {sidecar(target).name}, a jsonl "
            "in a first line that --header writes), so nothing is added. Write another file."
        )
    for name, value in now.items():
        if before.get(name) != value:
            raise ValueError(
                f"{target}: its vectors were made with {name} = {before.get(name)!r:.200}, now it is {value!r:.200}; "
                "they do not belong in one index. Give the same, or write another file."
            )

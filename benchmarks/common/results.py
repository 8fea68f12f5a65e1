"""Results files: named by what was measured and by the processor, and none written over another processor's."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT, machine

RESULTS = PROJECT / "benchmarks" / "results"


def today() -> str:
    """The date that a results file bears."""
    return datetime.now(tz=timezone.utc).date().isoformat()


def read(path: Path, *holds: str) -> dict[str, Any]:
    """A finished results file of the program whose findings are under the keys `holds`.

    Raises:
        ValueError: not one of ours.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not {"date", *holds} <= set(found):
        raise ValueError(f"{path}: not a results file of this program.")
    return found


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def own_file(kind: str, model: str = "", out: Path | None = None, folder: Path = RESULTS) -> Path:
    """Where figures of this processor go: `out`, else `<kind>-<model>-<label>.json` in `folder`.

    Raises:
        ValueError: what is there was measured on another processor; it is never written over.
    """
    here = machine.facts()
    stem = "-".join(part for part in (kind, _plain_name(model)) if part)
    paths = [out] if out else [folder / f"{stem}-{label}.json" for label in machine.labels(here)]
    for path in paths:
        if not path.exists() or _measured_on(path, here):
            return path
    raise ValueError(f"{paths[-1]}: holds figures of another processor. Name another file with --out.")


def label_of(path: Path, model: str) -> str:
    """The processor's label in a results file's name."""
    return path.stem.rpartition(f"{_plain_name(model)}-")[2]


def _measured_on(path: Path, here: dict[str, Any]) -> bool:
    found = json.loads(path.read_text(encoding="utf-8"))
    there = found.get("subject", found).get("machine", {})
    return isinstance(there, dict) and all(there.get(key) == here[key] for key in ("cpu", "flags"))


def _plain_name(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)

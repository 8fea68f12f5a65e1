"""The JSON file of one bundle's results: what was judged, where and with what, and each task as it is done."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from instructor_onnx import processor

PACKAGES = (
    *("instructor-onnx", "onnxruntime", "numpy", "tokenizers", "torch", "transformers"),
    *("scikit-learn", "scipy", "ir-measures", "mteb"),
)
# Those that decide which int8 product is used; the later, the faster it is.
FLAGS = (
    *("fma", "f16c", "avx2", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "amx_bf16", "amx_int8"),
    *("asimddp", "i8mm"),
)
RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Subject:
    """What is judged, and how: results with another subject do not belong in the same file."""

    model: str
    files: dict[str, str]  # sha256 of the tokenizer and of every file of the variants judged
    columns: tuple[str, ...]  # "torch" first where there is a checkpoint, then the variants
    reference: str  # the column that the differences are taken to
    limit: int | None  # of each task, for a quick look; None: everything
    instructions: dict[str, dict[str, str]]  # task -> role -> instruction
    instructions_of: str | None  # the published model they come from
    cluster_runs: int  # of k-means, with the seeds 0, 1, ...
    machine: dict[str, Any]
    versions: dict[str, str]


@dataclass
class Results:
    """Everything measured so far; each finished part is saved at once."""

    subject: Subject
    path: Path  # the finished file
    unfinished: Path  # what there is of it until then
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)  # section -> name -> what was measured

    @classmethod
    def open(cls, path: Path, subject: Subject, cache: Path) -> Results:
        """Go on with what the file, or a run of it that was cut short, has of the same subject.

        Args:
            cache: the folder that keeps what is not finished.
        """
        unfinished = cache / f"{path.name}.unfinished"
        for candidate in (unfinished, path):
            if candidate.is_file():
                saved = json.loads(candidate.read_text(encoding="utf-8"))
                if saved.get("subject") == _plain(subject):
                    return cls(subject, path, unfinished, saved["parts"])
        return cls(subject, path, unfinished)

    def has(self, section: str, name: str) -> bool:
        """Whether this part is done."""
        return name in self.parts.get(section, {})

    def add(self, section: str, name: str, measured: dict[str, Any]) -> None:
        """Keep a finished part, also on disk. The file itself is replaced when the run is done, by `finish`."""
        self.parts.setdefault(section, {})[name] = measured
        write(self.unfinished, self._json())

    def finish(self) -> None:
        """The run is done: its file takes the place of the one before."""
        write(self.path, self._json())
        self.unfinished.unlink(missing_ok=True)

    def _json(self) -> dict[str, Any]:
        date = datetime.now(tz=timezone.utc).date().isoformat()
        return {"date": date, "subject": _plain(self.subject), "parts": self.parts}


def read(path: Path, holds: str = "parts") -> dict[str, Any]:
    """A finished results file of the program whose findings are under the key `holds`.

    Raises:
        ValueError: not one of ours.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not {"date", "subject", holds} <= set(found):
        raise ValueError(f"{path}: not a results file of this program.")
    return found


def own_file(kind: str, model: str = "", out: Path | None = None, folder: Path = RESULTS) -> Path:
    """Where figures of this processor go: `out`, else `<kind>-<model>-<label>.json` in `folder`.

    Raises:
        ValueError: what is there was measured on another processor; it is never written over.
    """
    here = machine()
    stem = "-".join(part for part in (kind, _plain_name(model)) if part)
    paths = [out] if out else [folder / f"{stem}-{label}.json" for label in labels(here)]
    for path in paths:
        if not path.exists() or _measured_on(path, here):
            return path
    raise ValueError(f"{paths[-1]}: holds figures of another processor. Name another file with --out.")


def label_of(path: Path, model: str) -> str:
    """The processor's label in a results file's name."""
    return path.stem.rpartition(f"{_plain_name(model)}-")[2]


def labels(machine: dict[str, Any]) -> list[str]:
    """Short names for a processor, in file names, the shortest first. They are labels: nothing is decided by them."""
    cpu, flags = machine["cpu"].lower(), machine["flags"]
    strongest = flags[-1:] or ["cpu"]
    own = "-".join([*strongest, *re.findall(r"^\w+|\w*\d\w*", cpu)]).replace("_", "")
    family = re.match(r"amd .*\(family (\d+),", cpu)
    known = {"25": "zen4" if "avx512f" in flags else "zen3", "26": "zen5"}
    return [known[family[1]], own] if family and family[1] in known else [own]


def machine() -> dict[str, Any]:
    """The processor: its name, cores, and the instruction sets that matter."""
    flags = processor.flags()
    return {
        "cpu": processor.name(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _measured_on(path: Path, here: dict[str, Any]) -> bool:
    found = json.loads(path.read_text(encoding="utf-8"))
    there = found.get("subject", found).get("machine", {})
    return isinstance(there, dict) and all(there.get(key) == here[key] for key in ("cpu", "flags"))


def _plain_name(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Those of `packages` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _plain(subject: Subject) -> Any:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(asdict(subject)))


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)

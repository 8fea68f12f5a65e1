"""What is judged of a bundle, and each part as it is done; a run that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import results
from benchmarks.common.journal import Journal, digest

PACKAGES = (
    *("instructor-onnx", "onnxruntime", "numpy", "tokenizers", "torch", "transformers"),
    *("scikit-learn", "scipy", "ir-measures", "mteb"),
)


@dataclass(frozen=True)
class Subject:
    """What is judged, and how: results with another subject do not belong in the same file."""

    model: str
    files: dict[str, str]  # sha256 of the tokenizer and of every file of the variants judged
    columns: list[str]  # "torch" first where there is a checkpoint, then the variants
    reference: str  # the column that the differences are taken to
    limit: int | None  # of each task, for a quick look; None: everything
    instructions: dict[str, dict[str, str]]  # task -> role -> instruction
    instructions_of: str | None  # the published model they come from
    cluster_runs: int  # of k-means, with the seeds 0, 1, ...
    machine: dict[str, Any]
    versions: dict[str, str]


@dataclass
class Results:
    """Everything measured so far."""

    subject: Subject
    path: Path  # the finished file
    journal: Journal  # what there is of it until then
    parts: dict[str, dict[str, Any]]  # section -> name -> what was measured

    @classmethod
    def open(cls, path: Path, subject: Subject, cache: Path) -> Results:
        """Go on with what the file, and a run of it that was cut short, have of the same subject.

        Args:
            cache: the folder that keeps what is not finished.
        """
        journal = Journal.open(cache / f"{path.stem}-{digest(asdict(subject))}.jsonl")
        saved = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found = cls(subject, path, journal, saved["parts"] if saved.get("subject") == asdict(subject) else {})
        for entry in journal.entries:
            found.parts.setdefault(entry["kind"], {})[entry["name"]] = entry["measured"]
        return found

    def has(self, section: str, name: str) -> bool:
        """Whether this part is done."""
        return name in self.parts.get(section, {})

    def add(self, section: str, name: str, measured: dict[str, Any]) -> None:
        """Keep a finished part, also on disk. The file itself is replaced when the run is done, by `finish`."""
        self.parts.setdefault(section, {})[name] = measured
        self.journal.add(section, name, measured=measured)

    def finish(self) -> None:
        """The run is done: its file takes the place of the one before."""
        results.write(self.path, {"date": results.today(), "subject": asdict(self.subject), "parts": self.parts})
        self.journal.path.unlink(missing_ok=True)

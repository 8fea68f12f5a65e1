"""What a run has measured so far, a JSON object a line, so that one that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass
class Journal:
    """The entries, and the file that each is appended to as it is made."""

    path: Path
    entries: list[dict[str, Any]]

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Those of the runs before; a line that was being written when one was killed is dropped."""
        entries: list[dict[str, Any]] = []
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    break
            path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        return cls(path, entries)

    def add(self, kind: str, name: str, **measured: Any) -> None:
        """Keep what was measured of `name`, on disk at once."""
        entry = {"kind": kind, "name": name, **measured}
        self.entries.append(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")

    def of(self, kind: str, name: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Entries of a kind, of `name` where it is given, that have these values in their fields."""
        wanted = {"kind": kind, **fields} | ({} if name is None else {"name": name})
        return [entry for entry in self.entries if entry.items() >= wanted.items()]


def digest(subject: Any) -> str:
    """Names the journal of a subject: what was measured of another does not belong in it."""
    return sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:12]

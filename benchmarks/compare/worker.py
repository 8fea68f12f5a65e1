"""A rival's own process: loads it, then does one thing after another as it is asked on stdin, a JSON object a line.

    python -m benchmarks.compare.worker JOB.json

Runs in the rival's environment. Between requests it sleeps in a read, and the parent stops it altogether.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from benchmarks.common.memory import memory
from benchmarks.compare.rivals import Job

if TYPE_CHECKING:
    from benchmarks.compare.adapters.common import Encoder

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FIRST = "query 16"  # the work that a cold start ends with


def main() -> None:
    if sys.platform == "linux":  # a parent that is killed cannot end what it has stopped
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)  # what libraries print goes to the log
        serve(request, replies)


def serve(request: dict[str, Any], replies: TextIO) -> None:
    """Load, say so, then answer until stdin ends."""
    job = Job(**{**request["job"], **{name: Path(request["job"][name]) for name in ("bundle", "checkpoint", "folder")}})
    adapter = importlib.import_module(f"benchmarks.compare.adapters.{request['adapter']}")
    if request["prepare"]:
        adapter.prepare(job)
        _reply(replies, {"prepared": True})
        return
    work = json.loads(Path(request["work"]).read_text(encoding="utf-8"))
    encoder = adapter.load(job)
    encoder.encode([tuple(row) for row in work[FIRST]])
    _reply(replies, {"first_vector": True})  # a cold start ends here
    for line in sys.stdin:
        _reply(replies, answer(encoder, work, json.loads(line)))


def answer(encoder: Encoder, work: dict[str, list[list[str]]], asked: dict[str, Any]) -> dict[str, Any]:
    """One request."""
    rows = [(row[0], row[1]) for row in work[asked["work"]]] if "work" in asked else []
    match asked["do"]:
        case "facts":
            return {
                "settings": encoder.settings,
                "batching": encoder.batching,
                "choices": encoder.choices,
                "files": sum(path.stat().st_size for path in encoder.files),
            }
        case "memory":
            gc.collect()
            return memory()
        case "choose":
            encoder.choose(asked["value"])
            return {}
        case "encode":
            return {"vectors": np.asarray(encoder.encode(rows), dtype=np.float64).tolist()}
        case "time":
            return {"seconds": clock(encoder, rows, asked["seconds"], asked["most"])}
        case "installed":
            return {"bytes": installed(asked["packages"]), "versions": versions(asked["packages"])}
    raise ValueError(f"no such request: {asked}")


def clock(encoder: Encoder, rows: list[tuple[str, str]], seconds: float, most: int) -> list[float]:
    """Seconds of each call of `encode`: one at least, then more while there is time."""
    taken: list[float] = []
    while not taken or (len(taken) < most and sum(taken) < seconds):
        started = time.perf_counter()
        encoder.encode(rows)
        taken.append(time.perf_counter() - started)
    return taken


def closure(packages: list[str]) -> dict[str, metadata.Distribution]:
    """The packages and all that they require here, by name; what is not installed is left out."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def installed(packages: list[str]) -> int:
    """Bytes on disk of the packages and all that they require."""
    paths: list[Path] = []
    for name, distribution in closure(packages).items():
        files = distribution.files or []
        paths += (Path(str(distribution.locate_file(file))) for file in files)
        if name == "instructor-onnx" and "instructor_onnx/__init__.py" not in map(str, files):
            import instructor_onnx  # while it is worked on, all but its kernels is a link to this folder

            paths += Path(instructor_onnx.__file__).parent.rglob("*")
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


def versions(packages: list[str]) -> dict[str, str]:
    """Versions of the packages, and of what computes beneath them."""
    wanted = {*packages, "torch", "transformers", "onnxruntime", "tokenizers", "numpy"}
    found = closure(packages)
    return {name: found[name].version for name in sorted(wanted) if name in found}


def _reply(replies: TextIO, content: dict[str, Any]) -> None:
    replies.write(json.dumps(content) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()

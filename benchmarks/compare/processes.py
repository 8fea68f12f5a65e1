"""A rival's process as the benchmark sees it: asked over a pipe, and stopped while others are timed."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import PROJECT
from benchmarks.compare.rivals import ENVIRONMENTS, MAIN, Job, Rival

SETTLE = 0.05  # seconds between waking a process and asking it
PATIENCE = 1800  # seconds after which a rival that does not answer is given up


class RivalFailed(Exception):
    """A rival that cannot be installed, converted, loaded or run; the message says why, in one line."""


class Process:
    """One rival, loaded. Not thread-safe."""

    def __init__(self, rival: Rival, job: Job, python: Path, work: Path, *, prepare: bool = False) -> None:
        """Start it; `wait` says when it is loaded."""
        job.folder.mkdir(parents=True, exist_ok=True)
        self.rival = rival
        self._job = job
        self._log = job.folder / ("prepare.log" if prepare else "log.txt")
        request = job.folder / "job.json"
        fields = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(job).items()}
        content = {"adapter": rival.adapter, "job": fields, "work": str(work), "prepare": prepare}
        request.write_text(json.dumps(content), encoding="utf-8")
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", "benchmarks.compare.worker", str(request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(job.threads, own_runtime=rival.environment in (MAIN, *ENVIRONMENTS)),
                cwd=job.folder,
                start_new_session=True,  # Ctrl-C ends this program, which then ends them
            )
        self._replies: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self) -> dict[str, Any]:
        """Its next reply.

        Raises:
            RivalFailed: it ended, or said nothing for half an hour.
        """
        try:
            line = self._replies.get(timeout=PATIENCE)
        except queue.Empty:
            self.close()
            raise RivalFailed(f"no answer within {PATIENCE} s") from None
        if not line:
            raise RivalFailed(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        return reply

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request and its reply; the process runs only meanwhile."""
        self._signal(signal.SIGCONT)
        time.sleep(SETTLE)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RivalFailed(self._last_words()) from None
        reply = self.wait()
        self.pause()
        return reply

    def pause(self) -> None:
        """Stop it: threads that would spin for a while after their work cannot take time from others."""
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._replies.put(line)
        self._replies.put(b"")

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = [line.strip() for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines()]
        said = [line for line in lines if line and not line.startswith("Warning")]
        last = said[-1] if said else f"ended with exit code {code}"
        for folder in (self._job.folder, self._job.bundle, self._job.checkpoint):  # results are read elsewhere
            last = last.replace(str(folder), folder.name)
        return last[:300]


def _environment(threads: int, *, own_runtime: bool = True) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OMP_", "MKL_"))}
    return kept | {
        # the adapters' environments lack our runtime; one of somebody else's has its own
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *([str(PROJECT / "runtime")] if own_runtime else [])]),
        "OMP_NUM_THREADS": str(threads),
        # numpy only pools and multiplies by Dense, for rivals that end at the encoder: its threads would spin on into
        # the next query and double torch's latency.
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }

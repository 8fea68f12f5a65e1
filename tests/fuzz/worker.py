"""The process that tries cases, and the one that watches it: a case may kill it, silence it, or fill the memory."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import kinds
from tests.fuzz.verdict import Verdict, judge

SECONDS_TO_START = 120  # torch is slow to import
SECONDS_TO_DIE = 5  # after the signal that makes a hanging worker say where it is
READY = "ready"


@dataclass(frozen=True)
class Limits:
    """What a case may take."""

    seconds: float = 60  # what hangs takes for ever; what takes 5 on an idle machine may take 30 on a busy one
    megabytes: int = 600  # of memory, more than there was before the case


class Worker:
    """A process that tries cases of one kind; started anew after it died."""

    def __init__(self, place: str, folder: Path, limits: Limits) -> None:
        self._place = place
        self._folder = folder
        self._limits = limits
        self._process: Any = None
        self._pipe: Connection | None = None

    def attempt(self, seed: int) -> Verdict:
        """The verdict on one case, whatever it does to the process."""
        pipe = self._pipe or self._start()
        before, started = _megabytes(self._process.pid), time.monotonic()
        pipe.send(seed)
        try:
            while not pipe.poll(0.02):
                if time.monotonic() - started > self._limits.seconds:
                    return self._ended("hung", f"no answer in {self._limits.seconds:g} seconds")
                if (found := _megabytes(self._process.pid) - before) > self._limits.megabytes:
                    return self._ended("memory", f"took {found:,} MB")
            verdict: Verdict = pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            said = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return self._ended("crashed", f"the process ended with {said}")
        return verdict

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._process.join(SECONDS_TO_DIE)
            self._kill()

    def _start(self) -> Connection:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (self._place, self._folder, self._log, self._limits.megabytes, theirs)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        try:
            ready = ours.poll(SECONDS_TO_START) and ours.recv() == READY
        except EOFError:
            ready = False
        if not ready:
            self._kill()
            raise RuntimeError(f"{self._place}: the worker did not start.\n{self._log_end()}")
        self._pipe = ours
        return ours

    def _ended(self, outcome: str, message: str) -> Verdict:
        if outcome == "hung":
            os.kill(self._process.pid, signal.SIGABRT)  # faulthandler writes where every thread is
            self._process.join(SECONDS_TO_DIE)
        self._kill()
        return Verdict(outcome, message, details=self._log_end())

    def _kill(self) -> None:
        self._process.kill()
        self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = None

    @property
    def _log(self) -> Path:
        return self._folder.with_suffix(".log")

    def _log_end(self) -> str:
        said = self._log.read_bytes().decode(errors="replace") if self._log.exists() else ""
        return said.partition("\nExtension modules:")[0][-4000:] + "\n"


def attempt(kind: kinds.Kind, seed: int, megabytes: int) -> Verdict:
    """Try one case in this process."""
    _forget_peak()
    before = _megabytes()
    try:
        verdict = Verdict("same" if kind.attempt(Random(seed)) else "changed")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of the tokenizer's is one
        verdict = judge(error, kind.documented, kind.named)
    took = _megabytes(field="VmHWM") - before
    return Verdict("memory", f"took {took:,} MB for a moment") if took > megabytes else verdict


def _work(place: str, folder: Path, log: Path, megabytes: int, pipe: Connection) -> None:
    """The worker: seeds in, verdicts out, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that watches
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    faulthandler.enable()
    kind = kinds.find(place)(folder)
    pipe.send(READY)
    while True:
        try:
            seed = pipe.recv()
        except EOFError:
            break
        os.truncate(log, 0)
        pipe.send(attempt(kind, seed, megabytes))
    kind.close()


def _megabytes(pid: int | str = "self", field: str = "VmRSS") -> int:
    """Memory of a process now ("VmRSS") or at its peak ("VmHWM"); 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith(f"{field}:")), 0)


def _forget_peak() -> None:
    """Let the peak begin anew; only Linux can."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")

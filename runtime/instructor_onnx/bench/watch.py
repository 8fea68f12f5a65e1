"""Watches this process and the machine while something is measured: memory over time, and others' CPU time.

Linux only: elsewhere stages have times, and the rest is None. Knows nothing about models.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from instructor_onnx.bench.results import Load, Sample, Stage

FIRST_INTERVAL = 0.01  # seconds between samples at first; doubled when there are more than are worth drawing
MOST_SAMPLES = 240
SHORTEST = 0.2  # seconds: the system counts CPU time in hundredths, which tell nothing of less
PROC = Path("/proc")


@dataclass(frozen=True)
class Ticks:
    """CPU time so far, in seconds of one core."""

    at: float  # when, by time.perf_counter()
    busy: float  # of all processes of the machine
    stolen: float  # that this virtual machine waited for
    own: float  # of this process and those it waited for

    @classmethod
    def now(cls) -> Ticks | None:
        """None: not Linux, or a sandbox that does not tell."""
        try:
            line = (PROC / "stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
            # cpu user nice system idle iowait irq softirq steal ...; guests are part of user
            user, nice, system, _, _, irq, softirq, steal = (int(part) / os.sysconf("SC_CLK_TCK") for part in line[1:9])
        except (OSError, ValueError):
            return None
        busy = user + nice + system + irq + softirq
        return cls(time.perf_counter(), busy, steal, sum(os.times()[:4])) if busy else None


def other_cores(begin: Ticks | None, end: Ticks | None) -> float | None:
    """Cores' worth of CPU time that other processes took between the two; None: not Linux, or too short to tell."""
    if begin is None or end is None or end.at < begin.at + SHORTEST:
        return None
    return max(0.0, (end.busy - begin.busy - (end.own - begin.own)) / (end.at - begin.at))


def load_between(begin: Ticks | None, end: Ticks | None, steps: list[float], load_average: float | None) -> Load:
    """How busy the machine was; `steps`: `other_cores` of each step in between."""
    others = other_cores(begin, end)
    if begin is None or end is None or others is None:
        return Load(None, None, None, load_average)
    stolen = max(0.0, (end.stolen - begin.stolen) / (end.at - begin.at))
    return Load(others, max(steps, default=others), stolen, load_average)


def load_average() -> float | None:
    """Of the last minute; None: Windows."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


class Watch:
    """Samples this process's memory in a thread, from `with` to its end, and notes the stages.

    >>> with Watch() as watch:
    ...     with watch.stage("open"):
    ...         pass
    >>> [stage.name for stage in watch.stages()]
    ['open']
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._samples: list[Sample] = []
        self._stages: list[Stage] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name what is done meanwhile."""
        begin, exact = self._now(), _forget_peak()
        yield
        self._sample()  # the thread may have waited for the GIL all the time
        end = self._now()
        self._stages.append(Stage(name, begin, end, memory("VmHWM") if exact else self._peak(begin, end)))

    def samples(self) -> tuple[Sample, ...]:
        """In the order of time, at most MOST_SAMPLES; a dropped one was no higher than its neighbour."""
        return tuple(self._samples)

    def stages(self) -> tuple[Stage, ...]:
        """Those that are over."""
        return tuple(self._stages)

    def peak(self) -> int | None:
        """The most resident memory there ever was; None: not Linux."""
        sizes = [memory("VmHWM"), *(stage.peak_bytes for stage in self._stages)]
        return max((size for size in sizes if size is not None), default=None)

    def _peak(self, begin: float, end: float) -> int | None:
        return max((each.resident_bytes for each in self._samples if begin <= each.seconds <= end), default=None)

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _run(self) -> None:
        interval = FIRST_INTERVAL
        while self._sample() and not self._stop.wait(interval):
            if len(self._samples) > MOST_SAMPLES:
                with self._lock:
                    self._samples[:] = _halved(self._samples)
                interval *= 2

    def _sample(self) -> bool:
        """Whether there was anything to read."""
        with self._lock:  # of the stages' thread and ours: times ascend
            if (resident := memory("VmRSS")) is not None:
                self._samples.append(Sample(self._now(), resident))
        return resident is not None


def _halved(samples: list[Sample]) -> list[Sample]:
    """The higher of each two neighbours."""
    higher: Callable[[Sample], int] = lambda sample: sample.resident_bytes  # noqa: E731
    return [max(samples[place : place + 2], key=higher) for place in range(0, len(samples), 2)]


def _forget_peak() -> bool:
    """Let VmHWM begin anew, from what is resident now; False where the system does not."""
    try:
        (PROC / "self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def memory(name: str) -> int | None:
    """Bytes of one line of /proc/self/status: VmRSS now, VmHWM at its peak."""
    try:
        lines = (PROC / "self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)

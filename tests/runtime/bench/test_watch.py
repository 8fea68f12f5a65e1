"""Memory over time and others' CPU time, on Linux and where there is no /proc."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from instructor_onnx.bench import watch
from instructor_onnx.bench.results import Sample
from instructor_onnx.bench.watch import Ticks, Watch

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
def test_memory_is_seen_while_it_is_there() -> None:
    with Watch() as watching:
        time.sleep(0.1)
        with watching.stage("large"):
            block = bytearray(b"x" * 100_000_000)
            time.sleep(0.3)
        del block
    (stage,) = watching.stages()
    first = watching.samples()[0].resident_bytes
    assert stage.name == "large"
    assert stage.begin_seconds < stage.end_seconds
    assert stage.peak_bytes is not None
    assert stage.peak_bytes - first > 90_000_000


def test_samples_stay_few_and_keep_the_highest() -> None:
    samples = [Sample(float(second), second % 7 + 1) for second in range(101)]
    halved = watch._halved(samples)
    assert len(halved) == 51
    assert max(each.resident_bytes for each in halved) == 7
    assert [each.seconds for each in halved] == sorted(each.seconds for each in halved)


def test_other_processes_are_what_is_not_ours() -> None:
    begin = Ticks(at=10.0, busy=100.0, stolen=1.0, own=50.0)
    end = Ticks(at=12.0, busy=103.0, stolen=2.0, own=51.0)
    assert watch.other_cores(begin, end) == 1.0
    load = watch.load_between(begin, end, [0.5, 1.5], 0.7)
    assert (load.other_cores, load.most_other_cores, load.stolen_cores, load.load_average) == (1.0, 1.5, 0.5, 0.7)


def test_too_short_a_time_tells_nothing() -> None:
    begin = Ticks(at=10.0, busy=100.0, stolen=0.0, own=50.0)
    assert watch.other_cores(begin, Ticks(at=10.1, busy=101.0, stolen=0.0, own=50.0)) is None


@linux
def test_own_work_is_not_others() -> None:
    begin = Ticks.now()
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        pass
    end = Ticks.now()
    assert begin is not None
    assert end is not None
    assert end.own - begin.own > 0.05
    assert end.busy >= begin.busy


@pytest.mark.parametrize("stat", ["", "cpu 1 2 3", "cpu  0 0 0 0 0 0 0 0 0 0", "cpu a b c d e f g h"])
def test_a_sandbox_that_tells_nothing_is_not_called_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stat: str
) -> None:
    (tmp_path / "stat").write_text(stat + "\n")
    monkeypatch.setattr(watch, "PROC", tmp_path)
    monkeypatch.setattr(os, "sysconf", lambda name: 100, raising=False)
    assert Ticks.now() is None


def test_without_proc_there_are_stages_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PROC", tmp_path / "nowhere")
    with Watch() as watching, watching.stage("open"):
        pass
    (stage,) = watching.stages()
    assert stage.peak_bytes is None
    assert watching.samples() == ()
    assert watching.peak() is None
    assert Ticks.now() is None
    assert watch.memory("VmRSS") is None
    assert watch.other_cores(None, None) is None

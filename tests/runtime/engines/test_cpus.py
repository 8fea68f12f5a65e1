"""Affinity and control groups: how many cores are ours."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from instructor_onnx.engines import cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_bounds_the_threads() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cpus.available_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def control_groups(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    root = tmp_path / "cgroup"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    return root, tmp_path / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/docker/1\n", {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:memory:/\n", {}, math.inf),
    ],
    ids=["v2", "v2 unlimited", "v2 parent", "v2 half", "v1", "v1 unlimited", "none"],
)  # fmt: skip
def test_the_tightest_quota_binds(tmp_path: Path, membership: str, files: dict[str, str], quota: float) -> None:
    assert cpus._cpu_quota(*control_groups(tmp_path, membership, files)) == quota


def test_no_control_groups(tmp_path: Path) -> None:
    assert cpus._cpu_quota(tmp_path, tmp_path / "absent") == math.inf


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [
        (8, math.inf, (4, "cores of this machine, which has 8 logical CPUs")),
        (8, 4.0, (4, "cores of this machine, which has 8 logical CPUs")),
        (4, math.inf, (2, "cores of this process's affinity, 4 of 8 logical CPUs")),
        (8, 1.5, (2, "the container's CPU quota is 1.5, of 4 cores")),
        (4, 0.5, (1, "the container's CPU quota is 0.5, of 2 cores")),
    ],
)
def test_what_sets_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, allowed: int, quota: float, expected: tuple[int, str]
) -> None:
    """On four cores of two hyper-threads each."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    monkeypatch.setattr(cpus, "_core_of", lambda cpu: str(cpu // 2))
    monkeypatch.setattr(cpus, "_cpu_quota", lambda: quota)
    assert cpus.cpus_and_why() == expected
    assert cpus.available_cpus() == expected[0]


def test_half_a_cpu_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_cpu_quota", lambda: 0.5)
    assert cpus.available_cpus() == 1

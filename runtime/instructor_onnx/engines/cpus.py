"""How many CPU threads a run takes: the cores that are ours."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST_THREADS = 1024  # that the native kernels take; more of onnxruntime's would only wait


def thread_count(num_threads: int | None) -> int:
    """The CPU threads of one run; None: what affinity and container quota allow.

    Raises:
        ValueError: more than an engine takes.
    """
    if num_threads is None:
        return min(available_cpus(), MOST_THREADS)
    if not 1 <= num_threads <= MOST_THREADS:
        raise ValueError(f"num_threads: found {num_threads}, expected a whole number from 1 to {MOST_THREADS}.")
    return num_threads


def available_cpus() -> int:
    """Physical cores this process may use: its affinity, bounded by the container's CPU quota.

    onnxruntime's own default ignores both and oversubscribes a small container on a large machine.
    """
    return cpus_and_why()[0]


def cpus_and_why() -> tuple[int, str]:
    """The same, and what sets that number."""
    logical = os.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = affinity(0) if affinity else set(range(logical))
    cores = len({_core_of(cpu) for cpu in cpus})
    quota = _cpu_quota()
    if quota < cores:
        why = f"the container's CPU quota is {quota:g}, of {cores} cores"
    elif len(cpus) < logical:
        why = f"cores of this process's affinity, {len(cpus)} of {logical} logical CPUs"
    else:
        why = f"cores of this machine, which has {logical} logical CPUs"
    return max(1, math.ceil(min(cores, quota))), why


def _core_of(cpu: int) -> str:
    """A name for the physical core of a logical CPU: hyper-threads share one."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return siblings.read_text()
    except OSError:
        return str(cpu)


def _cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs' worth of time the control groups of this process allow; infinite where nothing limits it.

    Reads every group from its own up to the root, as the tightest one binds: cgroup v2's `cpu.max`
    ("quota period", in microseconds), then v1's pair of files.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:  # "0::/path" is v2; "4:cpu,cpuacct:/path" is v1
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        group = base / path.lstrip("/")
        for folder in [group, *group.parents]:
            if folder.is_relative_to(base):
                quotas.append(_group_quota(folder))
    return min(quotas)


def _group_quota(folder: Path) -> float:
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        return math.inf if quota in ("max", "-1") else int(quota) / int(period)
    return math.inf

"""The memory of this process (Linux). Standard library only: the rivals' own environments import it."""

from __future__ import annotations

from pathlib import Path


def memory() -> dict[str, int]:
    """Resident memory of this process now and at its highest, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kilobytes = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest
    }
    return {"resident": 1024 * kilobytes["VmRSS"], "peak": 1024 * kilobytes["VmHWM"]}

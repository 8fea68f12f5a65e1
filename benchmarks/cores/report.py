"""What was measured and simulated -> its tables, in Markdown. Reads nothing but the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.common.markdown import table
from benchmarks.common.results import read


def tables(path: Path) -> str:
    """Those of one results file."""
    found = read(path, "here", "check", "predicted")
    here, assumed = found["here"], found["assumed"]
    heading = (
        f"{found['date']}, {machine.line(found['subject'])}, {found['isa']}, base shape of random weights, "
        f"beside a load of {found['load']}. "
        f"Measured here: memory {here['core_bandwidth'] / 1e9:.0f} GB/s of one core and "
        f"{here['cluster_bandwidth'] / 1e9:.0f} of two, another core's activations "
        f"{here['share_bandwidth'] / 1e9:.0f} GB/s, its cache line {1e9 * here['line']:.0f} ns, "
        f"{1e9 * here['scan']:.0f} each of many; a thread's start {1e6 * here['start']:.0f} us. "
        f"Assumed of other machines: {assumed['socket_bandwidth'] / 1e9:.0f} GB/s a socket, "
        f"{assumed['link_bandwidth'] / 1e9:.0f} between two, {assumed['remote']:.0%} of the weights in the other's "
        f"memory, {assumed['cache'] / 2**20:.1f} MB of weights kept by a core."
    )
    return "\n\n".join([heading, _check(found["check"]), _predicted(found)])


def _check(check: dict[str, Any]) -> str:
    rows = []
    for shape, by_threads in check.items():
        cells = [shape]
        for threads in ("1", "2"):
            run = by_threads[threads]
            measured, error = ("-", "-") if run["error"] is None else (f"{run['measured']:.4g}", f"{run['error']:+.0%}")
            cells += [measured, f"{run['simulated']:.4g}", error]
        rows.append(cells)
    titles = [f"{what}, {threads}" for threads in (1, 2) for what in ("measured", "simulated", "error")]
    return table(["ms, threads", *titles], rows)


def _predicted(found: dict[str, Any]) -> str:
    rows = []
    names = list(found["predicted"])[::-1]
    machines = list(found["predicted"]["now"])
    for shape in next(iter(found["predicted"]["now"].values())):
        for name in names:
            cells = [shape if len(names) == 1 else f"{shape}, {name}"]
            for cores in machines:
                run = found["predicted"][name][cores][shape]
                cells.append(f"{run['kept']:.3g} / {run['new']:.3g} ({run['threads']})")
            rows.append(cells)
    return table(["ms kept / new (threads)", *(f"{cores} cores" for cores in machines)], rows)

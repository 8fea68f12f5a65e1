"""What a results file says of the machine, and how a machine is named in files and tables."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from instructor_onnx.engines import processor


def facts() -> dict[str, Any]:
    """The processor: its name, cores, and the instruction sets that matter."""
    return {
        "cpu": processor.name(),
        "flags": list(processor.product_flags()),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def labels(machine: dict[str, Any]) -> list[str]:
    """Short names for a processor, in file names, the shortest first. They are labels: nothing is decided by them."""
    cpu, flags = machine["cpu"].lower(), machine["flags"]
    strongest = flags[-1:] or ["cpu"]
    own = "-".join([*strongest, *re.findall(r"^\w+|\w*\d\w*", cpu)]).replace("_", "")
    family = re.match(r"amd .*\(family (\d+),", cpu)
    known = {"25": "zen4" if "avx512f" in flags else "zen3", "26": "zen5"}
    return [known[family[1]], own] if family and family[1] in known else [own]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Those of `packages` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def line(subject: dict[str, Any]) -> str:
    """The machine of a results file's subject, for a reader."""
    flags = " ".join(subject["machine"]["flags"])
    return f"{subject['machine']['cpu']} ({flags}), {subject['threads']} threads"


def limits_line(limits: dict[str, Any] | None, operations: int | None) -> str:
    """What a machine can do (limits.py), and what that is in tokens of a model, by a token's operations."""
    if not limits:
        return "Limits of this machine: not measured."
    said, most = [], []
    for kind, name in (("int8", f"exact int8 products ({limits['isa']})"), ("fp32", "fp32 products (numpy's)")):
        if limits[kind]:
            said.append(f"{name} {limits[kind] / 1e9:,.0f} billion operations a second")
            most += [f"{limits[kind] / operations / 1e3:.3g} ktok/s in {kind}"] if operations else []
    said += [f"memory {limits['memory'] / 1e9:.0f} GB/s copied"] if limits["memory"] else []
    allowed = f"; the model's products alone allow {' and '.join(most)}" if most else ""
    return f"Limits of this machine, measured in the same run: {', '.join(said)}{allowed}."

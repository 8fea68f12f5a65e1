"""What the processor calls itself. For reports: nothing is decided by it."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Those that decide how fast a product is; the later, the faster the int8 product that is used.
PRODUCT_FLAGS = (
    *("fma", "f16c", "avx2", "avx512f", "avx512bw", "avx_vnni", "avx512_vnni", "amx_bf16", "amx_int8"),
    *("asimddp", "i8mm"),
)


def name() -> str:
    """The processor's own name and what tells it from others of that name, as "AMD EPYC (family 26, model 2)".

    On Arm, where Linux knows no name: "implementer 0x41, part 0xd40"; of a mixed processor every part.
    """
    facts = _facts()
    if "cpu family" in facts:
        known = next((facts[key][0] for key in ("model name", "vendor_id") if facts.get(key)), platform.machine())
        return f"{known} (family {facts['cpu family'][0]}, model {facts.get('model', ['unknown'])[0]})"
    if "CPU part" in facts:
        chip = "/".join(facts.get("model name", [platform.machine()]))
        return f"{chip} (implementer {'/'.join(facts['CPU implementer'])}, part {'/'.join(facts['CPU part'])})"
    return _brand() or platform.processor() or platform.machine() or "unknown"


def flags() -> frozenset[str]:
    """The instruction sets and features as Linux names them; empty where they cannot be read."""
    facts = _facts()
    return frozenset(flag for key in ("flags", "Features") for line in facts.get(key, []) for flag in line.split())


def product_flags() -> tuple[str, ...]:
    """Those of PRODUCT_FLAGS that this processor has, in their order; () where they cannot be read."""
    known = flags()
    return tuple(flag for flag in PRODUCT_FLAGS if flag in known)


@functools.cache
def _facts() -> dict[str, list[str]]:
    """The fields of /proc/cpuinfo, each with its distinct values over all processors."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    facts: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if value and value not in facts.setdefault(key, []):
            facts[key].append(value)
    return facts


def _brand() -> str:
    """What macOS calls it, as "Apple M1 Pro"; platform.processor() knows only "arm" there."""
    if sys.platform != "darwin":
        return ""
    asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()

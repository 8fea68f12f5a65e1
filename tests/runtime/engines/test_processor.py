"""What processors call themselves, from the files of machines that are not at hand."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from instructor_onnx.engines import processor

EPYC = """\
processor	: 0
vendor_id	: AuthenticAMD
cpu family	: {family}
model		: {model}
model name	: AMD EPYC
cpu MHz		: 2596.094
flags		: fpu sse2 avx2

processor	: 1
vendor_id	: AuthenticAMD
cpu family	: {family}
model		: {model}
model name	: AMD EPYC
cpu MHz		: 2601.5
flags		: fpu sse2 avx2
"""
ARM = """\
processor	: 0
BogoMIPS	: 50.00
Features	: fp asimd asimddp i8mm
CPU implementer	: 0x41
CPU architecture: 8
CPU part	: {first}

processor	: 1
Features	: fp asimd asimddp i8mm
CPU implementer	: 0x41
CPU part	: 0xd05
"""


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    processor._facts.cache_clear()
    yield
    processor._facts.cache_clear()


@pytest.mark.parametrize(
    ("cpuinfo", "name", "flags"),
    [
        (EPYC.format(family=26, model=2), "AMD EPYC (family 26, model 2)", {"fpu", "sse2", "avx2"}),
        (EPYC.format(family=25, model=1), "AMD EPYC (family 25, model 1)", {"fpu", "sse2", "avx2"}),
        (ARM.format(first="0xd05"), "aarch64 (implementer 0x41, part 0xd05)", {"fp", "asimd", "asimddp", "i8mm"}),
        (ARM.format(first="0xd0b"), "aarch64 (implementer 0x41, part 0xd0b/0xd05)", {"fp", "asimd", "asimddp", "i8mm"}),
    ],
    ids=["Zen 5", "Zen 3 of the same name", "Arm", "Arm of two kinds"],
)
def test_linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, name: str, flags: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert processor.name() == name
    assert processor.flags() == flags


def test_macos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="Apple M1 Pro\n"))
    assert processor.name() == "Apple M1 Pro"
    assert processor.flags() == frozenset()


def test_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel"
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(platform, "processor", lambda: said)
    assert processor.name() == said

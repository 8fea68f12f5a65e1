"""Results files are named by the processor, and none is written over another processor's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx.engines import processor

from benchmarks import builds, precisions
from benchmarks.common import PROJECT, machine, results
from benchmarks.compare import report
from benchmarks.native import report as native_report
from wheels import run as wheels

ZEN5 = "AMD EPYC (family 26, model 2)"
AVX2, AVX512 = ["fma", "f16c", "avx2"], ["fma", "f16c", "avx2", "avx512f", "avx512_vnni"]


def put_into(monkeypatch: pytest.MonkeyPatch, cpu: str, flags: list[str]) -> None:
    """Let this be the processor."""
    monkeypatch.setattr(processor, "name", lambda: cpu)
    monkeypatch.setattr(processor, "flags", lambda: frozenset([*flags, "sse2"]))


@pytest.mark.parametrize(
    ("cpu", "flags", "label"),
    [
        ("AMD EPYC (family 25, model 1)", AVX2, "zen3"),
        ("AMD EPYC 9654 96-Core Processor (family 25, model 17)", AVX512, "zen4"),
        (ZEN5, AVX512, "zen5"),
        ("AMD Something (family 99, model 0)", AVX512, "avx512vnni-amd-99-0"),
        ("Intel(R) Xeon(R) Processor (family 6, model 143)", [*AVX512, "amx_int8"], "amxint8-intel-6-143"),
        ("aarch64 (implementer 0x41, part 0xd40)", ["asimddp", "i8mm"], "i8mm-aarch64-0x41-0xd40"),
        ("Apple M1 Pro", [], "cpu-apple-m1"),
    ],
)
def test_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu: str, flags: list[str], label: str) -> None:
    put_into(monkeypatch, cpu, flags)
    path = results.own_file("bench", "org/a model", folder=tmp_path)
    assert path == tmp_path / f"bench-org-a-model-{label}.json"
    assert results.label_of(path, "org/a model") == label
    assert results.own_file("int8", folder=tmp_path) == tmp_path / f"int8-{label}.json"


@pytest.mark.parametrize("form", [lambda facts: {"machine": facts}, lambda facts: {"subject": {"machine": facts}}])
def test_only_its_own_file_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: Any) -> None:
    put_into(monkeypatch, ZEN5, AVX512)
    path = tmp_path / "bench-m-zen5.json"
    path.write_text(json.dumps(form(machine.facts())))
    assert results.own_file("bench", "m", folder=tmp_path) == path
    assert results.own_file("bench", "m", path) == path
    put_into(monkeypatch, "AMD EPYC (family 26, model 17)", AVX512)
    other = results.own_file("bench", "m", folder=tmp_path)
    assert other == tmp_path / "bench-m-avx512vnni-amd-26-17.json"
    with pytest.raises(ValueError, match="bench-m-zen5.json: holds figures of another processor"):
        results.own_file("bench", "m", path)
    put_into(monkeypatch, ZEN5, AVX2)  # of that name, but a machine that hides what it has
    assert results.own_file("bench", "m", folder=tmp_path) == tmp_path / "bench-m-avx2-amd-26-2.json"


def test_a_file_that_names_no_processor_is_anothers(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"machine": "2 cores"}))
    with pytest.raises(ValueError, match="another processor"):
        results.own_file("export", out=path)


def test_every_file_in_the_project_names_a_processor() -> None:
    """By its label, so that no run on another one ever takes its name."""
    labels = ("zen3", "zen4", "zen5", "avx", "amx", "i8mm", "asimddp", "cpu-", "cuda-")
    of_several = ("mca.json", "wheels.json")
    names = [path.name for path in results.RESULTS.iterdir() if path.name not in of_several]
    assert names
    assert [name for name in names if not any(label in name for label in labels)] == []


def test_the_pages_show_what_was_measured() -> None:
    """The blocks of the pages are what their commands make of the files in results/."""
    shown = [report.Shown.read(path) for path in sorted(results.RESULTS.glob("bench-*.json"))]
    engines = [native_report.tables(path) for path in sorted(results.RESULTS.glob("native-*.json"))]
    page = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert block(page, "bench") == report.tables(shown, beside=PROJECT / "docs")
    assert block(page, "native") == "\n\n".join(engines)
    smaller = (PROJECT / "docs" / "smaller-vectors.md").read_text(encoding="utf-8")
    kept = [precisions.tables(results.read(path)) for path in sorted(results.RESULTS.glob("precisions-*.json"))]
    assert block(smaller, "precisions") == "\n\n".join(kept)
    platforms = (PROJECT / "docs" / "platforms.md").read_text(encoding="utf-8")
    compared = [builds.tables(results.read(path)) for path in sorted(results.RESULTS.glob("builds-*.json"))]
    assert block(platforms, "builds") == "\n\n".join(compared)
    assert block(platforms, "wheels") == wheels.tables(results.read(results.RESULTS / "wheels.json"))
    assert block((PROJECT / "README.md").read_text(encoding="utf-8"), "bench") == report.overview(shown, beside=PROJECT)


def block(page: str, name: str) -> str:
    return page.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]

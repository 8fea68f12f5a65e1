"""What `instructor-onnx info` says of a machine, by stand-ins for the machines that are not at hand."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from instructor_onnx import INSTRUCTOR, Manifest, __version__, cli
from instructor_onnx.cli import machine
from instructor_onnx.engines import cpus, devices, native, processor, saturation
from instructor_onnx.extras import pip_install
from instructor_onnx.loading import EMBEDDED

FOLDER = EMBEDDED["instructor-mini"]
NO_AMX = "the system keeps AMX's tiles from this process"


class KernelError(Exception):
    """As the kernels raise it."""


def kernels(*passing: str) -> Any:
    """Native kernels of a build with three instruction sets, on a machine without the first of them."""

    def self_check(isa: str) -> None:
        if isa not in passing:
            raise KernelError("text 3 differs in 12 numbers")

    built = ["amx", "avx2", "scalar"]
    return SimpleNamespace(
        KernelError=KernelError,
        built_instruction_sets=lambda: built,
        instruction_sets=lambda: built[1:],
        why_not={"amx": NO_AMX}.get,
        self_check=self_check,
    )


@pytest.fixture(autouse=True)
def checked_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(native.ISA_VARIABLE, raising=False)
    native._checked.cache_clear()
    yield
    native._checked.cache_clear()


@pytest.fixture
def manifest() -> Manifest:
    """fp32 and fp16 beside the int8 that is there: only their names, types and devices are looked at."""
    found = Manifest.read(FOLDER)
    int8 = found.variants["int8"]
    others = {
        "fp32": dataclasses.replace(int8, weight_type="float32", devices=("cpu", "cuda")),
        "fp16": dataclasses.replace(int8, weight_type="float16", devices=("cuda",)),
        "fp8": dataclasses.replace(int8, weight_type="float8"),  # of another exporter
    }
    return dataclasses.replace(found, variants=found.variants | others)


def look(manifest: Manifest) -> machine.Machine:
    return machine.look(manifest, FOLDER)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "missing", lambda *_: "there is no NVIDIA driver")


@pytest.mark.usefixtures("no_gpu")
def test_where_the_kernels_pass(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(native, "import_kernels", lambda: kernels("avx2", "scalar"))
    monkeypatch.setattr(saturation, "saturates", lambda module: False)
    found = look(manifest)
    assert found.processor == processor.name()
    assert found.threads == cpus.available_cpus()
    assert found.kernels == __version__
    assert found.instruction_sets == {
        "amx": f"not on this machine: {NO_AMX}",
        "avx2": "self-check passed",
        "scalar": "self-check passed",
    }
    engine = f"onnxruntime {onnxruntime.__version__}"
    assert found.variants == {
        "int8": machine.Plan("native avx2", "cpu", "self-check passed"),
        "fp32": machine.Plan("native avx2", "cpu", "self-check passed"),
        "fp8": machine.Plan(engine, "cpu", "the native engine runs fp32, int8 and int4"),
        "fp16": machine.Plan(None, None, "there is no NVIDIA driver"),
    }
    lines = machine.text(found).splitlines()
    assert f"machine     {processor.name()}, {found.architecture}" in lines
    assert f"            amx         not on this machine: {NO_AMX}" in lines
    assert "int8        native avx2, cpu: self-check passed" in lines
    assert "fp16        not here: there is no NVIDIA driver" in lines
    assert any(line.endswith("its 8-bit products are exact") for line in lines)


@pytest.mark.usefixtures("no_gpu")
def test_where_a_self_check_fails(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "import_kernels", lambda: kernels("scalar"))
    monkeypatch.setattr(saturation, "saturates", lambda module: True)
    found = look(manifest)
    assert found.instruction_sets["avx2"] == "self-check failed: text 3 differs in 12 numbers"
    plan = found.variants["int8"]
    assert plan.engine is not None
    assert plan.engine.startswith("onnxruntime ")
    assert plan.why == "of the native kernels only scalar code runs on this machine"
    assert "its 8-bit products saturate: int8 runs with session.x64quantprecision=1" in machine.text(found)


@pytest.mark.usefixtures("no_gpu")
def test_where_an_instruction_set_is_named(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "import_kernels", lambda: kernels("avx2", "scalar"))
    monkeypatch.setenv(native.ISA_VARIABLE, "scalar")
    plan = look(manifest).variants["int8"]
    assert plan == machine.Plan("native scalar", "cpu", "self-check passed, which INSTRUCTOR_ONNX_ISA names")


@pytest.mark.usefixtures("no_gpu")
def test_where_one_is_named_that_cannot_be_had(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "import_kernels", lambda: kernels("scalar"))
    monkeypatch.setenv(native.ISA_VARIABLE, "avx2")
    plan = look(manifest).variants["int8"]
    assert plan.engine is None
    assert plan.why.startswith("INSTRUCTOR_ONNX_ISA=avx2: text 3 differs in 12 numbers")


def test_where_nothing_is_installed(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "instructor_onnx.engines.kernels", None)
    found = look(manifest)
    assert (found.onnxruntime, found.kernels, found.saturates) == (None, None, None)
    assert found.providers == ()
    assert found.instruction_sets == {}
    for plan in found.variants.values():
        assert plan.engine is None
        assert pip_install("onnxruntime") in plan.why
    assert "onnxruntime - (not installed)" in machine.text(found)


def test_the_plan_is_what_a_model_does(bundle: Path) -> None:
    planned = machine.look(Manifest.read(bundle), bundle).variants
    for name, plan in planned.items():
        model = INSTRUCTOR(bundle, variant=name)
        assert plan.engine is not None
        assert plan.engine.startswith(model.engine_name)
        assert plan.device == model.device


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "instructor-mini"]) == 0
    out = capsys.readouterr().out
    found = look(Manifest.read(FOLDER))
    assert machine.text(found) in out
    assert out.count("\n") < 50
    assert cli.main(["info", "instructor-mini", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["machine"] == json.loads(json.dumps(dataclasses.asdict(found)))

"""Which engine runs a variant, and what every engine has."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.engines import native
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import ENGINES, default_engine, fits, why_not
from instructor_onnx.extras import pip_install

CPU, GPU = Device("cpu"), Device("cuda")


@pytest.mark.parametrize(
    ("weight_type", "device", "expected"),
    [
        ("int8", CPU, ("onnxruntime", "native")),
        ("int4", CPU, ("onnxruntime", "native")),
        ("float32", CPU, ("onnxruntime", "native")),
        ("float32", GPU, ("onnxruntime",)),
        ("int8", GPU, ("onnxruntime",)),
        ("float16", GPU, ("onnxruntime",)),
    ],
)
@pytest.mark.parametrize("verified", [True, False])
def test_the_default_is_native_where_it_fits_and_is_verified(
    monkeypatch: pytest.MonkeyPatch, weight_type: str, device: Device, expected: tuple[str, ...], verified: bool
) -> None:
    monkeypatch.setattr(native, "why_not", lambda: None if verified else "there is no compiler")
    assert fits(weight_type, device) == expected
    assert default_engine(weight_type, device) == (expected[-1] if verified else "onnxruntime")
    assert (why_not("native") is None) == verified
    assert why_not("onnxruntime") is None


def test_a_model_without_an_engines_name_runs_on_the_default(bundle: Path) -> None:
    for name, variant in Manifest.read(bundle).variants.items():
        model = INSTRUCTOR(bundle, variant=name, device="cpu")
        assert model.engine.name == default_engine(variant.weight_type, CPU)
        assert isinstance(model.engine, ENGINES[model.engine.name])


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_describes_itself(name: str) -> None:
    if reason := why_not(name):
        pytest.skip(reason)
    model = INSTRUCTOR("instructor-mini", device="cpu", engine=name)
    assert model.engine.name == name
    assert model.engine_name == model.engine.description
    assert model.engine.description.split()[0] == name


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.mark.usefixtures("no_onnxruntime")
class TestWithoutOnnxruntime:
    def test_native_runs_every_variant_for_cpus(self, bundle: Path) -> None:
        if reason := native.why_not():
            pytest.skip(reason)
        assert INSTRUCTOR(bundle).variant == "fp32"
        for variant in Manifest.read(bundle).variants:
            assert INSTRUCTOR(bundle, variant=variant).encode("a text").any()

    def test_scalar_code_is_better_than_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(native.ISA_VARIABLE, raising=False)
        monkeypatch.setattr(native, "instruction_set", lambda: "scalar")
        assert default_engine("int8", CPU) == "native"

    def test_who_asks_for_onnxruntime_learns_the_extra_and_the_engine_that_does_without(
        self, monkeypatch: pytest.MonkeyPatch, bundle: Path
    ) -> None:
        monkeypatch.setattr(native, "why_not", lambda: None)
        expected = f"variant='fp32': onnxruntime is not installed .*: {re.escape(pip_install('onnxruntime'))}, "
        with pytest.raises(ImportError, match=expected + "or use engine='native', which runs it without"):
            INSTRUCTOR(bundle, engine="onnxruntime")

    def test_a_variant_that_only_onnxruntime_knows_names_one_that_does_without(
        self, monkeypatch: pytest.MonkeyPatch, bundle: Path, tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(bundle, tmp_path / "own"))
        manifest = (folder / "manifest.json").read_text()
        assert '"weight_type": "float32"' in manifest
        (folder / "manifest.json").write_text(manifest.replace('"weight_type": "float32"', '"weight_type": "float64"'))
        monkeypatch.setattr(native, "why_not", lambda: None)
        with pytest.raises(ImportError, match="or use variant='int8', which the native engine runs without it"):
            INSTRUCTOR(folder, variant="fp32")

    def test_with_no_engine_at_all_both_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "why_not", lambda: "there is no compiler")
        expected = (
            f"variant='int8': onnxruntime .*: {re.escape(pip_install('onnxruntime'))}. The native engine would run "
        )
        with pytest.raises(ImportError, match=expected + "int8 without it, but there is no compiler"):
            INSTRUCTOR("instructor-mini")

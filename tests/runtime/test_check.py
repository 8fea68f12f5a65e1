"""`check_bundle`, which `instructor-onnx check` prints: see also cli/test_check.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, BundleError, Manifest
from instructor_onnx.bundle import size_of
from instructor_onnx.check import check_bundle
from instructor_onnx.engines import devices


def for_gpus(folder: Path, *variants: str) -> None:
    """Have the manifest say that these are for GPUs, and not verified yet."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in variants:
        manifest["variants"][name] |= {"devices": ["cuda"], "verification": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_every_part_has_its_sentence(bundle: Path) -> None:
    files = Manifest.read(bundle).files()
    whole, *opened = check_bundle(bundle)
    assert whole == (True, f"{len(files)} files, {size_of(files)}: sizes and sha256 as in manifest.json")
    engines = {name: INSTRUCTOR(bundle, variant=name, device="cpu").engine_name for name in ("fp32", "int8", "int4")}
    assert opened == [
        (True, f"{name}: opens with the tokenizer on cpu and embeds a text ({engine})")
        for name, engine in engines.items()
    ]


def test_what_this_machine_cannot_tell(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(bundle, tmp_path / "own"))
    monkeypatch.setattr(devices, "missing", lambda *_: "there is no GPU")
    for_gpus(folder, "int8")
    left_out = [part.said for part in check_bundle(folder) if not part.passed]
    assert left_out == ["int8: not opened, it is for cuda and there is no GPU; not verified on a GPU yet"]
    for_gpus(folder, *Manifest.read(folder).variants)
    with pytest.raises(BundleError, match="its files are whole, but this machine can open none of its variants"):
        list(check_bundle(folder))


def test_damage_is_found_before_anything_is_opened(bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle, tmp_path / "own"))
    path = folder / Manifest.read(folder).variants["int8"].files[-1].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"sha256 is .* damaged or was changed"):
        next(check_bundle(folder))

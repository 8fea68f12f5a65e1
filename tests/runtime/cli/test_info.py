"""`instructor-onnx info`: what it prints of a bundle; of the machine, see test_machine.py."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from instructor_onnx import Manifest, cli
from instructor_onnx.engines import cpus


def test_info(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    assert cli.main(["info", str(bundle)]) == 0
    out = capsys.readouterr().out
    manifest = Manifest.read(bundle)
    assert manifest.model.name in out
    assert f"onnxruntime {onnxruntime.__version__}, " in out
    for file in (file for variant in manifest.variants.values() for file in variant.files):
        assert file.path in out
        assert file.sha256[:16] in out


def test_info_as_json(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(bundle), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["manifest"] == json.loads((bundle / "manifest.json").read_text())
    assert facts["machine"]["threads"] == cpus.available_cpus()


@pytest.mark.skipif(sys.platform != "linux", reason="needs paths of any bytes")
def test_a_path_that_no_terminal_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(Path(cli.__file__).parents[1] / "instructor-mini", tmp_path / "mini-\udcff"))
    assert cli.main(["info", str(folder)]) == 0
    assert "mini-\\udcff: instructor-mini, variants int8" in capsys.readouterr().out

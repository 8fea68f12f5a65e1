"""`instructor-onnx check`: what it prints and finds."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from instructor_onnx import Manifest, cli
from instructor_onnx.engines import devices

from tests.runtime.cli.conftest import error_of


def test_check(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(bundle)]) == 0
    captured = capsys.readouterr()
    assert "sizes and sha256 as in manifest.json" in captured.out
    for variant in ("fp32", "int8"):
        assert f"ok  {variant}: opens with the tokenizer on cpu and embeds a text" in captured.out
    assert captured.err == ""


def test_check_finds_damage(own_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_bundle / Manifest.read(own_bundle).variants["int8"].files[-1].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert cli.main(["check", str(own_bundle)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("instructor-onnx: error: ")
    assert f"{path}: sha256 is" in error


def test_check_leaves_what_this_machine_cannot_open(
    own_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (own_bundle / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["variants"]["int8"]["devices"] = ["cuda"]
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(devices, "missing", lambda *_: "there is no GPU")
    assert cli.main(["check", str(own_bundle)]) == 0
    assert "--  int8: not opened, it is for cuda" in capsys.readouterr().out


def test_check_against(
    bundle: Path,
    base_checkpoint: Path,
    exporter: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[Any] = []

    def verify_bundle(*args: Any, **kwargs: Any) -> dict[str, Any]:
        calls.append((args, kwargs))
        return {name: variant.verification for name, variant in Manifest.read(bundle).variants.items()}

    monkeypatch.setattr(exporter, "verify_bundle", verify_bundle)
    options = ["--min-cosine", "0.9", "--record", "--revision", "v2", "--offline", "--threads", "1", "--quiet"]
    assert cli.main(["check", str(bundle), "--against", str(base_checkpoint), *options]) == 0
    assert calls == [
        (
            (bundle, str(base_checkpoint)),
            {
                "min_cosine": 0.9,
                "record": True,
                "num_threads": 1,
                "show_progress": False,
                "revision": "v2",
                "token": None,
                "cache_folder": None,
                "local_files_only": True,
            },
        )
    ]
    assert "max abs diff" in capsys.readouterr().out
    assert cli.main(["check", str(bundle), "--record"]) == 1
    assert "--record: there are no figures without --against" in error_of(capsys)


def test_check_against_another_checkpoint(
    bundle: Path,
    base_checkpoint: Path,
    exporter: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def verify_bundle(*args: Any, **kwargs: Any) -> dict[str, Any]:
        raise exporter.VerificationError("int8: its minimum cosine is 0.5")

    monkeypatch.setattr(exporter, "verify_bundle", verify_bundle)
    assert cli.main(["check", str(bundle), "--against", str(base_checkpoint)]) == 1
    assert capsys.readouterr().err == "instructor-onnx: error: int8: its minimum cosine is 0.5\n"

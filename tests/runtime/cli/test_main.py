"""Of all commands: usage, help, exit codes, errors and the standard streams."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, __version__, cli
from instructor_onnx.engines import devices

from tests.runtime.cli.conftest import COMMAND, encode, error_of


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["embed"],
        ["encode", "b", "in.txt"],
        ["encode", "b", "in.txt", "-o", "out.npy", "--instruction", "a", "--instruction-column", "b"],
        ["encode", "b", "in.txt", "-o", "out.npy", "--batch-size", "0"],
        ["encode", "b", "in.txt", "-o", "out.npy", "--chunk-rows", "1e3"],
        ["encode", "b", "in.txt", "-o", "out.npy", "--chunk-rows", "1" + "0" * 30],
        ["encode", "b", "in.txt", "-o", "out.npy", "--batch-size", "9" * 5000],
        ["encode", "b", "in.txt", "-o", "out.npy", "--instruction", "\udcff: "],
        ["encode", "b", "in.txt", "-o", "out.npy", "--threads", "1025"],
        ["check", "b", "--threads", "1025"],
        ["bench", "b", "--threads", "1025"],
        ["export", "c", "out", "--threads", "1025"],
        ["serve", "b", "--threads", "1025"],
        ["encode", "b", "in.txt", "-o", "out.npy", "--input-format", "xml"],
        ["export", "c"],
        ["export", "c", "out", "--variants", "fp32,,int8"],
        ["export", "c", "out", "--min-cosine", "2"],
        ["check", "b", "--min-cosine", "x"],
        ["instructions"],
        ["instructions", "rank", "b"],
        ["instructions", "rank", "b", "s.jsonl", "--seed", "-1"],
        ["instructions", "rank", "b", "s.jsonl", "--pair", "one: "],
    ],
)
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["export", "encode", "check", "info", "instructions", "examples:", "Exit codes"]),
        (["export"], ["examples:", "instructor-onnx[export]", "default: fp32,int8", "default: 0.99", "1e-5"]),
        (
            ["encode"],
            ["examples:", "[instruction, text]", ".parquet", "--instruction-column", "OUTPUT.partial", "default: 512"],
        ),
        (["check"], ["examples:", "--against", "sha256"]),
        (["info"], ["examples:", "--json"]),
        (
            ["instructions", "rank"],
            ["examples:", "sentence1, sentence2, score", "query, document", "text, label", "instructor-onnx[plot]"],
        ),
    ],
)
def test_help_teaches(
    command: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no line is broken
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert [word for word in words if word not in out] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"instructor-onnx {__version__}\n"


@pytest.mark.parametrize("command", ["info", "check"])
def test_no_bundle(command: str, base_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, str(tmp_path / "no")]) == 1
    assert "no such folder" in error_of(capsys)
    assert cli.main([command, str(base_checkpoint)]) == 1
    assert "This is a checkpoint: run `instructor-onnx export` on it first." in error_of(capsys)


def test_an_error_names_options_of_the_command(
    own_bundle: Path, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a bundle for GPUs alone, where there is none: the library's variant='fp16' is --variant fp16 here."""
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    manifest["variants"] = {"fp16": manifest["variants"]["fp32"] | {"weight_type": "float16", "devices": ["cuda"]}}
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(devices, "missing", lambda *_: "there is no GPU")
    command = ["encode", str(own_bundle), str(source), "-o", str(tmp_path / "out.npy"), "--quiet"]
    assert cli.main(command) == 1
    said = error_of(capsys)
    assert "no variant that runs well on cpu (it has fp16). Export again with `--variants fp32`" in said
    assert "as --variant fp16." in said
    assert cli.main([*command, "--variant", "fp16"]) == 1
    assert "--device cuda: there is no GPU, or use --device cpu." in error_of(capsys)


def test_a_path_is_no_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encode", "b", f"{tmp_path}/device='x'/in.txt", "-o", str(tmp_path / "out.npy")]) == 1
    assert "/device='x'/in.txt: no such file" in error_of(capsys)


def test_errors_show_a_traceback_on_demand(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cli.main(["encode", "b", str(tmp_path / "no.txt"), "-o", str(tmp_path / "out.npy"), "--debug"])


def test_a_defect_of_ours_is_no_error_of_the_users(
    bundle: Path, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(INSTRUCTOR, "_embed", broken)
    with pytest.raises(KeyError):
        cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet"))


def test_the_reader_of_stdout_may_leave(bundle: Path, source: Path) -> None:
    command = [*COMMAND, *encode(bundle, source, "-", "--quiet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with streams that `redirections` closes or leads elsewhere."""
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize(
    ("redirections", "arguments", "message"),
    [
        ("<&-", ["encode", "instructor-mini", "-", "-o", "-", "--input-format", "text"], "stdin: is closed"),
        (">&-", ["encode", "instructor-mini", "-", "-o", "-", "--input-format", "text"], "stdout: is closed"),
        ("<&- >&-", ["encode", "instructor-mini", "-", "-o", "-", "--input-format", "text"], "stdout: is closed"),
        (">&-", ["info", "instructor-mini"], "stdout: is closed, and the answer goes there"),
    ],
)
def test_closed_streams(redirections: str, arguments: list[str], message: str) -> None:
    found = shell(redirections, *arguments)
    assert found.returncode == 1
    assert found.stderr.startswith(f"instructor-onnx: error: {message}")
    assert found.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_closed_streams_that_nobody_needs(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    found = shell("<&- >&- 2>&-", *encode("instructor-mini", tmp_path / "in.txt", tmp_path / "out.npy"))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert np.load(tmp_path / "out.npy").shape == (1, 384)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["info"], ["encode", "-", "-o", "-", "--input-format", "text", "--quiet"]])
def test_a_stdout_that_takes_nothing(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    found = shell(f"< {tmp_path}/in.txt > /dev/full", command[0], "instructor-mini", *command[1:])
    assert found.returncode == 1
    assert found.stderr.startswith("instructor-onnx: error: [Errno 28] No space left on device")
    assert found.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_stdout_by_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    found = shell("", *encode("instructor-mini", tmp_path / "in.txt", name, "--quiet", "--overwrite"))
    assert (found.returncode, found.stderr) == (0, "")
    assert len(json.loads(found.stdout)["embedding"]) == 384

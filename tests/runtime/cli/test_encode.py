"""`instructor-onnx encode`: what it prints, its errors, and runs that are killed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, BundleError, cli
from instructor_onnx.bundle import InstructorOnnxError
from instructor_onnx.engines import devices
from instructor_onnx.extras import pip_install
from instructor_onnx.files import stream
from instructor_onnx.files.resume import STATE_VERSION, State

from tests.runtime.cli.conftest import CHUNK, COMMAND, INSTRUCTION, encode, error_of


def content(path: Path) -> Any:
    """What has to be equal: the bytes, but of parquet the table."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def test_encode_is_the_models_encode(
    bundle: Path, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--variant", "int8")) == 0
    texts = [json.loads(line)["text"] for line in source.read_text().splitlines()]
    expected = INSTRUCTOR(bundle, variant="int8", device="cpu").encode([[INSTRUCTION, text] for text in texts])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\r" not in captured.err  # a bar is for a terminal
    assert f"out.npy: 1,000 texts, {expected.shape[1]} numbers each, " in captured.err
    assert "texts/s" in captured.err


def test_quiet(bundle: Path, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet")) == 0
    assert capsys.readouterr() == ("", "")


def test_stdin_to_stdout(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n\xc3\xa9\n")))
    assert cli.main(encode(bundle, "-", "-", "--input-format", "text", "--embedding-column", "vector")) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a", "é"]
    expected = INSTRUCTOR(bundle, device="cpu").encode([[INSTRUCTION, "a"], [INSTRUCTION, "é"]])
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], dtype=np.float32), expected)


def test_max_seq_length_and_the_warning_in_sum(
    bundle: Path, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--max-seq-length", "16", "--quiet")) == 0
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("instructor-onnx: warning: ")
    assert f"of {CHUNK} texts were cut to max_seq_length=16" in first
    model = INSTRUCTOR(bundle, device="cpu")
    rows = [[INSTRUCTION, json.loads(line)["text"]] for line in source.read_text().splitlines()]
    cut = sum(model.tokenize(rows)["attention_mask"].sum(axis=1) > 16)
    assert f"in all, {cut:,} texts were cut" in last
    assert cli.main(encode(bundle, source, tmp_path / "long.npy", "--max-seq-length", "1024", "--quiet")) == 0
    assert capsys.readouterr().err == ""


def test_the_mean_of_long_texts(bundle: Path, tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = encode(bundle, source, tmp_path / "out.npy", "--max-seq-length", "16", "--long-texts", "mean", "--quiet")
    assert cli.main(command) == 0
    model = INSTRUCTOR(bundle, device="cpu")
    model.max_seq_length = 16
    rows = [[INSTRUCTION, json.loads(line)["text"]] for line in source.read_text().splitlines()]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), model.encode(rows, long_texts="mean"))
    assert capsys.readouterr().err == ""  # of cuts
    assert cli.main([*command[: command.index("--long-texts")], "--append"]) == 1
    assert "were made with long_texts = 'mean', now it is 'cut'" in error_of(capsys)


@pytest.mark.parametrize("output", ["npy", "jsonl", "parquet"])
def test_killed_and_continued(bundle: Path, tmp_path: Path, source: Path, output: str) -> None:
    """kill -9 in mid-run, another while continuing; then the result is that of a run nobody disturbed."""
    # One text a run: slow enough to be caught.
    assert cli.main(encode(bundle, source, tmp_path / f"whole.{output}", "--batch-size", "1", "--quiet")) == 0
    target = tmp_path / f"out.{output}"
    partial = tmp_path / f"out.{output}.partial"
    done = 0
    for _ in range(2):
        with subprocess.Popen([*COMMAND, *encode(bundle, source, target, "--batch-size", "1", "--quiet")]) as process:
            while (state := State.read(partial) if partial.exists() else None) is None or state.rows <= done:
                assert process.poll() is None, "finished before it was killed"
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not target.exists()
        state = State.read(partial)
        assert state is not None
        assert done < state.rows < 1000
        done = state.rows
    assert cli.main(encode(bundle, source, target, "--batch-size", "1", "--quiet")) == 0
    assert content(target) == content(tmp_path / f"whole.{output}")
    assert not partial.exists()


def test_what_the_same_command_cannot_continue(
    bundle: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint to run it again is given where that can help: not where another command is needed."""

    def fail(error: Exception) -> str:
        monkeypatch.setattr(stream, "prepare", lambda job: (_ for _ in ()).throw(error))
        assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet")) == 1
        return error_of(capsys)

    (tmp_path / "out.npy.partial").mkdir()
    State(STATE_VERSION, 150, 608, "0", {}).write(tmp_path / "out.npy.partial")
    again = "150 rows are done and kept: run the same command again to continue.\n"
    kept = "150 rows are done and kept.\n"
    assert fail(OSError(28, "No space left on device")).endswith(again)
    assert fail(MemoryError("no memory for a run.")).endswith(again)
    assert fail(FileExistsError("out.npy: exists. Name another output.")).endswith(kept)
    assert fail(ValueError("in.txt, line 7: found int.")).endswith(kept)
    assert fail(RuntimeError("in.txt, line 7: its vector is not finite.")).endswith(kept)
    assert fail(BundleError("b/manifest.json: not valid JSON.")).endswith(kept)
    assert fail(InstructorOnnxError("ck/config.json: no d_model.")).endswith(kept)  # an exporter's, say


@pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
def test_a_full_disk(bundle: Path, tmp_path: Path, source: Path) -> None:
    """Stands for it: a limit on the size of a file, which the growing output runs into."""
    command = [*COMMAND, *encode(bundle, source, tmp_path / "out.npy", "--quiet")]
    limited = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh", *command]
    found = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("instructor-onnx: error: [Errno 27] File too large")
    assert "rows are done and kept: run the same command again to continue." in found.stderr
    assert found.stderr.count("\n") == 1
    assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet")) == 0
    assert len(np.load(tmp_path / "out.npy")) == 1000


def interrupt_fourth_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C pressed when three chunks are done."""
    calls = iter(range(100))
    original = INSTRUCTOR._embed

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(INSTRUCTOR, "_embed", interrupted)


def test_interrupted(
    bundle: Path,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        interrupt_fourth_call(patched)
        assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet")) == 130
    assert "interrupted. 150 rows are done and kept: run the same command again to continue." in error_of(capsys)
    assert cli.main(encode(bundle, source, tmp_path / "out.npy")) == 0
    assert "1,000 texts, 150 of them by an earlier run" in capsys.readouterr().err


def test_another_model_does_not_continue(
    bundle: Path,
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        interrupt_fourth_call(patched)
        assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet")) == 130
    capsys.readouterr()
    for options, message in [
        (["--variant", "int8"], "begun with variant = 'fp32', now it is 'int8'"),
        (["--max-seq-length", "64"], "begun with max_seq_length = 512, now it is 64"),
    ]:
        assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet", *options)) == 1
        assert message in error_of(capsys)
    assert cli.main(encode(bundle, source, tmp_path / "out.npy", "--quiet", "--variant", "int8", "--restart")) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.jsonl", "-o", "out.npy"], "no.jsonl: no such file"),
        (
            ["in.jsonl", "-o", "there.npy"],
            "there.npy: exists. Name another output, replace it with --overwrite, or add to it with --append.",
        ),
        (["in.jsonl", "-o", "no/out.npy"], "no: no such folder. Make it first"),
        (["in.jsonl", "-o", "out.bin"], "out.bin: no format is known from this name. End it in .npy"),
        (["in.jsonl", "-o", "-", "--output-format", "npy"], "stdout takes jsonl, not npy"),
        (["-", "-o", "out.npy"], "stdin: no format is known from this name. Say --input-format"),
        (["bad.jsonl", "-o", "out.npy"], "bad.jsonl, line 2: column 'text' holds int (7), expected a string."),
        (["in.jsonl", "-o", "out.npy", "--text-column", "title"], "line 1: no column 'title' (it has id, text)."),
        (["in.jsonl", "-o", "out.npy", "--variant", "fp64"], "--variant fp64: "),
        (["in.jsonl", "-o", "out.npy", "--engine", "native", "--device", "cuda"], "--engine native runs fp32, int8"),
        (["in.jsonl", "-o", "out.npy", "--device", "tpu"], "device: found 'tpu'"),
        (["in.jsonl", "-o", "out.npy", "--device", "cuda"], "--device cuda: the installed onnxruntime is the CPU-only"),
    ],
)
def test_encode_errors(
    bundle: Path,
    tmp_path: Path,
    source: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 7}\n')
    (tmp_path / "there.npy").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    if "cuda" in arguments and devices.choose_device(None).kind == "cuda":
        pytest.skip("there is a GPU")
    assert cli.main(["encode", str(bundle), *arguments, "--quiet"]) == 1
    assert message in error_of(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_parquet_without_pyarrow(
    bundle: Path, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.main(encode(bundle, source, tmp_path / "out.parquet")) == 1
    assert f"writing parquet needs pyarrow: {pip_install('parquet')}" in error_of(capsys)

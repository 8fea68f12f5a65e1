"""The command line: what each command prints, its exit codes and errors, and runs that are killed."""

from __future__ import annotations

import importlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR, BundleError, Manifest, __version__, cli
from instructor_onnx.bundle import InstructorOnnxError
from instructor_onnx.engines import cpus, devices, processor
from instructor_onnx.files import stream
from instructor_onnx.files.resume import STATE_VERSION, State

COMMAND = [sys.executable, "-m", "instructor_onnx"]
INSTRUCTION = "Represent the Science title: "
CHUNK = 50


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Enough rows for many chunks."""
    path = tmp_path / "in.jsonl"
    rows = ({"id": i, "text": f"the river rises {i} {'in the hills ' * (i % 5)}"} for i in range(1000))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def encode(bundle: Path | str, source: Path | str, target: Path | str, *options: str) -> list[str]:
    arguments = ["encode", str(bundle), str(source), "-o", str(target), "--instruction", INSTRUCTION, "--device", "cpu"]
    return [*arguments, "--chunk-rows", str(CHUNK), "--threads", "1", *options]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("instructor-onnx: ")
    return captured.err


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
    assert "1000/1000" in captured.err
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs paths of any bytes")
def test_a_path_that_no_terminal_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(Path(cli.__file__).parents[1] / "instructor-mini", tmp_path / "mini-\udcff"))
    assert cli.main(["info", str(folder)]) == 0
    assert "mini-\\udcff: instructor-mini, variants int8" in capsys.readouterr().out


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
        (["in.jsonl", "-o", "there.npy"], "there.npy: exists. Name another output, or replace it with --overwrite."),
        (["in.jsonl", "-o", "no/out.npy"], "no: no such folder. Make it first"),
        (["in.jsonl", "-o", "out.bin"], "out.bin: no format is known from this name. End it in .npy"),
        (["in.jsonl", "-o", "-", "--output-format", "npy"], "stdout takes jsonl, not npy"),
        (["-", "-o", "out.npy"], "stdin: no format is known from this name. Say --input-format"),
        (["bad.jsonl", "-o", "out.npy"], "bad.jsonl, line 2: column 'text' holds int (7), expected a string."),
        (["in.jsonl", "-o", "out.npy", "--text-column", "title"], "line 1: no column 'title' (it has id, text)."),
        (["in.jsonl", "-o", "out.npy", "--variant", "fp64"], "--variant fp64: "),
        (["in.jsonl", "-o", "out.npy", "--engine", "native", "--variant", "fp32"], "--engine native runs int8 and"),
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


def test_parquet_without_pyarrow(
    bundle: Path, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.main(encode(bundle, source, tmp_path / "out.parquet")) == 1
    assert "writing parquet needs pyarrow: pip install 'instructor-onnx[parquet]'" in error_of(capsys)


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


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "own"))


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


@pytest.fixture
def exporter() -> ModuleType:
    return importlib.import_module("instructor_onnx_export")


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


def test_export(
    bundle: Path, exporter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def export(*args: Any, **kwargs: Any) -> Manifest:
        calls.append((args, kwargs))
        return Manifest.read(bundle)

    monkeypatch.setattr(exporter, "export", export)
    options = ["--variants", "fp32, int8", "--min-cosine", "0.995", "--name", "mine", "--overwrite", "--threads", "2"]
    hub = ["--revision", "v2", "--token", "t", "--cache-folder", "c", "--offline", "--quiet"]
    assert cli.main(["export", "someone/model", "out", *options, *hub]) == 0
    assert calls == [
        (
            ("someone/model", Path("out")),
            {
                "variants": ("fp32", "int8"),
                "name": "mine",
                "min_cosine": 0.995,
                "calibrate": None,
                "overwrite": True,
                "num_threads": 2,
                "show_progress": False,
                "revision": "v2",
                "token": "t",
                "cache_folder": Path("c"),
                "local_files_only": True,
            },
        )
    ]
    captured = capsys.readouterr()
    table = [line.split() for line in captured.out.splitlines()]
    figures = "max abs diff cosine mean 1st pct minimum same in any batch"
    assert table[1] == ["variant", "size", "engine", *figures.split()]
    assert [(row[0], row[3]) for row in table[2:4]] == [("fp32", "onnxruntime"), ("int8", "onnxruntime")]
    assert f"\nmeasured on {processor.name()}\n" in captured.out
    assert captured.out.endswith("Next: instructor-onnx encode out texts.jsonl -o vectors.npy\n")
    assert captured.err == ""


def test_export_errors(
    bundle: Path, base_checkpoint: Path, exporter: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(base_checkpoint), str(bundle)]) == 1
    assert f"error: {bundle}: " in error_of(capsys)
    assert cli.main(["export", str(base_checkpoint), str(tmp_path / "out"), "--variants", "fp64"]) == 1
    assert "fp64" in error_of(capsys)
    assert cli.main(["export", str(tmp_path / "no"), str(tmp_path / "out"), "--quiet"]) == 1
    assert "no: no such folder" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_export_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "instructor_onnx_export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "someone/model", str(tmp_path / "out")]) == 1
    assert "pip install 'instructor-onnx[export]'" in error_of(capsys)


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


@pytest.mark.parametrize("command", ["info", "check"])
def test_no_bundle(command: str, base_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, str(tmp_path / "no")]) == 1
    assert "no such folder" in error_of(capsys)
    assert cli.main([command, str(base_checkpoint)]) == 1
    assert "This is a checkpoint: run `instructor-onnx export` on it first." in error_of(capsys)


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
        ([], ["export", "encode", "check", "info", "examples:", "Exit codes"]),
        (["export"], ["examples:", "instructor-onnx[export]", "default: fp32,int8", "default: 0.99", "1e-5"]),
        (
            ["encode"],
            ["examples:", "[instruction, text]", ".parquet", "--instruction-column", "OUTPUT.partial", "default: 512"],
        ),
        (["check"], ["examples:", "--against", "sha256"]),
        (["info"], ["examples:", "--json"]),
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

"""`instructor-onnx serve`: a process of its own, its signals, its errors."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from instructor_onnx import cli
from instructor_onnx.extras import pip_install
from instructor_onnx.server import Options, read_api_keys, read_presets

from tests.server.conftest import is_ready, metric, wait_until

SERVE = [sys.executable, "-m", "instructor_onnx", "serve"]


@contextlib.contextmanager
def process(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A ready server and its client; killed at the end where it still runs."""
    command = [*SERVE, "instructor-mini", "--port", "0", "--threads", "1", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if found := re.search(r"Ready on (http://\S+),", line):
                    break
            else:
                pytest.fail("the server ended before it was ready")
            threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop it
            with httpx.Client(base_url=found[1], timeout=None) as client:
                yield server, client
        finally:
            server.kill()


@contextlib.contextmanager
def hangup(disposition: signal.Handlers) -> Iterator[None]:
    """What the children that are started meanwhile do at SIGHUP; the tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, disposition)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_what_runs_and_exits_0(number: signal.Signals) -> None:
    with hangup(signal.SIG_DFL), process() as (server, client):
        answers: list[httpx.Response] = []

        def ask() -> None:
            body = {"input": ["the river rises in the hills " * 40] * 60}
            answers.append(httpx.post(f"{client.base_url}/v1/embeddings", json=body, timeout=None))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: metric(client, "instructor_requests_in_progress") == 1)
        server.send_signal(number)
        assert server.wait() == 0
        asking.join()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["data"]) == 60


def test_nohup_keeps_it_running() -> None:
    with hangup(signal.SIG_IGN), process() as (server, client):
        server.send_signal(signal.SIGHUP)
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
        assert server.poll() is None


def test_the_key_comes_from_the_environment(tmp_path: Path) -> None:
    presets = tmp_path / "presets.json"
    presets.write_text('{"title": "Represent the Science title: "}')
    with process(
        *("--presets", str(presets), "--preset", "query=Represent the question: "), INSTRUCTOR_ONNX_API_KEY="secret"
    ) as (_, client):
        assert is_ready(client)
        assert client.get("/v1/models").status_code == 401
        answer = client.get("/v1/models", headers={"Authorization": "Bearer secret"}).json()
        assert [model["id"] for model in answer["data"]] == [
            "instructor-mini",
            "instructor-mini:query",  # of the bundle, with another wording; the next as it is there
            "instructor-mini:document",
            "instructor-mini:title",
        ]


def test_every_option_of_the_model_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimpleNamespace()
    monkeypatch.setattr(
        "instructor_onnx.cli.arguments.INSTRUCTOR",
        lambda name, **options: vars(model).update(options, name=name) or model,
    )
    monkeypatch.setattr("instructor_onnx.server.serve", lambda load, options: load())
    options = "--variant int8 --device cpu --engine onnxruntime --threads 3 --max-batch-tokens 99 --max-seq-length 77"
    assert cli.main(["serve", "some-bundle", *options.split()]) == 0
    wanted = {"name": "some-bundle", "variant": "int8", "device": "cpu", "engine": "onnxruntime", "num_threads": 3}
    assert vars(model).items() >= (wanted | {"token_budget": 99, "max_seq_length": 77}).items()


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["serve", *arguments]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("instructor-onnx: error: ")]
    return line.removeprefix("instructor-onnx: error: ")


def test_errors_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = error_of(["instructor-mini", "--port", str(port)], capsys)
        assert said.startswith(f"127.0.0.1:{port}: cannot be listened on: another program listens there; choose")
    assert error_of([str(tmp_path), "--port", "0"], capsys).startswith(f"{tmp_path}")
    assert "fp16" in error_of(["instructor-mini", "--port", "0", "--variant", "fp16"], capsys)
    assert error_of(["instructor-mini", "--preset", "query"], capsys).startswith("--preset 'query': expected NAME=")
    assert error_of(["instructor-mini", "--host", "no.such.host.invalid"], capsys).startswith("no.such.host.invalid:")
    with pytest.raises(SystemExit):
        cli.main(["serve", "instructor-mini", "--port", "99999"])


def test_presets(tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    file.write_text('{"a": "One: ", "b": "Two: "}')
    assert read_presets(file, ["b=Represent x = y: ", "c="]) == {"a": "One: ", "b": "Represent x = y: ", "c": ""}
    assert read_presets(None, []) == {}
    for content in (b"[1]", b'{"a": 1}', b"{", b"\xff", b"[" * 100_000, b'{"a": "' + b"b" * 2_000_000 + b'"}'):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(file))):
            read_presets(file, [])
    with pytest.raises(ValueError, match="no such file|No such file"):
        read_presets(tmp_path / "none.json", [])
    file.write_text('{"a": "\\ud83d: "}')
    with pytest.raises(ValueError, match="preset 'a': half of a surrogate pair"):
        read_presets(file, [])
    with pytest.raises(ValueError, match="empty name"):
        read_presets(None, ["=a"])


def test_api_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("first\n\n second \n")
    assert read_api_keys(file, "other") == ("first", "second")
    assert read_api_keys(None, "other") == ("other",)
    assert read_api_keys(None, None) == ()
    for content in (b"", b"\n", b"two words", "ключ".encode(), b"\xff", b"a" * 2_000_000):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(file))):
            read_api_keys(file, None)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}: cannot be read: Is a directory.")):
        read_api_keys(tmp_path, None)
    with pytest.raises(ValueError, match="INSTRUCTOR_ONNX_API_KEY: holds no key"):
        read_api_keys(None, "")


def test_the_frameworks_are_loaded_by_serve_only() -> None:
    heavy = "fastapi starlette uvicorn pydantic prometheus_client orjson"
    code = (
        "import sys, instructor_onnx.cli, instructor_onnx.server\n"
        f"print(*[name for name in {heavy!r}.split() if name in sys.modules])\n"
        "sys.modules['uvicorn'] = None\n"
        "instructor_onnx.cli.main(['serve', 'instructor-mini'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
    assert done.stderr == f"instructor-onnx: error: serving needs uvicorn: {pip_install('serve')}\n"


def test_the_help_says_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for value in (Options.payload_limit, Options.max_queue_tokens, Options.max_client_batch_size):
        assert f"(default: {value:,})" in said

"""What a connection may hold, and for how long: heads, answers that nobody reads, connections without a request."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from instructor_onnx.server import connection as connections
from instructor_onnx.server import run
from instructor_onnx.server.connection import HEAD_LIMIT

from tests.server.conftest import Start, is_ready, load, metric, serving, wait_until
from tests.server.test_limits import connection, request

LARGE: dict[str, Any] = {"inputs": ["a"] * 2000}  # an answer of some megabytes
# As Java's `HttpClient` asks: it offers HTTP/2 with every request.
UPGRADE = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
JAVA = """\
import java.net.URI;
import java.net.http.*;

public class Embed {
    public static void main(String[] arguments) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\\"inputs\\": \\"the river rises\\"}"))
            .build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.statusCode());
        System.out.println(response.body());
    }
}
"""


def unread(client: httpx.Client, stack: contextlib.ExitStack) -> socket.socket:
    """A connection whose client has asked for a large answer, of which it reads nothing."""
    raw = socket.socket()
    stack.enter_context(raw)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((client.base_url.host, client.base_url.port or 80))
    answered = metric(client, 'instructor_requests_total{route="/embed",status="200"}')
    raw.sendall(request(LARGE))
    wait_until(lambda: metric(client, 'instructor_requests_total{route="/embed",status="200"}') == answered + 1)
    return raw


def is_cut(raw: socket.socket) -> bool:
    """Read what there is; whether the connection ended before the answer did."""
    size = 0
    try:
        while chunk := raw.recv(1_000_000):
            size += len(chunk)
    except ConnectionResetError:
        pass
    return size < 5_000_000


def answer_of(raw: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and body of an answer, after which the connection is closed."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := raw.recv(100_000):
            content += chunk
    head, _, body = content.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)


def test_an_answer_that_is_not_read_is_dropped(start: Start) -> None:
    client = start(write_timeout=1)
    with contextlib.ExitStack() as stack:
        raw = unread(client, stack)
        wait_until(lambda: metric(client, 'instructor_errors_total{kind="unread"}') == 1)
        assert is_cut(raw)
    assert client.post("/embed", json=LARGE).status_code == 200


def test_unread_answers_together_have_a_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_LIMIT", 5_000_000)
    client = start()
    with contextlib.ExitStack() as stack:
        first = unread(client, stack)
        second = unread(client, stack)
        wait_until(lambda: metric(client, 'instructor_errors_total{kind="unread"}') == 1)
        assert is_cut(first)  # the one that waited longest
        assert not is_cut(second)


def test_stopping_does_not_wait_for_clients_that_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STALLED", 0.2)
    with contextlib.ExitStack() as stack:
        with (
            serving(load, drain_timeout=1000, write_timeout=1000) as server,
            httpx.Client(base_url=server.url) as client,
        ):
            wait_until(lambda: is_ready(client))
            raw = unread(client, stack)
        assert is_cut(raw)  # and the server has ended


def test_a_client_that_reads_slowly_gets_its_whole_answer(start: Start) -> None:
    client = start()
    with contextlib.ExitStack() as stack:
        raw = unread(client, stack)
        content = bytearray()
        while (end := content.find(b"\r\n\r\n")) < 0 or not content.endswith(b"]]"):
            content += raw.recv(20_000)
        assert len(json.loads(content[end:])) == 2000


@pytest.mark.parametrize("line", [b"a: b\r\n", b"a: " + b"b" * 1000 + b"\r\n", b"b" * 1000])
def test_a_request_head_has_a_limit(start: Start, line: bytes) -> None:
    client = start()
    with connection(client) as raw:
        raw.sendall((b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line * HEAD_LIMIT)[: HEAD_LIMIT + 1])
        status, body = answer_of(raw)
    assert (status, body["error"]) == (431, "The request's head is larger than 32,768 bytes.")
    assert is_ready(client)


@pytest.mark.parametrize("part", [b"G", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_trickles_in_has_a_time_limit(start: Start, part: bytes) -> None:
    client = start(body_timeout=1)
    with connection(client) as raw, connection(client) as silent:
        raw.sendall(part)
        status, body = answer_of(raw)
        assert (status, body["error"]) == (408, "The head had not come after 1 seconds (--body-timeout).")
        assert silent.recv(100) == b""  # closed without a word: it asked nothing


def test_a_head_after_an_answer_has_a_time_limit(start: Start) -> None:
    client = start(body_timeout=1)
    with connection(client) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        raw.sendall(b"GET /health HTTP/1.1\r\n")
        assert answer_of(raw)[0] == 408


def test_connections_have_a_limit(start: Start) -> None:
    client = start(max_connections=3)
    assert metric(client, "instructor_connections") == 1
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connection(client))
        wait_until(lambda: metric(client, "instructor_connections") == 3)
        with connection(client) as refused:
            status, body = answer_of(refused)
        assert (status, body["error"]) == (503, "3 connections are open (--max-connections); try again later.")
        assert is_ready(client)  # on the connection that it has
    wait_until(lambda: metric(client, "instructor_connections") == 1)
    with connection(client) as taken:
        taken.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert taken.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_offered_upgrade_loses_no_body(client: httpx.Client) -> None:
    whole = request({"inputs": "the river rises"})
    with connection(client) as raw:
        for _ in range(2):
            raw.sendall(whole.replace(b"Content-Type", UPGRADE + b"Content-Type"))
            content = b""
            while not content.endswith(b"]]"):
                content += raw.recv(100_000)
            assert content.startswith(b"HTTP/1.1 200")


def test_javas_client(client: httpx.Client, tmp_path: Path) -> None:
    if not shutil.which("javac"):
        pytest.skip("there is no Java compiler (apt-get install default-jdk-headless)")
    source = tmp_path / "Embed.java"
    source.write_text(JAVA)
    command = ["java", str(source), str(client.base_url.join("/embed"))]
    status, body = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert status == "200"
    assert json.loads(body) == client.post("/embed", json={"inputs": "the river rises"}).json()


def test_what_is_no_request_is_answered_in_a_sentence(client: httpx.Client) -> None:
    for sent in (b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"):
        with connection(client) as raw:
            raw.sendall(sent)
            assert answer_of(raw) == (
                400,
                {"error": "What was sent is no HTTP/1.1 request.", "error_type": "Validation"},
            )

"""What a server withstands: too much, too slow, half-open, malformed, gone, failing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from instructor_onnx import INSTRUCTOR
from instructor_onnx.server import Options, batcher, gate
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.run import Server
from instructor_onnx.server.schemas import EmbeddingsRequest, EmbedRequest, TokenizeRequest
from instructor_onnx.server.service import Service
from pydantic import BaseModel, ValidationError

from tests.server.conftest import HeldEngine, Start, is_ready, load, metric, serving, wait_until


@contextlib.contextmanager
def connection(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as raw:
        yield raw


def request(body: Any, path: str = "/embed") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def in_background(client: httpx.Client, inputs: Any) -> concurrent.futures.Future[httpx.Response]:
    """Ask for vectors from another thread."""
    answer: concurrent.futures.Future[httpx.Response] = concurrent.futures.Future()

    def ask() -> None:
        try:
            answer.set_result(httpx.post(f"{client.base_url}/embed", json={"inputs": inputs}, timeout=None))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"inputs": "a"', 400),
        (b'{"inputs": "a"}}', 400),
        (b"\xff\xfe", 400),
        (b'{"inputs": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"dimensions": ' + b"9" * 5000 + b', "inputs": "a"}', 400),
        (b'{"dimensions": 1e400, "inputs": "a"}', 422),
        (b'{"dimensions": NaN, "inputs": "a"}', 422),
        (b'{"inputs": [[[1]]]}', 422),
        (b'{"inputs": [1.5]}', 422),
        (b'{"inputs": [true]}', 422),
        (b'{"inputs": [99999999999999999999]}', 422),
        (b'{"inputs": ["a", "\\ud83d"]}', 422),
        (b'{"inputs": "a", "instruction": "\\ud83d: "}', 422),
        (b"[]", 422),
        (b"null", 422),
        (b"", 422),
    ],
)
def test_malformed_bodies(client: httpx.Client, body: bytes, status: int) -> None:
    response = client.post("/embed", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error", "error_type"}
    assert len(response.text) < 500
    assert client.post("/embed", json={"inputs": "a\0b"}).status_code == 200


def test_an_instruction_counts_with_every_input(start: Start) -> None:
    client = start(payload_limit=10_000)
    instruction = "a b " * 200  # a small body, whose 20 joined texts are larger than any body may be
    response = client.post("/embed", json={"inputs": ["x"] * 20, "instruction": instruction})
    assert response.status_code == 413
    assert "16,020 characters, the instruction counted with each input; at most 10,000" in response.json()["error"]
    assert client.post("/embed", json={"inputs": ["x"] * 10, "instruction": "a: "}).status_code == 200


@pytest.mark.parametrize("element", [{}, None, 1.5, [{}]])
def test_the_first_wrong_element_ends_a_body(element: object) -> None:
    # an error for each of a body's million elements takes gigabytes, and seconds in which nobody else is answered
    bodies: list[tuple[type[BaseModel], str]] = [
        (EmbeddingsRequest, "input"),
        (EmbedRequest, "inputs"),
        (TokenizeRequest, "inputs"),
    ]
    for kind, name in bodies:
        with pytest.raises(ValidationError) as raised:
            kind.model_validate({name: [element] * 1000})
        assert raised.value.error_count() <= 5  # for each form that the inputs may have
    with pytest.raises(ValidationError) as raised:
        EmbedRequest.model_validate({"inputs": "a", "instruction": [element] * 1000})
    assert raised.value.error_count() <= 2


def test_a_body_of_many_fields_is_refused_by_their_number(client: httpx.Client) -> None:
    fields = {f"key {index}": index for index in range(101)}
    for path, name in (("/v1/embeddings", "input"), ("/embed", "inputs"), ("/tokenize", "inputs")):
        refused = client.post(path, json={name: "a"} | fields)
        assert refused.status_code == 422
        assert "There are more fields than any request has." in refused.text


def test_what_is_not_http(client: httpx.Client) -> None:
    with connection(client) as raw:
        raw.sendall(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")
    assert is_ready(client)


def test_payload_limit(start: Start) -> None:
    client = start(payload_limit=10_000)
    assert client.post("/embed", json={"inputs": "a" * 9_000}).status_code == 200
    too_large = {"inputs": "a" * 200_000}
    response = client.post("/embed", json=too_large)
    assert response.status_code == 413
    assert response.json()["error"] == "The body is larger than 10,000 bytes (--payload-limit)."
    chunks = (json.dumps(too_large)[first : first + 5000].encode() for first in range(0, 200_000, 5000))
    response = client.post("/v1/embeddings", content=chunks, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert metric(client, 'instructor_errors_total{kind="payload_too_large"}') == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_ends_its_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(gate, "LINGER", 0.2)
    client = start(payload_limit=10_000)
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000000"
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    with connection(client) as raw:
        raw.sendall(f"POST /embed HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        raw.sendall(2 * chunk)
        answer = b""
        while not answer.endswith(b"}"):  # it comes while the body is still sent
            answer += raw.recv(1000)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"\r\nconnection: close\r\n" in answer
        assert b"10,000 bytes" in answer
        raw.sendall(2 * chunk)
        with contextlib.suppress(ConnectionResetError):
            assert raw.recv(1000) == b""
    assert is_ready(client)


def test_slow_and_half_open_clients_hold_up_nobody(start: Start) -> None:
    client = start(body_timeout=1, max_concurrent_requests=1)
    whole = request({"inputs": "a"})
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(connection(client)) for _ in range(60)]
        for index, raw in enumerate(raws):
            raw.sendall(whole[: (0, 10, len(whole) - 3)[index % 3]])  # nothing, half a head, half a body
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
        answered = [raw.recv(1000) for index, raw in enumerate(raws) if index % 3]
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answered)
        assert all(b"\r\nconnection: close\r\n" in answer for answer in answered)
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert metric(client, 'instructor_errors_total{kind="body_timeout"}') == 20
    assert (
        metric(client, 'instructor_errors_total{kind="head_timeout"}') <= 20
    )  # those with half a head, by now or soon


def test_a_client_that_reads_nothing_holds_no_place(start: Start) -> None:
    client = start(max_concurrent_requests=1)
    with connection(client) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(request({"inputs": ["a"] * 2000}))  # an answer of some megabytes
        wait_until(lambda: metric(client, 'instructor_requests_total{route="/embed",status="200"}') == 1)
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_a_client_that_leaves_frees_its_place(start: Start, held: HeldEngine) -> None:
    client = start()
    held.may_run.clear()
    first = in_background(client, "a")  # it waits in the engine
    wait_until(lambda: metric(client, "instructor_requests_in_progress") == 1)
    with connection(client) as raw:
        raw.sendall(request({"inputs": ["the river rises"] * 1000}))
        wait_until(lambda: metric(client, "instructor_queue_tokens") >= 4000)
    wait_until(lambda: metric(client, "instructor_queue_tokens") == 0)
    wait_until(lambda: metric(client, "instructor_requests_in_progress") == 1)
    held.may_run.set()
    assert first.result().status_code == 200
    assert sum(held.runs[1:]) == 1  # after the warm-up, the one text of the client that stayed
    assert metric(client, 'instructor_errors_total{kind="disconnected"}') == 1


def test_a_client_that_leaves_before_its_body_is_whole(start: Start) -> None:
    client = start()
    with connection(client) as raw:
        raw.sendall(request({"inputs": "a"})[:-3])
        wait_until(lambda: is_ready(client))
    wait_until(lambda: metric(client, 'instructor_errors_total{kind="disconnected"}') == 1)


def test_overload_is_refused_and_passes(start: Start, held: HeldEngine) -> None:
    client = start(max_queue_tokens=100)
    held.may_run.clear()
    running = in_background(client, "a")
    wait_until(lambda: len(held.runs) == 1 and metric(client, "instructor_queue_wait_seconds_count") == 1)
    waiting = in_background(client, ["the river rises"] * 40)  # more than 100 tokens, but nothing waits yet
    wait_until(lambda: metric(client, "instructor_queue_tokens") > 100)
    refused = client.post("/embed", json={"inputs": "a"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["error_type"] == "Overloaded"
    assert client.post("/v1/embeddings", json={"input": "a"}).json()["error"]["type"] == "rate_limit_error"
    held.may_run.set()
    assert running.result().status_code == waiting.result().status_code == 200
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_concurrent_requests_are_bounded(start: Start, held: HeldEngine) -> None:
    client = start(max_concurrent_requests=3)
    held.may_run.clear()
    answers = [in_background(client, "a") for _ in range(3)]
    wait_until(lambda: metric(client, "instructor_requests_in_progress") == 3)
    refused = client.post("/embed", json={"inputs": "a"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert client.post("/tokenize", json={"inputs": "a"}).status_code == 429
    assert is_ready(client)
    held.may_run.set()
    assert [answer.result().status_code for answer in answers] == [200] * 3


@pytest.mark.parametrize("failure", ["raises_on", "gives_nan_on"])
def test_one_bad_row_fails_its_own_request_only(
    start: Start, held: HeldEngine, model: INSTRUCTOR, failure: str
) -> None:
    client = start()
    texts = [f"the river rises {index}" for index in range(10)]
    poison = "poison"
    setattr(held, failure, int(model.tokenize(poison)["input_ids"][0, 0]))
    held.may_run.clear()
    first = in_background(client, "a")
    wait_until(lambda: metric(client, "instructor_queue_wait_seconds_count") == 1)
    good = [in_background(client, [text, text]) for text in texts]
    bad = in_background(client, [texts[0], poison])
    wait_until(lambda: metric(client, "instructor_requests_in_progress") == 12)
    held.may_run.set()
    assert first.result().status_code == 200
    for answer, vector in zip(good, model.encode(texts), strict=True):
        assert answer.result().status_code == 200
        np.testing.assert_allclose(answer.result().json(), [vector, vector], atol=1e-6)
    assert bad.result().status_code == 500
    assert bad.result().json()["error_type"] == "Backend"
    assert max(held.runs) > 4  # they did run together
    assert client.post("/embed", json={"inputs": poison}).status_code == 500
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_not_ready_before_the_warm_up(held: HeldEngine) -> None:
    loaded = threading.Event()

    def slowly() -> INSTRUCTOR:
        loaded.wait()
        return load()

    held.may_run.clear()
    with serving(slowly) as server, httpx.Client(base_url=server.url, timeout=None) as client:
        health = client.get("/health")
        assert (health.status_code, health.headers["Retry-After"]) == (503, "1")
        assert health.json() == {"error": "The model is still being loaded.", "error_type": "Unhealthy"}
        assert client.post("/embed", json={"inputs": "a"}).status_code == 503
        assert client.get("/metrics").status_code == 200
        loaded.set()
        assert not is_ready(client)  # the warm-up is held
        held.may_run.set()
        wait_until(lambda: is_ready(client))
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_stopping_finishes_what_runs_and_refuses_the_rest(held: HeldEngine, model: INSTRUCTOR) -> None:
    with serving(load) as server, httpx.Client(base_url=server.url, timeout=None) as client:
        wait_until(lambda: is_ready(client))
        held.may_run.clear()
        answer = in_background(client, ["a", "b"])
        wait_until(lambda: metric(client, "instructor_requests_in_progress") == 1)
        server.stop()

        def refused() -> bool:
            try:
                httpx.get(f"{server.url}/health")
            except httpx.TransportError:
                return True
            return False

        wait_until(refused)
        assert not answer.done()
        held.may_run.set()
        np.testing.assert_allclose(answer.result().json(), model.encode(["a", "b"]), atol=1e-6)


def test_what_is_not_done_in_time_is_told_so(held: HeldEngine) -> None:
    with serving(load, drain_timeout=1) as server, httpx.Client(base_url=server.url, timeout=None) as client:
        wait_until(lambda: is_ready(client))
        held.may_run.clear()
        running, waiting = in_background(client, "a"), in_background(client, ["b"] * 10)
        wait_until(lambda: metric(client, "instructor_requests_in_progress") == 2)
        with connection(client) as raw:
            raw.sendall(request({"inputs": "a"})[:-3])  # its body never comes
            wait_until(lambda: metric(client, "instructor_connections") == 4)
            server.stop()
            for answer in (running.result(), waiting.result()):
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
                assert answer.json()["error"].startswith("The server is being stopped, and had no time")
            assert raw.recv(1000).startswith(b"HTTP/1.1 503")
        held.may_run.set()


def test_a_queue_that_fails_ends_the_server(held: HeldEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(load, Options(port=0))
    ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            ended.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    with httpx.Client(base_url=server.url, timeout=None) as client:
        wait_until(lambda: is_ready(client))
        monkeypatch.setattr(batcher, "plan_batches", lambda *arguments, **options: 1 / 0)
        answer = client.post("/embed", json={"inputs": "a"})
    assert answer.status_code == 500
    assert answer.json()["error"] == "The model failed on this request: division by zero."
    thread.join()
    with pytest.raises(ZeroDivisionError):
        ended.result()


class Panic(BaseException):
    """As the tokenizer library's, which is no Exception."""


@pytest.mark.parametrize("size", [1, 10_000])  # tokenised at once, and in another thread
def test_a_panic_is_the_requests_own(start: Start, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    client = start()

    def panics(service: Service, rows: list[tuple[str, Any]], *arguments: Any) -> Any:
        raise Panic("index out of bounds")

    with monkeypatch.context() as patch:
        patch.setattr(Service, "_tokens", panics)
        answer = client.post("/v1/embeddings", json={"input": "a" * size})
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "An error of the server; its log has the details."
    assert client.post("/embed", json={"inputs": "a" * size}).status_code == 200
    assert metric(client, "instructor_requests_in_progress") == 0


def test_a_panic_at_loading_ends_the_server() -> None:
    def panics() -> INSTRUCTOR:
        raise Panic("index out of bounds")

    server = Server(panics, Options(port=0))
    with pytest.raises(RuntimeError, match="Panic: index out of bounds"):
        server.run()


def test_the_warm_up_is_short(held: HeldEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    answer = HeldEngine.sentence_embeddings

    def noted(self: HeldEngine, tokens: Any, rows: Any) -> Any:
        lengths.extend(tokens.lengths)
        return answer(self, tokens, rows)

    monkeypatch.setattr(HeldEngine, "sentence_embeddings", noted)
    for longest in (32_768, 100):
        model = load()
        model.max_seq_length = longest
        Service(model, Options(), Metrics(), end=lambda error: None).close()
    assert lengths == [512, 100]


def test_what_a_request_says_is_repeated_in_short(client: httpx.Client) -> None:
    long = "a" * 500_000
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"input": "a", long: 1}),
        ("/v1/embeddings", {"input": "a", "\ud83d": 1}),
        ("/v1/embeddings", {"input": "a", "model": long}),
        ("/v1/embeddings", {"input": "a", "model": "\ud83d"}),
        ("/v1/embeddings", {"input": "a", "dimensions": 10**4000}),
        ("/v1/embeddings", {"input": "a", "encoding_format": long}),
        ("/embed", {"inputs": "a", "prompt_name": long}),
        ("/embed", {"inputs": "a", "prompt_name": "\ud83d"}),
    ]
    for path, body in bodies:
        answer = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code in (404, 422), answer.text
        assert len(answer.text) < 500
    for path in ("/" + long[:20_000], "/v1/models/" + long[:20_000]):
        answer = client.get(path)
        assert answer.status_code == 404
        assert len(answer.text) < 500


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "[::1]"])
def test_names_of_this_machine_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/info", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["rebound.example", "localhost.example:80", "", "[::1", "192.168.0.1", "x" * 5000])
def test_other_names_are_not(client: httpx.Client, host: str) -> None:
    for answer in (
        client.get("/info", headers={"Host": host}),
        client.post("/embed", json={"inputs": "a"}, headers={"Host": host}),
    ):
        assert answer.status_code == 421
        assert answer.json()["error"].startswith("Host: found '")
        assert len(answer.text) < 500


def test_where_any_name_is_answered(start: Start) -> None:
    names = {"Host": "embeddings.example:8080"}
    assert start(allowed_hosts=("Embeddings.example",)).get("/info", headers=names).status_code == 200
    assert (
        start(host="0.0.0.0").get("/info", headers=names).status_code == 200
    )  # others reach it, by names of their own
    keyed = start(api_keys=("secret",))  # the page has no key
    assert keyed.get("/info", headers=names | {"Authorization": "Bearer secret"}).status_code == 200


def test_a_model_that_cannot_be_loaded_ends_the_server() -> None:
    def fails() -> INSTRUCTOR:
        raise ValueError("no such variant")

    server = Server(fails, Options(port=0))
    with pytest.raises(ValueError, match="no such variant"):
        server.run()

"""Requests to a real server over raw sockets: bodies and heads of odd values, damaged, large.

Every answer has to be HTTP, and an error of ours in JSON or exactly the vectors of `encode()`; after every case a
known request is answered with the known vector.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import select
import socket
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR
from instructor_onnx.inputs import Row

from tests.fuzz.bundles import engines, small_bundle
from tests.fuzz.heads import change_head
from tests.fuzz.mutate import change_json, change_text, damage, write_json
from tests.fuzz.verdict import LONGEST_MESSAGE, Refused, Wrong
from tests.server.conftest import PRESETS, is_ready, serving, wait_until

TEXTS = ("a", "What rises in the hills?", "é ½\u2028ﷺ", "", "\0", "ab " * 400)
IDS: tuple[list[int], ...] = ([5], [5, 6, 7, 1], [1], [0, 599], [13_999], [14_000], [-1], [])
INSTRUCTIONS = ("", "Represent the question: ", "a b c", " ")
STATUSES = (400, 401, 403, 404, 405, 408, 413, 421, 422, 429, 431, 503)
SECONDS_OF_PATIENCE = 0.1  # for a request that may never be whole
LARGE = 1_900_000  # bytes; the server's limit is 2,000,000
KNOWN = {"inputs": "What rises in the hills?", "instruction": "Represent the question: "}


class Requests:
    """A request to a server in this process."""

    documented: tuple[type[BaseException], ...] = ()
    named: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        bundle = small_bundle(folder / "bundle")

        def load() -> INSTRUCTOR:
            return INSTRUCTOR(bundle, device="cpu", engine=engines()[0], num_threads=1)

        self.model = load()
        self.known = self.model.encode([[KNOWN["instruction"], KNOWN["inputs"]]])
        self._running = contextlib.ExitStack()
        self.address = urlsplit(self._running.enter_context(serving(load)).url)
        self._client = self._running.enter_context(httpx.Client(base_url=self.address.geturl(), timeout=None))
        wait_until(lambda: is_ready(self._client))
        self._log = _Errors()
        for name in ("uvicorn.error", "instructor_onnx", "asyncio"):
            logging.getLogger(name).addHandler(self._log)

    def close(self) -> None:
        """Stop the server."""
        self._running.close()

    def attempt(self, rng: Random) -> bool:
        self.ask(rng, *_request(rng))
        return True

    def ask(self, rng: Random, path: str, body: bytes | None, head_is_ours: bool) -> None:
        """Ask for something, then for the known vector."""
        self._log.said.clear()
        method = "GET" if body is None else "POST"
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.address.netloc}", "Content-Type: application/json"]
        head += [] if body is None else [f"Content-Length: {len(body)}"]
        request = "\r\n".join([*head, "", ""]).encode() + (body or b"")
        if not head_is_ours:
            request = change_head(rng, head, body or b"")
        try:
            self._ask(request, path, body, method, head_is_ours)
        finally:
            answer = self._client.post("/embed", json=KNOWN)
            if answer.status_code != 200 or np.array(answer.json(), np.float32).tobytes() != self.known.tobytes():
                raise Wrong(f"afterwards, a known request got {answer.status_code} {answer.text[:300]}")
            if self._log.said:
                raise Wrong(f"the server's log: {self._log.said[0]}")

    def _ask(self, request: bytes, path: str, body: bytes | None, method: str, whole: bool) -> None:
        with socket.create_connection((self.address.hostname or "", self.address.port or 80)) as raw:
            with contextlib.suppress(ConnectionError):  # it may be refused before it is sent
                raw.sendall(request)
            if not whole and not select.select([raw], [], [], SECONDS_OF_PATIENCE)[0]:
                with contextlib.suppress(OSError):
                    raw.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(raw, method=request.split(b" ", 1)[0].decode("latin-1"))
            try:
                answer.begin()
                content = answer.read()
            except (http.client.RemoteDisconnected, ConnectionError) as error:
                if whole:
                    raise Wrong(f"no answer to a whole request: {error!r}") from None
                raise Refused("closed without an answer") from None
            except http.client.HTTPException as error:
                raise Wrong(f"the answer is not HTTP: {error!r}") from None
        if answer.status != 200:
            raise Refused(_sentence(answer, content, path, whole))
        if body is not None and (whole or b"".join(request.split(b"\r\n\r\n", 1)[1:]) == body):
            self._check(path, json.loads(body), content)

    def _check(self, path: str, body: Any, content: bytes) -> None:
        """Whether vectors are those of `encode()`, bit by bit."""
        found = json.loads(content)
        if path == "/tokenize":
            if len(found) != (1 if isinstance(body["inputs"], str) else len(body["inputs"])):
                raise Wrong(f"tokens of {len(found)} texts")
            return
        expected = self._expected(path, body)
        if path == "/v1/embeddings":
            vectors: Any = [entry["embedding"] for entry in found["data"]]
            if body.get("encoding_format") == "base64":
                vectors = [np.frombuffer(base64.b64decode(vector), expected.dtype) for vector in vectors]
        else:
            vectors = found
        if np.array(vectors, expected.dtype).tobytes() != expected.tobytes():
            raise Wrong(f"other vectors than those of {body!r:.300}")

    def _expected(self, path: str, body: dict[str, Any]) -> npt.NDArray[Any]:
        inputs = body["input" if path == "/v1/embeddings" else "inputs"]
        inputs = [inputs] if isinstance(inputs, str) or isinstance(inputs[0], int) else inputs
        preset = (body.get("model") or "").partition(":")[2] if path == "/v1/embeddings" else body.get("prompt_name")
        instruction = body.get("instruction")
        if instruction is None:
            instruction = PRESETS[preset] if preset else ""
        instructions = [instruction] * len(inputs) if isinstance(instruction, str) else instruction
        if isinstance(inputs[0], str):
            rows = [Row(*pair) for pair in zip(instructions, inputs, strict=True)]
            vectors = self.model.encode(rows, show_progress_bar=False)
        else:
            tokens = self.model.tokenizer.from_ids(list(zip(instructions, inputs, strict=True)), 512)
            vectors = self.model.engine.sentence_embeddings(tokens, np.arange(len(inputs)))
        form = self.model.form(body.get("precision", "float32"), body.get("dimensions"))
        return np.ascontiguousarray(form(vectors))


class _Errors(logging.Handler):
    """What the server's log calls an error: no request may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()} {record.exc_info and record.exc_info[1]!r}"[:500])


def _request(rng: Random) -> tuple[str, bytes | None, bool]:
    """Path, body and whether the head is left as it has to be."""
    path = rng.choice(("/v1/embeddings", "/v1/embeddings", "/embed", "/embed", "/", "/tokenize", "GET"))
    if path == "GET":
        path = rng.choice(("/health", "/info", "/metrics", "/v1/models", "/v1/models/x:y", "/openapi.json", "/none"))
        return path, None, rng.random() < 0.3
    if rng.random() < 0.02:
        return path, write_json(rng.choice(large_bodies(path))), True
    fields = _fields(rng, path)
    what = rng.randrange(10)
    if what < 3:
        return path, write_json(fields), True
    if what < 6:
        return path, write_json(fields), False
    if what < 8:
        return path, write_json(change_json(rng, fields)), True
    text = write_json(fields)
    return path, damage(rng, text) if what == 8 else _odd_text(rng, text), True


def _odd_text(rng: Random, text: bytes) -> bytes:
    return change_text(rng, text.decode()).encode(errors="surrogatepass")


def _fields(rng: Random, path: str) -> dict[str, Any]:
    """A body that is right, but for what the pools have."""
    inputs: Any = rng.choice((rng.choice(TEXTS), _several(rng, TEXTS), rng.choice(IDS), _several(rng, IDS)))
    name = "input" if path == "/v1/embeddings" else "inputs"
    instructions: Any = rng.choice((rng.choice(INSTRUCTIONS), _several(rng, INSTRUCTIONS), None))
    more: dict[str, tuple[Any, ...]] = {
        "instruction": (instructions,),
        "truncate": (True, False, None),
        "dimensions": (1, 384, 2, None, 0, 385),
        "precision": ("float32", "int8", "uint8", "binary", "ubinary", "int4", None),
    }
    if path == "/v1/embeddings":
        more |= {"model": ("instructor-mini", "instructor-mini:query", "x", None), "user": ("me", None)}
        more |= {"encoding_format": ("base64", "float")}
    elif path == "/tokenize":
        more = {"add_special_tokens": (True, False), "prompt_name": ("query", "x", None)}
    else:
        more |= {"normalize": (True, False), "prompt_name": ("query", "x", None), "truncation_direction": ("right",)}
    return {name: inputs} | {key: rng.choice(values) for key, values in more.items() if rng.random() < 0.3}


def _several(rng: Random, pool: tuple[Any, ...]) -> list[Any]:
    return [rng.choice(pool) for _ in range(rng.choice((0, 1, 2, 5)))]


def large_bodies(path: str) -> list[dict[str, Any]]:
    """Bodies that are as large as they may be, and ask for much more than that."""
    name = "input" if path == "/v1/embeddings" else "inputs"
    return [
        {name: ["x"] * 100, "instruction": "a b " * (LARGE // 4)},
        {name: [{}] * (LARGE // 4)},
        {name: [1.5] * 100_000},
        {name: "ﷺ" * (LARGE // 6)},
        {name: "a" * LARGE},
        {name: " " * LARGE},
        {name: ["a"] * (LARGE // 5)},
        {name: [5] * (LARGE // 3)},
        {name: [[]] * (LARGE // 4)},
        {name: "a", "instruction": [None] * (LARGE // 6)},
        {name: "a", "x" * LARGE: 1},
        {name: "a"} | {f"key {index}": index for index in range(LARGE // 20)},
    ]


def _sentence(answer: http.client.HTTPResponse, content: bytes, path: str, whole: bool) -> str:
    """What a refusal says.

    Raises:
        Wrong: it is not one of ours, in the form that its route has.
    """
    said = f"{answer.status} {content[:300]!r}"
    if not whole and answer.status == 400 and answer.getheader("content-type", "").startswith("text/plain"):
        return content.decode()  # no HTTP, and so below our code
    if answer.status not in STATUSES:
        raise Wrong(f"answered {said}")
    if not whole and not content:
        return said  # to HEAD
    try:
        found = json.loads(content)
        message = found["error"]["message"] if whole and path.startswith("/v1/") else found["error"]
    except (ValueError, KeyError, TypeError):
        raise Wrong(f"no error in JSON: {said}") from None
    if len(content) > LONGEST_MESSAGE + 200:
        raise Wrong(f"an error of {len(content):,} bytes: {said}")
    return f"{answer.status} {message}"

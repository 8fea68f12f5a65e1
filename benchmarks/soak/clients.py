"""The clients: some ask and check every answer, others are slow, leave, do not read, or send nonsense."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR

from benchmarks.common.server import post

Float32 = npt.NDArray[np.float32]

BODY_TIMEOUT = 5  # seconds, of the server's
PATIENCE = 120  # seconds for an answer
MANY = 1000  # inputs of a request whose answer is large
LONG = 3000  # words of a text that is cut
SHAPES = {"/v1/": {"message", "type", "param", "code"}, "/": {"error", "error_type"}}


class Mistake(Exception):
    """The server did what it must not."""


class Lost(Exception):
    """A connection ended without an answer."""

    def __init__(self, sent_at: float) -> None:
        super().__init__("closed without an answer")
        self.sent_at = sent_at  # when the whole request was sent


@dataclass
class Pool:
    """Texts under instructions, and the vectors that `encode()` gives them."""

    rows: list[tuple[str, str]]
    vectors: Float32  # [rows, dim]
    ids: list[list[int]]  # of the texts alone
    id_vectors: Float32  # [rows, dim], of the texts alone
    long: str
    long_vector: Float32
    many: Float32  # of the text "a"
    several: int  # rows that take about half a second

    @classmethod
    def of(cls, model: INSTRUCTOR, rows: Sequence[tuple[str, str]]) -> Pool:
        texts = [text for _, text in rows]
        long = " ".join(itertools.islice(itertools.cycle(" ".join(texts).split()), LONG))
        found = [model.encode(part, show_progress_bar=False) for part in (list(rows), texts, [long], ["a"])]
        started = time.perf_counter()
        model.encode(list(rows), show_progress_bar=False)
        several = int(len(rows) * 0.5 / (time.perf_counter() - started))
        ids = [model.tokenize([text])["input_ids"][0].tolist() for text in texts]
        return cls(list(rows), found[0], ids, found[1], long, found[2][0], found[3][0], min(max(several, 16), 500))


@dataclass
class World:
    """What the clients share: where the server is, what is known, and what they have seen."""

    host: str
    port: int
    pool: Pool
    stopping: bool = False
    accepted_before: float = float("inf")  # by time.monotonic(): what was sent before this is the server's to answer
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # client -> outcome -> times
    mistakes: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)  # seconds of single queries, since the last line of the table
    answered: int = 0  # requests, since then
    health_asked: float | None = None  # by time.perf_counter(), while /health has not answered

    def count(self, client: str, outcome: str) -> None:
        self.counts.setdefault(client, Counter())[outcome] += 1


Client = Callable[[World, random.Random], Awaitable[str]]


async def drive(name: str, client: Client, world: World, rng: random.Random) -> None:
    """One client, again and again until the server is told to stop."""
    while not world.stopping:
        try:
            outcome = await asyncio.wait_for(client(world, rng), PATIENCE)
        except Lost as error:
            accepted = error.sent_at < world.accepted_before
            if accepted:
                world.mistakes.append(f"{name}: a request was lost")
            outcome = "lost" if accepted else "turned away"
        except (Mistake, asyncio.TimeoutError) as error:
            world.mistakes.append(f"{name}: {error or 'no answer'}"[:500])
            outcome = "mistake"
        except OSError as error:
            if not world.stopping:
                world.mistakes.append(f"{name}: {error!r}")
                await asyncio.sleep(1)  # else a server that is gone is asked a million times
            outcome = "turned away" if world.stopping else "mistake"
        world.count(name, outcome)


async def single(world: World, rng: random.Random) -> str:
    """One text under an instruction, in one of the forms that there are."""
    index = rng.randrange(len(world.pool.rows))
    instruction, text = world.pool.rows[index]
    started = time.perf_counter()
    if rng.random() < 0.5:
        body = {"input": text, "instruction": instruction, "encoding_format": rng.choice(("float", "base64"))}
        outcome = await _embed(world, "/v1/embeddings", body, world.pool.vectors[index : index + 1])
    else:
        body = {"inputs": text, "instruction": instruction}
        outcome = await _embed(world, "/embed", body, world.pool.vectors[index : index + 1])
    world.latencies.append(time.perf_counter() - started)
    return outcome


async def batch(world: World, rng: random.Random) -> str:
    """Up to 32 texts, each under its own instruction."""
    chosen = rng.choices(range(len(world.pool.rows)), k=rng.randrange(2, 33))
    return await _batch(world, chosen)


async def large_batch(world: World, rng: random.Random) -> str:
    """As many texts as take about half a second."""
    return await _batch(world, rng.choices(range(len(world.pool.rows)), k=world.pool.several))


async def long(world: World, rng: random.Random) -> str:
    """A text that is cut."""
    return await _embed(world, "/embed", {"inputs": world.pool.long}, world.pool.long_vector[None])


async def token_ids(world: World, rng: random.Random) -> str:
    """Tokens instead of texts."""
    chosen = rng.choices(range(len(world.pool.ids)), k=rng.randrange(1, 9))
    ids = [world.pool.ids[index] for index in chosen]
    return await _embed(world, "/v1/embeddings", {"input": ids}, world.pool.id_vectors[chosen])


async def slow(world: World, rng: random.Random) -> str:
    """A request that trickles in, a second and a half in all."""
    index = rng.randrange(len(world.pool.rows))
    instruction, text = world.pool.rows[index]
    request = post("/embed", json.dumps({"inputs": text, "instruction": instruction}).encode())
    async with _Connection(world) as connection:
        for place in range(0, len(request), len(request) // 14 + 1):
            await connection.send(request[place : place + len(request) // 14 + 1])
            await asyncio.sleep(0.1)
        return _checked("/embed", *await connection.answer(), world.pool.vectors[index : index + 1])


async def stalled(world: World, rng: random.Random) -> str:
    """A request that never comes whole: told so when its body is missing, and closed."""
    whole = post("/embed", json.dumps({"inputs": world.pool.long}).encode())
    in_body = rng.random() < 0.7
    async with _Connection(world) as connection:
        await connection.send(whole[: len(whole) - 100] if in_body else whole[:30])
        try:
            status, _, content = await asyncio.wait_for(connection.answer(), BODY_TIMEOUT * 2)
        except (Lost, asyncio.TimeoutError):
            if in_body and not world.stopping:
                raise Mistake("half a body was not answered") from None
            return "left"
        return _refused("/embed", status, content, {408})


async def unread(world: World, rng: random.Random) -> str:
    """A large answer that is asked for and not read."""
    async with _Connection(world, receive=4096) as connection:
        await connection.send(post("/embed", json.dumps({"inputs": ["a"] * MANY}).encode()))
        for _ in range(rng.randrange(10, 80)):
            await asyncio.sleep(0.1)
            if world.stopping:
                break
    return "left"


async def read_late(world: World, rng: random.Random) -> str:
    """A large answer that is read after a while: it is whole then."""
    async with _Connection(world) as connection:
        await connection.send(post("/embed", json.dumps({"inputs": ["a"] * MANY}).encode()))
        connection.sent_at = time.monotonic()
        await asyncio.sleep(rng.random() * 2)
        return _checked("/embed", *await connection.answer(), np.tile(world.pool.many, (MANY, 1)))


async def leaving(world: World, rng: random.Random) -> str:
    """A client that goes in the midst of its head, its body, the work, or the answer."""
    index = rng.randrange(len(world.pool.rows))
    request = post("/embed", json.dumps({"inputs": [world.pool.rows[index][1]] * 64}).encode())
    async with _Connection(world) as connection:
        await connection.send(request[: rng.choice((10, len(request) - 5, len(request), len(request)))])
        await asyncio.sleep(rng.random() * 0.3)
    return "left"


async def malformed(world: World, rng: random.Random) -> str:
    """What has to be refused, with its status and in the form of its route."""
    await asyncio.sleep(0.02)
    path, body, statuses = rng.choice(MALFORMED)
    async with _Connection(world) as connection:
        await connection.send(post(path, body))
        try:
            status, _, content = await connection.answer()
        except Lost:
            if len(body) > 2_000_000 or world.stopping:
                return "refused"  # closed while it was still sent
            raise
    return _refused(path, status, content, statuses)


MALFORMED: tuple[tuple[str, bytes, set[int]], ...] = (
    ("/embed", b"{", {400}),
    ("/embed", b"\xff\xfe", {400}),
    ("/embed", b"[" * 100_000, {400}),
    ("/v1/embeddings", b'{"input": []}', {422}),
    ("/v1/embeddings", b'{"input": [' + b"{}," * 300_000 + b"{}]}", {422}),
    ("/v1/embeddings", b'{"input": "a", "model": "none"}', {404}),
    ("/v1/embeddings", b'{"input": [[-1]]}', {422}),
    ("/embed", b'{"inputs": "a", "normalize": 5}', {422}),
    ("/embed", b'{"inputs": ["a", "\\ud83d"]}', {422}),
    ("/embed", json.dumps({"inputs": ["x"] * 100, "instruction": "a b " * 100_000}).encode(), {413}),
    ("/embed", b'{"inputs": "' + b"a" * 2_500_000 + b'"}', {413}),
    ("/none", b"{}", {404}),
)
# How many there are of each.
CLIENTS: dict[str, tuple[Client, int]] = {
    "single": (single, 4),
    "batch": (batch, 2),
    "long": (long, 1),
    "token ids": (token_ids, 1),
    "slow": (slow, 4),
    "stalled": (stalled, 8),
    "unread": (unread, 4),
    "read late": (read_late, 1),
    "leaving": (leaving, 3),
    "malformed": (malformed, 2),
}


async def _batch(world: World, chosen: list[int]) -> str:
    rows = [world.pool.rows[index] for index in chosen]
    body = {"inputs": [text for _, text in rows], "instruction": [instruction for instruction, _ in rows]}
    return await _embed(world, "/embed", body, world.pool.vectors[chosen])


async def _embed(world: World, path: str, body: dict[str, Any], expected: Float32) -> str:
    async with _Connection(world) as connection:
        await connection.send(post(path, json.dumps(body).encode()))
        answer = await connection.answer()
    return _checked(path, *answer, expected)


def _checked(path: str, status: int, head: str, content: bytes, expected: Float32) -> str:
    """Whether an answer has the vectors of `encode()`, bit by bit; an overloaded server may say so."""
    if status == 429 and "retry-after:" in head.lower():
        return _refused(path, status, content, {429})
    if status != 200:
        raise Mistake(f"{path}: {status} {content[:200]!r}")
    found = json.loads(content)
    vectors = [entry["embedding"] for entry in found["data"]] if path.startswith("/v1/") else found
    if isinstance(vectors[0], str):
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    if np.array(vectors, np.float32).tobytes() != expected.tobytes():
        raise Mistake(f"{path}: other vectors than those of encode()")
    return "right"


def _refused(path: str, status: int, content: bytes, statuses: set[int]) -> str:
    """Whether a refusal has the status and the form that it should."""
    try:
        found = json.loads(content)
        found = found["error"] if path.startswith("/v1/") else found
        shape = set(found)
    except (ValueError, KeyError, TypeError):
        shape = set()
    if status not in statuses | {429} or shape != SHAPES["/v1/" if path.startswith("/v1/") else "/"]:
        raise Mistake(f"{path}: {status} {content[:200]!r}, expected {statuses}")
    return "overloaded" if status == 429 else "refused"


class _Connection:
    """One connection for one request; closed with the block, whatever was read."""

    def __init__(self, world: World, receive: int | None = None) -> None:
        self._world = world
        self._receive = receive  # bytes of the system's buffer
        self.sent_at = float("inf")

    async def __aenter__(self) -> _Connection:
        raw = socket.socket()
        raw.setblocking(False)
        if self._receive is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (self._world.host, self._world.port))
        except BaseException:
            raw.close()
            raise
        # a small limit: what is not asked for stays in the system's buffers, as with a client that does not read
        self._reader, self._writer = await asyncio.open_connection(sock=raw, limit=1 << 16)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send, as far as the server takes it: `answer` tells the rest."""
        with contextlib.suppress(ConnectionError):
            if not self._writer.is_closing():
                self._writer.write(data)
                await self._writer.drain()
        self.sent_at = time.monotonic()

    async def answer(self) -> tuple[int, str, bytes]:
        """Status, head and body."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)content-length: (\d+)", head)
            if not head.startswith("HTTP/1.1 ") or length is None:
                raise Mistake(f"not an answer: {head[:200]!r}")
            content = await self._reader.readexactly(int(length[1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Lost(self.sent_at) from None
        self._world.answered += 1
        return int(head[9:12]), head, content

"""The soak: a few seconds of it, and whether its clients see what a server does wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from instructor_onnx.loading import EMBEDDED

from benchmarks.soak import clients

MINI = EMBEDDED["instructor-mini"]
RIGHT, WRONG = [[0.5, 0.25]], [[0.5, 0.125]]


def answer(status: int, content: Any, head: str = "") -> bytes:
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("said", "outcome", "mistakes"),
    [
        (answer(200, RIGHT), "right", 0),
        (answer(429, {"error": "later", "error_type": "Overloaded"}, "Retry-After: 1\r\n"), "overloaded", 0),
        (answer(429, {"error": "later", "error_type": "Overloaded"}), "mistake", 1),
        (answer(200, WRONG), "mistake", 1),
        (answer(500, {"error": "no", "error_type": "Backend"}), "mistake", 1),
        (b"nonsense\r\n\r\n", "mistake", 1),
        (answer(200, RIGHT)[:-3], "lost", 1),
        (b"", "lost", 1),
    ],
)
def test_what_a_server_does_wrong_is_seen(said: bytes, outcome: str, mistakes: int) -> None:
    world = asked_once(said)
    assert dict(world.counts["long"]) == {outcome: 1}
    assert len(world.mistakes) == mistakes


def test_a_request_that_a_stopping_server_never_read_is_not_lost() -> None:
    world = asked_once(b"", accepted_before=0.0)
    assert dict(world.counts["long"]) == {"turned away": 1}
    assert world.mistakes == []


def asked_once(said: bytes, accepted_before: float = float("inf")) -> clients.World:
    """What a client makes of a server that says this."""
    vectors = np.array(RIGHT, np.float32)
    pool = clients.Pool([("", "a")], vectors, [[5]], vectors, "a", vectors[0], vectors[0], 2)

    async def once() -> clients.World:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            world.stopping = True  # after this one
            world.accepted_before = accepted_before
            writer.write(said)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            world = clients.World(host, port, pool)
            await clients.drive("long", clients.long, world, Random(0))
        return world

    return asyncio.run(once())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tried on Linux alone")
def test_a_few_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.soak import __main__ as soak

    out, readme = tmp_path / "soak.json", tmp_path / "README.md"
    readme.write_text("before\n<!-- soak:begin -->\nstale\n<!-- soak:end -->\nafter\n")
    assert soak.main([str(MINI), "--minutes", "0.1", "--out", str(out), "--readme", str(readme)]) == 0
    found = json.loads(out.read_text())
    assert found["mistakes"] == []
    assert found["end"]["exit_status"] == 0
    assert found["counts"]["at the end"].keys() == {"right"}
    assert found["counts"]["single"]["right"] > 0
    assert found["counts"]["malformed"]["refused"] > 0
    # a client's last request may come to a server that is stopping, and only that one
    assert found["counts"]["malformed"].keys() <= {"refused", "turned away"}
    assert found["counts"]["malformed"].get("turned away", 0) <= clients.CLIENTS["malformed"][1]
    assert len(found["lines"]) == 10
    assert all(line["memory_mb"] > 0 and line["descriptors"] > 0 and line["threads"] > 0 for line in found["lines"])
    assert "| 6 s | " in readme.read_text()
    assert "stale" not in readme.read_text()
    assert soak.main([str(out)]) == 0
    assert "instructor-mini, int8 on " in capsys.readouterr().out


def test_an_error_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.soak import __main__ as soak

    assert soak.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("python -m benchmarks.soak: error: ")
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert soak.main([str(other)]) == 1
    assert "not a results file" in capsys.readouterr().err

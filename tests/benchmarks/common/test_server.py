"""A server that a benchmark starts: ready, or an error with what it said."""

from __future__ import annotations

import sys

import httpx
import pytest

from benchmarks.common import server

# Answers what it was asked for, after a line on stderr.
HONEST = """
import http.server, sys
print("listening", file=sys.stderr, flush=True)
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), http.server.SimpleHTTPRequestHandler)
server.serve_forever()
"""


def test_a_server_is_ready_says_what_it_said_and_ends_with_the_block() -> None:
    with server.started([sys.executable, "-c", HONEST], "/") as running:
        assert httpx.get(f"{running.url}/").status_code == 200
        assert running.said().startswith("listening\n")
    assert running.process.poll() is not None


def test_a_server_that_ends_at_once_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="ended with 1: no model here$"),
        server.started([sys.executable, "-c", "import sys; sys.exit('no model here')"]),
    ):
        raise AssertionError("it is not ready")

"""A server in a process of its own, and the texts it is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import httpx

from benchmarks.common import PROJECT

PACKAGES = ("instructor-onnx", "onnxruntime", "tokenizers", "fastapi", "uvicorn")
TEXTS = PROJECT / "export" / "instructor_onnx_export" / "calibration.jsonl"


@dataclass(frozen=True)
class Server:
    """One that runs."""

    process: subprocess.Popen[bytes]
    url: str
    log: IO[bytes]  # its stderr

    def said(self) -> str:
        """Everything in its log so far; read apart from where it goes on writing."""
        log = self.log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")


@contextlib.contextmanager
def started(command: Sequence[str], route: str = "/health") -> Iterator[Server]:
    """A server on a free port that has answered `route`; killed with the block where it still runs.

    Raises:
        RuntimeError: it ended before; with the last that it said.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command, quiet = [*command, "--port", port], {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log, env=quiet) as process:
        server = Server(process, f"http://127.0.0.1:{port}", log)
        try:
            while not _answers(server.url + route):
                if process.poll() is not None:
                    said = server.said().strip()[-500:]
                    raise RuntimeError(f"{' '.join(command)}: ended with {process.returncode}: {said}")
                time.sleep(0.1)
            yield server
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def post(path: str, content: bytes) -> bytes:
    """A whole request with a JSON body, as a client without a library sends it."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def read_rows() -> list[tuple[str, str]]:
    """40 rows of (instruction, text), from a few words to a paragraph."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    return [(instruction, text) for instruction, text in map(json.loads, lines)]

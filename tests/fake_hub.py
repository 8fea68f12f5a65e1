"""A small server on the loopback that answers as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_secret"


class FakeHub:
    """Repositories by id, revisions by name, files by path."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.fetched: list[str] = []  # files whose content was sent
        self.breaks_at: str | None = None  # the file whose content stops half way
        self.url = ""

    def publish(self, repo: str, folder: Path, revision: str = "main") -> None:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.revisions.setdefault(repo, {})[revision] = files

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and the files of a branch or commit."""
        for name, files in self.revisions.get(repo, {}).items():
            commit = hashlib.sha1(f"{repo}@{name}".encode()).hexdigest()
            if revision in (name, commit):
                return commit, files
        return None


class Answers(BaseHTTPRequestHandler):
    """The four endpoints that downloading a snapshot needs."""

    def __init__(self, hub: FakeHub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) > 5 and parts[4] in ("revision", "tree"):
            self._describe("/".join(parts[2:4]), parts[4], parts[5])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._send_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._send(404, b"{}")

    def _describe(self, repo: str, what: str, revision: str) -> None:
        if (found := self._found(repo, revision)) is None:
            return
        commit, files = found
        if what == "tree":
            entries = [
                {"type": "file", "path": path, "oid": hashlib.sha1(data).hexdigest(), "size": len(data)}
                for path, data in files.items()
            ]
            self._send(200, json.dumps(entries).encode())
        else:
            siblings = [{"rfilename": path} for path in files]
            self._send(200, json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode())

    def _send_file(self, repo: str, revision: str, path: str) -> None:
        if (found := self._found(repo, revision)) is None:
            return
        commit, files = found
        if path not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"', "X-Repo-Commit": commit}
        if self.command == "GET":
            self.hub.fetched.append(path)
        self._send(200, files[path], headers, half=path == self.hub.breaks_at)

    def _found(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        hidden = repo in self.hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if repo not in self.hub.revisions or hidden:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        found = self.hub.find(repo, revision)
        if found is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return found

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, half: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if half else body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that answers on the loopback until the block ends."""
    hub = FakeHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, hub)) as http:
        hub.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def connected(server: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Have huggingface_hub reach `server`, emptied, and keep what it downloads in `cache`."""
    huggingface_hub: Any = pytest.importorskip("huggingface_hub")
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    for module in (constants, huggingface_hub.file_download):  # before 1.0 the latter has a copy of its own
        if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
            template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server.revisions, server.private, server.breaks_at = {}, set(), None
    server.fetched.clear()
    yield server
    if hasattr(huggingface_hub, "close_session"):  # since 1.0
        huggingface_hub.close_session()

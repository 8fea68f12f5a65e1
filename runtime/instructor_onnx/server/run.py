"""From options to a running server, and to its end."""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.server.app import build_app
from instructor_onnx.server.connection import HEAD_LIMIT, Connection
from instructor_onnx.server.gate import Gate
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options
from instructor_onnx.server.service import Service

STALLED = 2  # seconds

logger = logging.getLogger(__name__)


class Server:
    """A server that listens already, and answers when `run` is called. See `serve`."""

    def __init__(self, load: Callable[[], INSTRUCTOR], options: Options) -> None:
        self._load = load
        self._options = options
        self._metrics = metrics = Metrics()
        self._failures: list[Exception] = []  # of loading, or of the queue
        self._socket = _listen(options.host, options.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        app = build_app(self._lifespan, metrics, page=options.page)
        gate = Gate(app, options, metrics, _hosts(options, host))
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                gate,
                http=cast(type[asyncio.Protocol], partial(Connection, options=options, metrics=metrics)),
                h11_max_incomplete_event_size=HEAD_LIMIT,
                lifespan="on",
                ws="none",
                log_config=_log_config(),
                access_log=options.access_log,
                server_header=False,
                timeout_graceful_shutdown=options.drain_timeout,
            )
        )

    def run(self) -> None:
        """Answer requests until told to stop."""
        # uvicorn raises the signal that stopped it again when it is done
        with suppress(KeyboardInterrupt), _hangup_as(self.stop):
            self._uvicorn.run(sockets=[self._socket])
        if self._failures:
            raise self._failures[0]

    def stop(self) -> None:
        """Finish what is running, and end `run`. Thread-safe."""
        self._uvicorn.should_exit = True

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        app.state.loading = loading = loop.run_in_executor(None, self._ready)
        try:
            yield
        finally:
            with suppress(Exception):  # kept in `_failures`
                service = await loading
                await loop.run_in_executor(None, service.close)

    def _ready(self) -> Service:
        try:
            service = Service(self._load(), self._options, self._metrics, self._end)
        except BaseException as error:  # a panic of the tokenizer is no Exception
            self._end(error)
            raise self._failures[-1] from error.__cause__
        key = "with an API key" if self._options.api_keys else "without an API key"
        logger.info("Ready on %s, %s: %r, as %s", self.url, key, service.model, ", ".join(service.models()))
        return service

    def _end(self, error: BaseException) -> None:
        """Stop, and let `run` raise the error: a server that cannot embed is of use to nobody, a new one may be."""
        self._failures.append(
            error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
        )
        self.stop()


class _Uvicorn(uvicorn.Server):
    """Does not wait for clients that do not read."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cutting = asyncio.ensure_future(self._cut_stalled())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _cut_stalled(self) -> None:
        """Close the connections of answered requests whose clients have read nothing for a while."""
        before: dict[Connection, int] = {}
        while True:
            unread = {
                connection: connection.transport.get_write_buffer_size()
                for connection in self.server_state.connections
                if isinstance(connection, Connection) and connection.answered
            }
            for connection, size in unread.items():
                if before.get(connection) == size:
                    connection.cut(f"not read in {STALLED} seconds, and the server is being stopped")
            before = unread
            await asyncio.sleep(STALLED)


def run(load: Callable[[], INSTRUCTOR], options: Options) -> None:
    """See `serve`."""
    Server(load, options).run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        hint = "another program listens there; choose another --port" if error.errno == errno.EADDRINUSE else ""
        said = hint or os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise OSError(f"{host}:{port}: cannot be listened on: {said}.") from None


def _hosts(options: Options, address: str) -> frozenset[str] | None:
    """What a request's `Host` may name; None: anything, where strangers are kept out otherwise or let in on purpose."""
    if not options.allowed_hosts and (options.api_keys or not ip_address(address).is_loopback):
        return None
    names = ("localhost", "127.0.0.1", "::1", address, options.host, *options.allowed_hosts)
    return frozenset(name.lower() for name in names)


@contextmanager
def _hangup_as(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP, as of a terminal that is closed, end the server as SIGTERM does; under nohup it stays ignored."""
    main = threading.current_thread() is threading.main_thread()  # only there may a handler be set
    if not main or not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGHUP, lambda number, frame: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _log_config() -> dict[str, object]:
    """uvicorn's, all of it on stderr, with this package's lines in the same form."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config["loggers"]["instructor_onnx.server"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

"""From options to a running server, and to its end."""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.server.app import build_app
from instructor_onnx.server.gate import Gate
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options
from instructor_onnx.server.service import Service

logger = logging.getLogger(__name__)


class Server:
    """A server that listens already, and answers when `run` is called. See `serve`."""

    def __init__(self, load: Callable[[], INSTRUCTOR], options: Options) -> None:
        self._load = load
        self._options = options
        self._metrics = Metrics()
        self._failures: list[Exception] = []  # of loading
        self._socket = _listen(options.host, options.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        gate = Gate(build_app(self._lifespan, self._metrics), options, self._metrics)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                gate,
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
        with suppress(KeyboardInterrupt):
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
            service = Service(self._load(), self._options, self._metrics)
        except Exception as error:
            self._failures.append(error)
            self.stop()
            raise
        key = "with an API key" if self._options.api_keys else "without an API key"
        logger.info("Ready on %s, %s: %r, as %s", self.url, key, service.model, ", ".join(service.models()))
        return service


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


def _log_config() -> dict[str, object]:
    """uvicorn's, all of it on stderr, with this package's lines in the same form."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config["loggers"]["instructor_onnx.server"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config

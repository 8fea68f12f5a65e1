"""What one connection may hold, and for how long. Knows HTTP's framing, and nothing of routes."""

from __future__ import annotations

import asyncio
import http
import logging
import math
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from instructor_onnx.server.errors import ApiError
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options

HEAD_LIMIT = 32_768  # bytes of a request's head
UNREAD_LIMIT = 2**28  # bytes of all connections' answers that their clients have not read

logger = logging.getLogger(__name__)


class Connection(H11Protocol):
    """uvicorn's, with a limit of connections, and of the time that a client may take to ask and to read.

    h11 rather than httptools: it bounds heads, and answers clients that offer to upgrade (as Java's `HttpClient`),
    for 0.1 ms more a request.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        options: Options,
        metrics: Metrics,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._options = options
        self._metrics = metrics
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self.unread_since = math.inf  # by the loop's clock; infinite where the client has read everything

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that writing is paused where anything is unread
        self._metrics.connections.set(len(self.connections))
        self._expect_head()
        if len(self.connections) > self._options.max_connections:
            sentence = f"{self._options.max_connections:,} connections are open (--max-connections); try again later."
            self._refuse(ApiError("too_many_connections", sentence, retry_after=1))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._metrics.connections.set(len(self.connections))
        _cancel(self._head_timer)
        _cancel(self._read_timer)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def _expect_head(self) -> None:
        _cancel(self._head_timer)
        self._head_timer = self.loop.call_later(self._options.body_timeout, self._end_wait)

    def _end_wait(self) -> None:
        if not self.answered:
            return  # a request has come
        if self.conn.trailing_data[0]:  # a part of one
            sentence = f"The head had not come after {self._options.body_timeout} seconds (--body-timeout)."
            self._refuse(ApiError("head_timeout", sentence))
        elif self.cycle is None:
            self.transport.close()
        else:  # uvicorn closes what is idle after an answer, in its own time: any sooner, the next request may be lost
            self._expect_head()

    @property
    def answered(self) -> bool:
        """No request has come, or the last one is answered as far as the server goes."""
        return self.cycle is None or self.cycle.response_complete

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_since = self.loop.time()
        timeout = self._options.write_timeout
        _cancel(self._read_timer)
        self._read_timer = self.loop.call_later(timeout, self.cut, f"not read in {timeout} seconds (--write-timeout)")
        self._bound_unread()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_since = math.inf
        _cancel(self._read_timer)

    def _bound_unread(self) -> None:
        """Cut the connections that have not been read for longest, until the others' answers are within the limit."""
        unread = [
            other for other in self.connections if isinstance(other, Connection) and other.unread_since < math.inf
        ]
        unread.sort(key=lambda connection: connection.unread_since)
        size = sum(connection.transport.get_write_buffer_size() for connection in unread)
        for connection in unread[:-1]:  # not the last one: an answer larger than the limit is for a client that reads
            if size <= UNREAD_LIMIT:
                return
            size -= connection.transport.get_write_buffer_size()
            connection.cut("not read, and others need the memory")

    def cut(self, why: str) -> None:
        """Close the connection at once, and forget what the client has not read."""
        client = "{}:{}".format(*self.client) if self.client else "a client"
        logger.warning("The connection of %s is cut: its answer was %s.", client, why)
        self._metrics.errors.labels("unread").inc()
        self.unread_since = math.inf
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls where the bytes are no request."""
        if len(self.conn.trailing_data[0]) > HEAD_LIMIT:
            self._refuse(ApiError("head_too_large", f"The request's head is larger than {HEAD_LIMIT:,} bytes."))
        else:
            self._refuse(ApiError("malformed", "What was sent is no HTTP/1.1 request."))

    def _refuse(self, error: ApiError) -> None:
        """Answer without a request, and close."""
        self._metrics.errors.labels(error.kind).inc()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = error.response("")
            status = http.HTTPStatus(answer.status_code)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            head = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: Java's client offers an upgrade with every request, and uvicorn has two lines of the log for it."""


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

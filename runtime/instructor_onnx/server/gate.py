"""What happens to a request before and around its route: the key, the body's limits, a client that leaves."""

from __future__ import annotations

import asyncio
import secrets
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instructor_onnx.server.errors import ApiError
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options

OPEN_ROUTES = ("/health",)  # probes have no key
ROUTES = ("/v1/embeddings", "/v1/models", "/", "/embed", "/tokenize", "/info", "/health", "/metrics", "/openapi.json")


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, options: Options, metrics: Metrics) -> None:
        self._app = app
        self._keys = [key.encode() for key in options.api_keys]
        self._payload_limit = options.payload_limit
        self._body_timeout = options.body_timeout
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"]
        route = path if path in ROUTES else "other"  # a label of few values, whatever clients ask for

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(route, message["status"]).inc()
                self._metrics.duration.labels(route).observe(time.perf_counter() - started)
            await send(message)

        try:
            self._check_key(scope)
            body = await self._read(scope, receive)
        except ApiError as error:
            self._metrics.errors.labels(error.kind).inc()
            await error.response(path)(scope, receive, counted)
        except ClientGone:
            self._metrics.errors.labels("disconnected").inc()
        else:
            await self._answer(scope, body, receive, counted)

    def _check_key(self, scope: Scope) -> None:
        if not self._keys or scope["path"] in OPEN_ROUTES:
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        token = given.strip().encode("latin-1")
        # every key is compared, in constant time: how long it takes says nothing
        matches = [secrets.compare_digest(token, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError("unauthorized", "Send a valid API key: the header `Authorization: Bearer KEY`.")

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, or an error as soon as it is too large or too slow."""
        announced = Headers(scope=scope).get("content-length", "0")
        if int(announced) > self._payload_limit:  # the server has checked that it is a number
            raise self._too_large()
        try:
            return await asyncio.wait_for(self._chunks(receive), self._body_timeout)
        except asyncio.TimeoutError:
            raise ApiError(
                "body_timeout", f"The body had not come after {self._body_timeout} seconds (--body-timeout)."
            ) from None

    async def _chunks(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > self._payload_limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> ApiError:
        return ApiError(
            "payload_too_large", f"The body is larger than {self._payload_limit:,} bytes (--payload-limit)."
        )

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application; when the client leaves, stop it, which frees its place in the queue."""

        async def whole() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        answering = asyncio.ensure_future(self._app(scope, whole, send))
        leaving = asyncio.ensure_future(receive())  # after the body, only a disconnect can come
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            gone = not answering.done()
            if gone:
                answering.cancel()
        if gone:
            self._metrics.errors.labels("disconnected").inc()
            await asyncio.wait((answering,))
        else:
            answering.result()

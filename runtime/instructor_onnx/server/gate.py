"""What happens to a request before and around its route: its host and key, the body's limits, a client that leaves."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instructor_onnx.server.errors import ApiError, echoed
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.options import Options

OPEN_ROUTES = ("/health",)  # probes have no key
ROUTES = ("/v1/embeddings", "/v1/models", "/", "/embed", "/tokenize", "/info", "/health", "/metrics", "/openapi.json")
BROWSER_CHALLENGE = 'Basic realm="instructor-onnx", charset="UTF-8"'
LINGER = 5  # seconds in which a client that is refused may still send


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Gate:
    """ASGI middleware around the whole application.

    Args:
        hosts: what a request's `Host` may name; None: anything.
    """

    def __init__(self, app: ASGIApp, options: Options, metrics: Metrics, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts
        self._keys = [key.encode() for key in options.api_keys]
        self._page = options.page
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
        answered = False

        async def counted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._metrics.requests.labels(route, message["status"]).inc()
                self._metrics.duration.labels(route).observe(time.perf_counter() - started)
            await send(message)

        try:
            self._check_host(scope)
            self._check_key(scope)
            body = await self._read(scope, receive)
            await self._answer(scope, body, receive, counted)
        except ApiError as error:
            await self._tell(error, path, counted, more_body=True)
            await _discard(receive)  # closed at once, the answer would be lost where the client still sends
            await counted({"type": "http.response.body"})
        except ClientGone:
            self._metrics.errors.labels("disconnected").inc()
        except asyncio.CancelledError:  # uvicorn's, when --drain-timeout is over
            if not answered:
                sentence = "The server is being stopped, and had no time for this request; try again later."
                await self._tell(ApiError("stopping", sentence, retry_after=1), path, counted)
        except BaseException:  # a panic of the tokenizer is no Exception, which the application would have answered
            if not answered:
                await self._tell(ApiError("backend", "An error of the server; its log has the details."), path, counted)
            raise  # uvicorn logs it

    async def _tell(self, error: ApiError, path: str, send: Send, *, more_body: bool = False) -> None:
        """Answer with an error, after which the connection is closed."""
        self._metrics.errors.labels(error.kind).inc()
        answer = error.response(path)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": more_body})

    def _check_host(self, scope: Scope) -> None:
        """A web page can point its own name at this machine, and so ask what only this machine's programs may."""
        host = Headers(scope=scope).get("host")
        if self._hosts is None or host is None:  # HTTP/1.0, which no browser speaks
            return
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name not in self._hosts:
            raise ApiError(
                "misdirected",
                f"Host: found {echoed(host)!r}, which is no name of this server; expected one of "
                f"{', '.join(sorted(self._hosts))}. Allow it with --allowed-host, or serve with an API key.",
            )

    def _check_key(self, scope: Scope) -> None:
        if not self._keys or scope["path"] in OPEN_ROUTES:
            return
        given = _key(scope, from_browsers=self._page)
        # every key is compared, in constant time: how long it takes says nothing
        matches = [secrets.compare_digest(given or b"", key) for key in self._keys]
        if given is None or not any(matches):
            raise self._unauthorized(scope)

    def _unauthorized(self, scope: Scope) -> ApiError:
        if self._page and scope["method"] == "GET" and scope["path"] == "/":  # the browser asks its user, once
            sentence = "This page needs the server's API key: any name will do, and the key is the password."
            return ApiError("unauthorized", sentence, challenge=BROWSER_CHALLENGE)
        return ApiError("unauthorized", "Send a valid API key: the header `Authorization: Bearer KEY`.")

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


def _key(scope: Scope, *, from_browsers: bool) -> bytes | None:
    """The key that a request comes with: a program's bearer token, or the password that a browser has asked for."""
    headers = Headers(scope=scope)
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode("latin-1")
    # A browser sends the password by itself, also where another site's page asks: such a page may link here, not more.
    own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    if from_browsers and scheme.lower() == "basic" and (own or scope["method"] == "GET"):
        with suppress(ValueError):  # no base64
            return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
    return None


async def _discard(receive: Receive) -> None:
    """Read the rest of a request, as far as it comes soon."""

    async def read() -> None:
        message: Message = {"more_body": True}
        while message.get("more_body", False):  # a disconnect has none
            message = await receive()

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), LINGER)

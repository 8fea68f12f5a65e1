"""/openapi.json says what each route answers, and each route answers that."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from instructor_onnx import INSTRUCTOR
from instructor_onnx.server.app import build_app
from instructor_onnx.server.errors import KINDS, ApiError
from instructor_onnx.server.metrics import Metrics

from tests.server.conftest import HeldEngine, Start, load, serving

jsonschema = pytest.importorskip("jsonschema")

APP = build_app(lambda app: contextlib.nullcontext(), Metrics())
DOCUMENT: dict[str, Any] = APP.openapi()
ROUTES = {(method, path): route for path, routes in DOCUMENT["paths"].items() for method, route in routes.items()}
ANSWERS = {
    (method, path, status): answer
    for (method, path), route in ROUTES.items()
    for status, answer in route["responses"].items()
}
MODEL = "/v1/models/{model}"
BODIES = {"/v1/embeddings": {"input": "a"}, "/embed": {"inputs": "a"}, "/tokenize": {"inputs": ["naïve café", ""]}}


def ask(client: httpx.Client, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    """A request that a ready server without a key answers with 200."""
    address = path.format(model="instructor-mini:query")
    return client.request(method, address, json=BODIES.get(path) if body is None else body, headers=headers)


def validate(found: Any, answer: dict[str, Any]) -> None:
    """Fail where `found` lacks a field of the documented answer, has another one, or one of another type."""
    schemas = {name: each | {"additionalProperties": False} for name, each in DOCUMENT["components"]["schemas"].items()}
    (content,) = answer["content"].values()
    jsonschema.validate(found, content["schema"] | {"components": {"schemas": schemas}})


def check(response: httpx.Response, method: str, path: str, status: int) -> None:
    """Fail where an answer is not what the document says of the route."""
    assert response.status_code == status, response.text
    answer = ANSWERS[method, path, str(status)]
    if "content" not in answer:
        assert response.content == b""
        return
    (media_type,) = answer["content"]
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    validate(response.json() if media_type == "application/json" else response.text, answer)


def test_every_route_is_in_the_document(client: httpx.Client) -> None:
    routes = [route for route in APP.routes if isinstance(route, APIRoute) and route.include_in_schema]
    assert {(method.lower(), route.path_format) for route in routes for method in route.methods or ()} == set(ROUTES)
    assert client.get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("key", ANSWERS, ids=" ".join)
def test_every_answer_has_a_schema(key: tuple[str, str, str]) -> None:
    if key == ("get", "/health", "200"):  # says nothing
        assert "content" not in ANSWERS[key]
        return
    (content,) = ANSWERS[key]["content"].values()
    assert content["schema"].keys() & {"$ref", "anyOf", "items", "type"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_answers_what_the_document_says(client: httpx.Client, method: str, path: str) -> None:
    check(ask(client, method, path), method, path, 200)


def test_base64_is_in_the_document(client: httpx.Client) -> None:
    body = {"input": ["a", "b"], "encoding_format": "base64"}
    check(ask(client, "post", "/v1/embeddings", body), "post", "/v1/embeddings", 200)


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_kind_of_error_has_the_shape_that_the_document_says(method: str, path: str, status: str) -> None:
    kinds = [kind for kind, (number, *_) in KINDS.items() if str(number) == status]
    assert kinds or status in ("200", "default")
    for kind in kinds:
        validate(_json(ApiError(kind, "Why.", param="input").response(path)), ANSWERS[method, path, status])


def _json(response: Any) -> Any:
    return httpx.Response(200, content=response.body).json()


@pytest.mark.parametrize(("method", "path"), [key for key in ROUTES if key[1] in BODIES])
def test_a_body_that_is_refused(client: httpx.Client, method: str, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    check(client.request(method, path, content=b"{", headers=headers), method, path, 400)
    bodies: list[Any] = [{}, {"input": [], "inputs": []}, []]
    for body in bodies:
        check(ask(client, method, path, body), method, path, 422)


def test_a_model_that_there_is_not(client: httpx.Client) -> None:
    check(client.get("/v1/models/gpt"), "get", MODEL, 404)
    check(ask(client, "post", "/v1/embeddings", {"input": "a", "model": "gpt"}), "post", "/v1/embeddings", 404)


def test_what_is_refused_on_every_route(start: Start) -> None:
    keyed, closed = start(api_keys=("secret",)), start(payload_limit=100, max_concurrent_requests=0)
    for method, path in ROUTES:
        if path != "/health":
            check(ask(keyed, method, path), method, path, 401)
        check(ask(closed, method, path, {"inputs": "a" * 100}), method, path, 413)
        check(ask(closed, method, path, Host="elsewhere.example"), method, path, 421)
        if path in BODIES:
            check(ask(closed, method, path), method, path, 429)


def test_a_server_that_is_not_ready() -> None:
    asked = threading.Event()

    def load_later() -> INSTRUCTOR:
        asked.wait()
        return load()

    with serving(load_later) as server, httpx.Client(base_url=server.url) as client:
        try:
            for method, path in ROUTES:
                if path != "/metrics":
                    check(ask(client, method, path), method, path, 503)
        finally:
            asked.set()


def test_a_model_that_fails(start: Start, held: HeldEngine) -> None:
    client = start()
    held.raises_on = 1  # </s>
    for path in ("/v1/embeddings", "/embed"):
        check(ask(client, "post", path), "post", path, 500)


def test_a_server_of_too_many_connections(start: Start) -> None:
    client = start(max_connections=1)  # which `client` has
    for method, path in ROUTES:
        with httpx.Client(base_url=client.base_url) as another:
            check(ask(another, method, path), method, path, 503)

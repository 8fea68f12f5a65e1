"""The routes: requests in, the service called, its answer written."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from instructor_onnx import __version__
from instructor_onnx.server import browser
from instructor_onnx.server.errors import KINDS, ApiError, from_http, from_validation
from instructor_onnx.server.metrics import Metrics
from instructor_onnx.server.schemas import (
    Embeddings,
    EmbeddingsRequest,
    EmbedRequest,
    Info,
    Model,
    Models,
    OpenAIRefusal,
    Refusal,
    Token,
    TokenizeRequest,
)
from instructor_onnx.server.service import Service

DESCRIPTION = """\
INSTRUCTOR text embeddings. Below /v1 as OpenAI's API, the other routes as text-embeddings-inference; \
instructions and presets are this server's own.
"""

FINGERPRINT = "Instructor-Fingerprint"  # a header of each answer with vectors
# Errors, by what may have them.
ANY = ("body_timeout", "payload_too_large", "misdirected", "backend", "stopping")
KEYED = ("unauthorized", "not_ready")
INPUTS = ("malformed", "invalid", "overloaded")
UNROUTED = ("head_timeout", "too_many_connections")  # whatever the path, as text-embeddings-inference's

logger = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(lifespan: Lifespan, metrics: Metrics, *, page: bool = True) -> FastAPI:
    """The application. `lifespan` sets `app.state.loading`, the future of the `Service`; `page`: GET / has one."""
    app = FastAPI(
        title="instructor-onnx",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        # their pages load scripts from elsewhere
        docs_url=None,
        redoc_url=None,
        default_response_class=Response,  # of no media type: the document has those that `responses` name
    )
    created = int(time.time())

    @app.exception_handler(ApiError)
    async def _refused(request: Request, error: ApiError) -> Response:
        if error.__cause__ is not None:  # the client is told a sentence, the log why
            logger.error("%s %s: %s", request.method, request.url.path, error, exc_info=error.__cause__)
        metrics.errors.labels(error.kind).inc()
        return error.response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return await _refused(request, from_validation(error))

    @app.exception_handler(HTTPException)
    async def _unanswered(request: Request, error: HTTPException) -> Response:
        return await _refused(request, from_http(request, error))

    @app.exception_handler(Exception)
    async def _failed(request: Request, error: Exception) -> Response:
        return await _refused(request, ApiError("backend", "An error of the server; its log has the details."))

    @app.post(
        "/v1/embeddings",
        tags=["OpenAI"],
        responses=_answers(Embeddings, OpenAIRefusal, *KEYED, *INPUTS, "model_not_found"),
    )
    async def embeddings(body: EmbeddingsRequest, service: Ready) -> Response:
        """Embed texts, as OpenAI's clients ask for it."""
        preset = service.instruction_of(body.model)
        found = await service.embed(
            body.input,
            preset if body.instruction is None else body.instruction,
            truncate=body.truncate,
            dimensions=body.dimensions,
            precision=body.precision,
            normalize=False,  # the model's own vectors, as `encode()` gives them
            field="input",
        )
        vectors: list[Any] = list(found.vectors)
        if body.encoding_format == "base64":
            vectors = [
                base64.b64encode(vector.astype(vector.dtype.newbyteorder("<")).tobytes()).decode() for vector in vectors
            ]
        return _json(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)
                ],
                "model": body.model or service.model_names[0],
                "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
                "fingerprint": service.fingerprint,
            },
            service.fingerprint,
        )

    @app.get("/v1/models", tags=["OpenAI"], responses=_answers(Models, OpenAIRefusal, *KEYED))
    async def models(service: Ready) -> Response:
        """Every name that `model` may have: the model's, and with each preset."""
        return _json({"object": "list", "data": [_model(name, created) for name in service.models()]})

    @app.get(
        "/v1/models/{model:path}",
        tags=["OpenAI"],
        responses=_answers(Model, OpenAIRefusal, *KEYED, "model_not_found"),
    )
    async def model(model: str, service: Ready) -> Response:
        """One of them."""
        service.instruction_of(model)
        return _json(_model(model, created))

    @app.post(
        "/embed",
        tags=["text-embeddings-inference"],
        responses=_answers(list[list[float]], Refusal, *KEYED, *INPUTS),
    )
    @app.post("/", include_in_schema=False)  # where huggingface_hub's InferenceClient sends it, given a bare address
    async def embed(body: EmbedRequest, service: Ready) -> Response:
        """Embed texts: a list of vectors, also of one text."""
        preset = service.preset(body.prompt_name)
        found = await service.embed(
            body.inputs,
            preset if body.instruction is None else body.instruction,
            truncate=body.truncate,
            dimensions=body.dimensions,
            precision=body.precision,
            normalize=body.normalize,
            field="inputs",
        )
        return _json(found.vectors, service.fingerprint)

    @app.post(
        "/tokenize",
        tags=["text-embeddings-inference"],
        responses=_answers(list[list[Token]], Refusal, *KEYED, *INPUTS),
    )
    async def tokenize(body: TokenizeRequest, service: Ready) -> Response:
        """The tokens of each text, and the characters they are from."""
        instruction = service.preset(body.prompt_name)
        rows = await service.pieces(body.inputs, instruction, add_special_tokens=body.add_special_tokens)
        return _json(
            [
                [
                    {
                        "id": piece.id,
                        "text": piece.text,
                        "special": piece.span is None,
                        "start": piece.span and piece.span[0],
                        "stop": piece.span and piece.span[1],
                    }
                    for piece in pieces
                ]
                for pieces in rows
            ]
        )

    @app.get("/info", tags=["text-embeddings-inference"], responses=_answers(Info, Refusal, *KEYED))
    async def info(service: Ready) -> Response:
        """The model and the limits."""
        options = service.options
        return _json(
            {
                "model_id": service.model_names[0],
                "model_sha": None,
                "model_dtype": service.model.variant,
                "model_type": {"embedding": {"pooling": "mean"}},
                "max_concurrent_requests": options.max_concurrent_requests,
                "max_input_length": service.model.max_seq_length,
                "max_batch_tokens": service.model.token_budget,
                "max_batch_requests": None,
                "max_client_batch_size": options.max_client_batch_size,
                "auto_truncate": options.auto_truncate,
                "tokenization_workers": service.tokenization_workers,
                "version": __version__,
                "fingerprint": service.fingerprint,
                "sha": None,
                "docker_label": None,
            }
        )

    @app.get("/health", tags=["operation"], responses=_answers(None, Refusal, "not_ready"))
    async def health(service: Ready) -> Response:
        """200 when requests are answered; 503 while the model is loaded and warmed up."""
        return Response()

    @app.get(
        "/metrics",
        tags=["operation"],
        responses=_answers(None, Refusal, "unauthorized")
        | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def prometheus() -> Response:
        """Figures in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    if page:
        app.include_router(browser.files())

        @app.get("/page/settings.json", include_in_schema=False)
        async def settings(service: Ready) -> Response:
            return _json(browser.settings(service))

    return app


async def _ready(request: Request) -> Service:
    loading: asyncio.Future[Service] = request.app.state.loading
    if not loading.done():
        raise ApiError("not_ready", "The model is still being loaded.", retry_after=1)
    return loading.result()


Ready = Annotated[Service, Depends(_ready)]


def _answers(found: Any, refused: Any, *kinds: str) -> dict[int | str, dict[str, Any]]:
    """What /openapi.json tells of a route's answers: `found` (None: nothing), or errors of these kinds."""
    shapes = {KINDS[kind][0]: refused for kind in (*ANY, *kinds)}
    shapes |= {KINDS[kind][0]: refused | Refusal for kind in UNROUTED}
    shown: dict[int | str, dict[str, Any]] = {status: {"model": shape} for status, shape in sorted(shapes.items())}
    early = {"model": Refusal, "description": "Refused before its route was known"}
    return {200: {} if found is None else {"model": found}} | shown | {"default": early}


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "instructor-onnx"}


def _json(content: Any, fingerprint: str | None = None) -> Response:
    headers = {FINGERPRINT: fingerprint} if fingerprint else None
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json", headers=headers)

"""What a client is told when something is wrong, in the shape that its kind of client reads."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from orjson import dumps
from starlette.exceptions import HTTPException

# kind -> HTTP status, `type` of OpenAI's errors, `error_type` of text-embeddings-inference's
KINDS = {
    "malformed": (400, "invalid_request_error", "Validation"),
    "unauthorized": (401, "authentication_error", "Unauthorized"),
    "not_found": (404, "invalid_request_error", "Validation"),
    "model_not_found": (404, "invalid_request_error", "Validation"),
    "method_not_allowed": (405, "invalid_request_error", "Validation"),
    "head_timeout": (408, "invalid_request_error", "Validation"),
    "body_timeout": (408, "invalid_request_error", "Validation"),
    "payload_too_large": (413, "invalid_request_error", "Validation"),
    "misdirected": (421, "invalid_request_error", "Validation"),
    "invalid": (422, "invalid_request_error", "Validation"),
    "overloaded": (429, "rate_limit_error", "Overloaded"),
    "head_too_large": (431, "invalid_request_error", "Validation"),
    "backend": (500, "server_error", "Backend"),
    "not_ready": (503, "server_error", "Unhealthy"),
    "stopping": (503, "server_error", "Unhealthy"),
    "too_many_connections": (503, "server_error", "Overloaded"),
}
ECHOED = 60  # characters of a request that an answer repeats at most
INPUT_FORMS = "expected a string, a list of strings, a list of token ids, or a list of lists of token ids"


class ApiError(Exception):
    """Why a request cannot be answered.

    Args:
        kind: a key of KINDS.
        message: what was wrong, and what to do.
        param: the field of the request that it is about.
        retry_after: seconds until it is worth another try.
        challenge: how an unauthorized client is asked for its key.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        challenge: str = "Bearer",
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.param = param
        self.retry_after = retry_after
        self.challenge = challenge

    def response(self, path: str) -> Response:
        """The answer on a route: OpenAI's shape below /v1, else that of text-embeddings-inference."""
        status, openai_type, tei_type = KINDS[self.kind]
        message = str(self)
        content: dict[str, Any]
        if path.startswith("/v1/"):
            content = {"error": {"message": message, "type": openai_type, "param": self.param, "code": self.kind}}
        else:
            content = {"error": message, "error_type": tei_type}
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.kind == "unauthorized":
            headers["WWW-Authenticate"] = self.challenge
        return Response(dumps(content), status_code=status, headers=headers, media_type="application/json")


def echoed(text: object) -> str:
    """What a request said, for the sentence about it: short, and without half of a surrogate pair."""
    start = str(text)[: ECHOED + 1].encode(errors="backslashreplace").decode()
    return start if len(start) <= ECHOED else f"{start[:ECHOED]}…"


def from_validation(error: RequestValidationError) -> ApiError:
    """The first thing that a body has wrong, in a sentence."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError("malformed", f"The body is not JSON: {first.get('ctx', {}).get('error', first['msg'])}.")
    if first["type"] == "too_many_fields":
        return ApiError("invalid", first["msg"])
    field = echoed(first["loc"][1]) if len(first["loc"]) > 1 else None
    if field is None:
        return ApiError("invalid", "The body has to be a JSON object, sent as Content-Type: application/json.")
    if field in ("input", "inputs"):
        said = "is missing" if first["type"] == "missing" else INPUT_FORMS
        return ApiError("invalid", f"{field}: {said}.", param=field)
    said = "no such field" if first["type"] == "extra_forbidden" else first["msg"]
    return ApiError("invalid", f"{field}: {said}.", param=field)


def from_http(request: Request, error: HTTPException) -> ApiError:
    """What the framework itself refuses."""
    if error.status_code == 404:
        return ApiError("not_found", f"There is no {echoed(request.url.path)}; GET /openapi.json lists what there is.")
    if error.status_code == 405:
        return ApiError("method_not_allowed", f"{echoed(request.method)} {echoed(request.url.path)} is not answered.")
    return ApiError("malformed", "The body is not JSON that can be read.")

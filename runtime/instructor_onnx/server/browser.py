"""The page at `/`: its files, the headers they go with, and what it has to know of the server. Knows no texts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from instructor_onnx import __version__
from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL
from instructor_onnx.server.service import Service

FOLDER = Path(__file__).with_name("page")
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
# All that is served: no path of a request ever reaches the file system.
FILES = (
    *(INDEX, "page.css", "icon.svg", "main.js", "dom.js", "table.js", "example.js", "instructions.js", "api.js"),
    *("geometry.js", "shapes.js", "map.js", "heatmap.js", "neighbours.js", "calls.js", "link.js", "download.js"),
)
HEADERS = {
    # Trusted types: a script that inserted a text as HTML would fail, whatever the text.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def files() -> APIRouter:
    """GET / and GET /page/NAME, for each of FILES."""
    router = APIRouter()
    for name in FILES:
        path = "/" if name == INDEX else f"/page/{name}"
        router.add_api_route(path, _answering(name), methods=["GET", "HEAD"], include_in_schema=False)
    return router


def settings(service: Service) -> dict[str, Any]:
    """What the page shows, and keeps to: the model, its limits, and instructions with their wording."""
    retrieval = {
        f"{name}: {side}": wording for name, pair in RETRIEVAL.items() for side, wording in pair._asdict().items()
    }
    return {
        "model": service.model_names[0],
        "variant": service.model.variant,
        "embedding_dim": service.model.manifest.model.embedding_dim,
        "version": __version__,
        "keyed": bool(service.options.api_keys),
        "max_client_batch_size": service.options.max_client_batch_size,
        "payload_limit": service.options.payload_limit,
        "instructions": [
            {"group": "Presets of this server", "wordings": service.presets},
            {"group": "One for all texts", "wordings": SAME_FOR_ALL},
            {"group": "Retrieval: questions and documents", "wordings": retrieval},
        ],
    }


def _answering(name: str) -> Any:
    """The endpoint of a file, which is read once."""
    content = (FOLDER / name).read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"ETag": etag, "Cache-Control": "no-cache"}  # asked for each time, sent when it has changed
    media_type = MEDIA_TYPES[Path(name).suffix]

    async def answer(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return answer

"""sentence-transformers behind a plain FastAPI handler: what `python -m benchmarks.serving` compares the server with.

Runs in an environment of its own: pip install sentence-transformers fastapi uvicorn httptools uvloop
"""

from __future__ import annotations

import argparse
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Request(BaseModel):
    text: str
    instruction: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()

    model = SentenceTransformer(options.checkpoint, device="cpu")
    model.set_pooling_include_prompt(False)  # as INSTRUCTOR pools: only the text
    app = FastAPI()

    @app.post("/embed")
    def embed(request: Request) -> list[float]:
        vector: list[float] = model.encode(request.text, prompt=request.instruction, show_progress_bar=False).tolist()
        return vector

    @app.get("/versions")
    def versions() -> dict[str, str]:
        names = ("sentence-transformers", "transformers", "torch", "fastapi", "uvicorn")
        return {name: version(name) for name in names}

    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()

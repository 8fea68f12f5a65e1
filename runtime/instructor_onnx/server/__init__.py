"""`instructor-onnx serve`: a bundle over HTTP, for clients of OpenAI's API and of text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Callable

from instructor_onnx.extras import pip_install
from instructor_onnx.model import INSTRUCTOR
from instructor_onnx.server.options import API_KEY as API_KEY
from instructor_onnx.server.options import Options as Options
from instructor_onnx.server.options import read_api_keys as read_api_keys
from instructor_onnx.server.options import read_presets as read_presets

__all__ = ["API_KEY", "Options", "read_api_keys", "read_presets", "serve"]


def serve(load: Callable[[], INSTRUCTOR], options: Options) -> None:
    """Answer requests until SIGTERM or Ctrl-C; what is running then is finished first.

    Args:
        load: builds the model; called once, in the background, while /health answers 503.

    Raises:
        ImportError: the extra `serve` is not installed.
        OSError: the address cannot be listened on.
        Exception: whatever `load` raises.
    """
    try:
        import fastapi as fastapi
        import orjson as orjson
        import prometheus_client as prometheus_client
        import uvicorn as uvicorn
    except ImportError as error:
        raise ImportError(f"serving needs {error.name}: {pip_install('serve')}") from error
    from instructor_onnx.server.run import run

    run(load, options)

"""How a server is set up. Imports nothing of the extra `serve`, so that the command line can show the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

API_KEY = "INSTRUCTOR_ONNX_API_KEY"  # the environment variable


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about a server, but the model."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free one

    # Names: `model` in a request is one of these, or "NAME:PRESET".
    model_names: tuple[str, ...] = ()  # none: the bundle's own name
    presets: Mapping[str, str] = field(default_factory=dict)  # preset -> instruction
    api_keys: tuple[str, ...] = ()  # a request needs one of them as its bearer token; none: it needs nothing

    # Limits of one request.
    payload_limit: int = 2_000_000  # bytes
    max_client_batch_size: int = 2048  # inputs
    auto_truncate: bool = True  # cut what is longer than the model's max_seq_length, unless the request says otherwise
    body_timeout: int = 30  # seconds until the whole body must have come

    # Limits of all requests together.
    max_concurrent_requests: int = 512
    max_queue_tokens: int = 262_144  # tokens that wait; a larger request is taken when nothing waits

    drain_timeout: int = 30  # seconds for what is running when the server is told to stop
    access_log: bool = False


def read_presets(file: Path | None, pairs: Iterable[str]) -> dict[str, str]:
    """Named instructions from a JSON file `{"name": "instruction", ...}` and from NAME=INSTRUCTION, which wins.

    Raises:
        ValueError: not of that form; names the file or the pair.
    """
    presets: dict[str, str] = {}
    if file is not None:
        try:
            presets = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not JSON ({error}).") from None
        if not isinstance(presets, dict) or not all(isinstance(text, str) for text in presets.values()):
            raise ValueError(f'{file}: expected an object of strings, as {{"query": "Represent the question: "}}.')
    for pair in pairs:
        name, equals, instruction = pair.partition("=")
        if not equals:
            raise ValueError(f"--preset {pair!r}: expected NAME=INSTRUCTION.")
        presets[name] = instruction
    if "" in presets:
        raise ValueError("presets: one has an empty name.")
    return presets


def read_api_keys(file: Path | None, variable: str | None) -> tuple[str, ...]:
    """The keys of a file, one a line, else that in the environment's API_KEY; none where both are None.

    Raises:
        ValueError: a file or variable is given and holds no key, or one that no HTTP header can carry.
    """
    if file is None and variable is None:
        return ()
    text = file.read_text(encoding="utf-8") if file is not None else variable or ""
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    source = file if file is not None else API_KEY
    if not keys:
        raise ValueError(f"{source}: holds no key. Remove it to serve without one.")
    if not all(key.isascii() and key.isprintable() and " " not in key for key in keys):
        raise ValueError(f"{source}: a key may hold visible ASCII characters only.")
    return keys

"""How a server is set up. Imports nothing of the extra `serve`, so that the command line can show the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from instructor_onnx.inputs import is_unicode

FILE_LIMIT = 2**20  # bytes of a file of keys or presets
API_KEY = "INSTRUCTOR_ONNX_API_KEY"  # the environment variable


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about a server, but the model.

    >>> Options(presets={"query": "Represent the question: "}).port
    8080
    """

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free one
    allowed_hosts: tuple[str, ...] = ()  # further names of a keyless server that only this machine can reach
    page: bool = True  # GET / answers browsers with a page

    # Names: `model` in a request is one of these, or "NAME:PRESET".
    model_names: tuple[str, ...] = ()  # none: the bundle's own name
    presets: Mapping[str, str] = field(default_factory=dict)  # preset -> instruction
    api_keys: tuple[str, ...] = ()  # a request needs one of them as its bearer token, a browser as its password

    # Limits of one request.
    payload_limit: int = 2_000_000  # bytes
    max_client_batch_size: int = 2048  # inputs
    auto_truncate: bool = True  # cut what is longer than the model's max_seq_length, unless the request says otherwise
    body_timeout: int = 30  # seconds until the head must have come, and then until the whole body must
    write_timeout: int = 30  # seconds until the client must have read the whole answer

    # Limits of all requests together.
    max_connections: int = 900  # a process may have 1,024 files open by most systems' default
    max_concurrent_requests: int = 512
    max_queue_tokens: int = 262_144  # tokens that wait; a larger request is taken when nothing waits

    drain_timeout: int = 30  # seconds for what is running when the server is told to stop
    access_log: bool = False


def read_presets(file: Path | None, pairs: Iterable[str]) -> dict[str, str]:
    """Named instructions from a JSON file `{"name": "instruction", ...}` and from NAME=INSTRUCTION, which wins.

    Raises:
        ValueError: not of that form; names the file or the pair.

    >>> read_presets(None, ["query=Represent the question: "])
    {'query': 'Represent the question: '}
    """
    presets: dict[str, str] = {}
    if file is not None:
        try:
            presets = json.loads(_read(file))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{file}: not JSON ({error}).") from None
        if not isinstance(presets, dict) or not all(isinstance(text, str) for text in presets.values()):
            raise ValueError(f'{file}: expected an object of strings, as {{"query": "Represent the question: "}}.')
    for pair in pairs:
        name, equals, instruction = pair.partition("=")
        if not equals:
            raise ValueError(f"--preset {pair!r}: expected NAME=INSTRUCTION.")
        presets[name] = instruction
    for name, instruction in presets.items():
        if not name:
            raise ValueError("presets: one has an empty name.")
        if not is_unicode(name + instruction):
            raise ValueError(f"preset {name!r}: half of a surrogate pair (as \\ud83d alone) is no text.")
    return presets


def read_api_keys(file: Path | None, variable: str | None) -> tuple[str, ...]:
    """The keys of a file, one a line, else that in the environment's API_KEY; none where both are None.

    Raises:
        ValueError: a file or variable is given and holds no key, or one that no HTTP header can carry.

    >>> read_api_keys(None, "secret")
    ('secret',)
    """
    if file is None and variable is None:
        return ()
    text = _read(file) if file is not None else variable or ""
    keys = tuple(line.strip() for line in text.splitlines() if line.strip())
    source = file if file is not None else API_KEY
    if not keys:
        raise ValueError(f"{source}: holds no key. Remove it to serve without one.")
    if not all(key.isascii() and key.isprintable() and " " not in key for key in keys):
        raise ValueError(f"{source}: a key may hold visible ASCII characters only.")
    return keys


def _read(file: Path) -> str:
    """A small text file.

    Raises:
        ValueError: it is no UTF-8, larger than FILE_LIMIT, or cannot be read; names it.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}.") from None
    if len(content) > FILE_LIMIT:
        raise ValueError(f"{file}: is larger than {FILE_LIMIT:,} bytes. Is it the right file?")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: byte {error.start} is not UTF-8. Save it as UTF-8.") from None

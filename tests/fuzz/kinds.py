"""The kinds of cases there are. Knows only where each is: its module imports what the kind needs."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from random import Random
from typing import Protocol, cast

# name -> module:class, and the packages that have to be installed
KINDS = {
    "manifest": ("tests.fuzz.bundles:Manifests", ()),
    "model-native": ("tests.fuzz.models:NativeModels", ("instructor_onnx.engines.kernels",)),
    "model-onnxruntime": ("tests.fuzz.models:OnnxruntimeModels", ("onnxruntime",)),
    "tokenizer": ("tests.fuzz.tokenizer_files:TokenizerFiles", ()),
    "input": ("tests.fuzz.streams:Inputs", ("pyarrow",)),
    "option": ("tests.fuzz.commands:Commands", ()),
    "state": ("tests.fuzz.states:States", ("pyarrow",)),
    "server": ("tests.fuzz.requests:Requests", ("fastapi", "uvicorn", "orjson", "httpx", "prometheus_client")),
    "checkpoint": ("tests.fuzz.checkpoints:Checkpoints", ("torch", "transformers", "safetensors", "sentencepiece")),
}


class Kind(Protocol):
    """What a worker does, case by case."""

    documented: tuple[type[BaseException], ...]  # what may be raised where a case is refused
    named: tuple[str, ...]  # one of these has to be in the refusal

    def __init__(self, folder: Path) -> None:
        """Make what all cases share, in an empty folder of the worker's own."""

    def attempt(self, rng: Random) -> bool:
        """Make a case and try it; whether what was accepted has exactly the known answer.

        Raises:
            Refused, Wrong: see verdict.py.
            BaseException: what the code under test raises.
        """

    def close(self) -> None:
        """Let go of what runs."""


def missing(name: str) -> list[str]:
    """The packages that a kind needs and that are not installed."""
    return [package for package in KINDS[name][1] if not _is_there(package)]


def _is_there(package: str) -> bool:
    if package != "instructor_onnx.engines.kernels":
        return importlib.util.find_spec(package) is not None  # torch takes seconds to import
    try:
        importlib.import_module(package)
    except ImportError:  # it was not compiled
        return False
    return True


def find(place: str) -> type[Kind]:
    """The class at module:class."""
    module, _, name = place.partition(":")
    return cast("type[Kind]", getattr(importlib.import_module(module), name))

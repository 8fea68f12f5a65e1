"""instructor-onnx as its users run it: default settings, `encode` of a list of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from instructor_onnx import INSTRUCTOR, Manifest

from benchmarks.compare.rivals import Job

if TYPE_CHECKING:  # it knows this version of the runtime only, and another may be what is measured
    from benchmarks.compare.adapters.common import Encoder, Float32, Row


class Ours:
    """A bundle."""

    batching = "token_budget"
    choices: Sequence[int] = ()  # the runtime's default is part of what is measured

    def __init__(self, job: Job) -> None:
        self._model = INSTRUCTOR(
            job.bundle, variant=job.option, device="cpu", engine=job.engine, num_threads=job.threads
        )
        self.settings: dict[str, Any] = {"threads": job.threads, "loaded": repr(self._model), "batching": "default"}
        self.files = [job.bundle / file.path for file in Manifest.read(job.bundle).files(job.option)]

    def choose(self, value: int) -> None:
        raise ValueError("the runtime chooses for itself")

    def encode(self, rows: list[Row]) -> Float32:
        return np.asarray(self._model.encode(rows), dtype=np.float32)


def load(job: Job) -> Encoder:
    return Ours(job)

"""One model on several devices, which share the rows of a call. Knows no engine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from instructor_onnx.inputs import Row

if TYPE_CHECKING:
    from instructor_onnx.model import INSTRUCTOR

MOST_OF_A_CHUNK = 5000  # rows; sentence-transformers' number


@dataclasses.dataclass(frozen=True)
class DevicePool:
    """The same model on several devices, of `start_multi_process_pool`. Threads feed them: no processes are needed."""

    models: tuple[INSTRUCTOR, ...]

    def encode(self, rows: Sequence[Row], chunk_size: int | None, **options: Any) -> Any:
        """`INSTRUCTOR.encode` of many rows: each device takes the next chunk as soon as it is free."""
        size = chunk_size or min(MOST_OF_A_CHUNK, max(1, math.ceil(len(rows) / len(self.models) / 10)))
        chunks = [rows[first : first + size] for first in range(0, len(rows), size)] or [rows]
        free = list(self.models)

        def embed(chunk: Sequence[Row]) -> Any:
            model = free.pop()
            try:
                return model.encode(chunk, show_progress_bar=False, **options)
            finally:
                free.append(model)

        with ThreadPoolExecutor(len(self.models), thread_name_prefix="pool") as threads:
            found = list(threads.map(embed, chunks))
        if isinstance(found[0], np.ndarray):
            return np.concatenate(found)
        if isinstance(found[0], list):
            return [row for chunk in found for row in chunk]
        import torch

        return torch.cat([chunk.to(found[0].device) for chunk in found])

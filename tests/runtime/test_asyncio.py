"""Many tasks of one event loop, each embedding in a thread, as docs/use.md shows it."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt
import pytest
from instructor_onnx import INSTRUCTOR

TASKS = 100


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_a_hundred_tasks_each_get_the_vectors_of_a_lone_call(engine: str) -> None:
    module = "instructor_onnx.engines.kernels" if engine == "native" else "onnxruntime"
    pytest.importorskip(module, exc_type=ImportError)
    model = INSTRUCTOR("instructor-mini", device="cpu", engine=engine)
    # every length from a word to a page, one row to four, another instruction every third task
    asked = [
        [
            [f"Represent sentence {task % 3}: ", f"text {task} {part} " * (1 + task * part)]
            for part in range(1 + task % 4)
        ]
        for task in range(TASKS)
    ]
    alone = [model.encode(rows) for rows in asked]

    async def together() -> list[npt.NDArray[np.float32]]:
        return list(await asyncio.gather(*(asyncio.to_thread(model.encode, rows) for rows in asked)))

    for found, expected in zip(asyncio.run(together()), alone, strict=True):
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))  # bits: int8's promise


def test_the_event_loop_runs_on_meanwhile() -> None:
    model = INSTRUCTOR("instructor-mini", device="cpu")

    async def ticks_while_embedding() -> int:
        embedding = asyncio.create_task(asyncio.to_thread(model.encode, ["the river rises " * 100] * 200))
        ticks = 0
        while not embedding.done():
            ticks += 1
            await asyncio.sleep(0)
        assert (await embedding).shape == (200, 384)
        return ticks

    assert asyncio.run(ticks_while_embedding()) > 100

"""What a user sees of the stages of an export, on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from tqdm import tqdm


class Stage(Protocol):
    """`with stage("Reading", 10, "row") as bar`: `bar.update` tells of each of 10 rows."""

    def __call__(self, title: str, total: int = 1, unit: str = "") -> contextlib.AbstractContextManager[tqdm[Any]]: ...


def stages(show_progress: bool) -> Stage:
    """Each stage ends as one line with its time; on a terminal, it is a bar until then."""

    @contextlib.contextmanager
    def stage(title: str, total: int = 1, unit: str = "") -> Iterator[tqdm[Any]]:
        start = time.perf_counter()
        with tqdm(
            total=total, desc=f"{title:<24}", unit=unit, leave=False, disable=None if show_progress else True
        ) as bar:
            yield bar
        if show_progress:
            tqdm.write(f"{title:<24} {time.perf_counter() - start:7.1f} s", file=sys.stderr)

    return stage

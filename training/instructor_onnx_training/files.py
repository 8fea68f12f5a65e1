"""Writing so that what was there survives a failure: beside the target first, then one rename.

Who writes an output holds it `alone`: what lies beside a target under the names used here is of a run that was killed.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from instructor_onnx.files.resume import work_folder


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold an output for this process, by the lock of its work folder, as `instructor-onnx encode` does.

    Raises:
        BlockingIOError: another process works on it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(work_folder(out.with_name(out.name + ".partial")))
        except RuntimeError as error:
            raise BlockingIOError(str(error)) from None
        yield


def write_atomically(path: Path, content: bytes) -> None:
    """The whole content at `path`, or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def folder_written_beside(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `target` when the block ends well, and vanishes when it raises."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside, retired = (target.with_name(f".{target.name}.{what}") for what in ("partial", "retired"))
    if retired.exists() and not target.exists():  # killed between the two renames
        retired.replace(target)
    for left in (beside, retired):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        if target.exists():
            target.replace(retired)
        beside.replace(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if retired.exists() and not target.exists():
            retired.replace(target)
        raise
    shutil.rmtree(retired, ignore_errors=True)

"""Replace a bundle, killed at one moment after the other, and say what each kill left. Run by test_staging.py.

    python killed_exports.py STAGING_PY FOLDER exchange|rename

A moment is just before a call to the file system. One line of output each: the bundle found after the kill, and the
bundle and the names beside it after the next export. In a process of its own, which has no threads and can fork.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType

CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "fcntl.flock"}


def load(path: str) -> ModuleType:
    """The module alone: its package would load torch."""
    spec = importlib.util.spec_from_file_location("staging", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, text: str) -> None:
    """A bundle of three files that all say `text`."""
    (folder / "int8").mkdir()
    for name in ("manifest.json", "tokenizer.json", "int8/model.onnx"):
        (folder / name).write_text(text)


def held(bundle: Path) -> str:
    """What all files of the bundle say; "absent" or "broken"."""
    if not bundle.exists():
        return "absent"
    files = [path for path in bundle.rglob("*") if path.is_file()]
    said = {path.read_text() for path in files}
    return said.pop() if len(files) == 3 and len(said) == 1 else "broken"


def die_before_call(number: int) -> None:
    """Kill this process before its `number`th call to the file system."""
    calls = itertools.count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in CALLS and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(staging_py: str, folder: str, way: str) -> None:
    """Kill at moment 0, 1, ... until one export lives to its end."""
    staging = load(staging_py)
    if way == "rename":
        vars(staging)["_exchange"] = lambda folder, place: False
    place = Path(folder) / "b"
    for number in itertools.count():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        write(place, "old")
        child = os.fork()
        if child == 0:
            die_before_call(number)
            with staging.staged(place, overwrite=True) as new:
                write(new, "new")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = held(place)
        with staging.staged(place, overwrite=True) as new:
            during = held(place)
            write(new, "next")
        print(found, during, held(place), *sorted(os.listdir(folder)))  # noqa: PTH208, T201
        if os.WIFEXITED(status):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])

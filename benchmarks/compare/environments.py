"""The rivals' environments: one virtual environment each, made once, under the project's ignored `.cache`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.common import PROJECT
from benchmarks.compare.processes import RivalFailed
from benchmarks.compare.rivals import ENVIRONMENTS, MAIN, REMOVED

DONE = "made-from.txt"  # in each environment: what it was made from; absent until it is whole


def interpreter(name: str, folder: Path) -> Path:
    """The Python of an environment, which is made where it is not there yet.

    Raises:
        RivalFailed: pip could not; the reason is its last line.
    """
    if name == MAIN:
        return Path(sys.executable)
    if name not in ENVIRONMENTS:
        return Path(name)
    if (python := made(name, folder)) is not None:
        return python
    home = folder / name
    python = _python(home)
    sys.stderr.write(f"making the environment {name}: {', '.join(ENVIRONMENTS[name])}\n")
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", str(home)])
    _run([*pip, "install", *ENVIRONMENTS[name], _torch()])
    _run([*pip, "uninstall", "--yes", *REMOVED])
    (home / DONE).write_text(_contents(name), encoding="utf-8")
    return python


def made(name: str, folder: Path) -> Path | None:
    """The Python of one of ENVIRONMENTS, if it is there, whole, and made of what is named today."""
    home = folder / name
    done = home / DONE
    return _python(home) if done.is_file() and done.read_text(encoding="utf-8") == _contents(name) else None


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _contents(name: str) -> str:
    return " ".join((*ENVIRONMENTS[name], _torch()))


def _torch() -> str:
    """The pin of torch: the newest build brings gigabytes of CUDA. Other versions are the rivals' own choice."""
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise RivalFailed(f"could not be installed: {reasons[-1] if reasons else done.returncode}")

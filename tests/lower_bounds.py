"""Is what pyproject.toml allows true? Each trial installs its extras at their lower bounds and runs their tests.

    python tests/lower_bounds.py              # every trial, one line of verdict each; an hour and some gigabytes
    python tests/lower_bounds.py chroma spark # these

What pyproject.toml names has the lowest version it allows; what that brings along is as new as it allows, as for a
user. torch alone is the one of constraints.txt: other builds bring gigabytes of CUDA with them. Each environment is
made in a temporary folder and removed again. Needs Python 3.11 and `packaging`, which comes with pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tomllib  # type: ignore[import-not-found]  # mypy checks for Python 3.10
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[1]
RUNTIME = [f"tests/runtime/{name}" for name in ("test_batches.py", "test_bundle.py", "test_inputs.py", "files")]
# Where a download is refused, huggingface_hub before 2 gives what its cache has instead of an error.
OLD_HUB = [
    f"--deselect=tests/runtime/test_hub.py::test_{name}"
    for name in ("private_repositories_need_a_token", "offline_without_the_variant")
]
PYTEST = ["pytest", "hypothesis"]


@dataclass(frozen=True)
class Trial:
    """Extras that are installed together, and what shows that they work."""

    extras: str  # as between the brackets of `pip install 'instructor-onnx[...]'`
    tests: list[str]  # arguments of pytest
    tools: tuple[str, ...] = ()  # what these tests need besides, at any version
    cut: str = ""  # without torch the fixtures above this folder cannot be had


def _integration(name: str, *options: str, tools: tuple[str, ...] = ()) -> Trial:
    extra = name.replace("_", "-")
    return Trial(extra, [f"tests/integrations/test_{name}.py", *options], tools, cut="tests/integrations")


TRIALS = {
    "onnxruntime": Trial(
        "onnxruntime,parquet,serve",
        [*RUNTIME, "tests/server"],
        ("httpx", "jsonschema", "openai", "psutil", "huggingface_hub"),
        "tests/server",
    ),
    "langchain": _integration("langchain"),
    "haystack": _integration("haystack"),
    "llama-index": _integration("llama_index"),
    "chroma": _integration("chroma"),
    "sklearn": _integration("sklearn", tools=("pandas",)),
    "spark": _integration("spark", "--deselect=tests/integrations/test_spark.py::test_shipping"),  # needs an export
    "train": Trial("train,parquet", ["tests/export", "tests/runtime", "tests/training", *OLD_HUB], ("psutil",)),
    "quality": Trial(
        "quality,export",  # its tests make a bundle
        [
            *(f"tests/benchmarks/quality/test_{name}.py" for name in ("data", "tasks", "embedders", "quality")),
            "tests/runtime/ranking",  # with plot, which it brings
        ],
    ),
    # Alone, for a file of tests that are all skipped is a failure: so is an mteb that cannot be imported.
    "mteb": Trial("mteb,quality,export", ["tests/benchmarks/quality/test_mteb_adapter.py"]),
}
# What no trial can have: a GPU's onnxruntime; and tools, which constraints.txt pins.
UNTRIED = {"gpu", "dev"}


def main() -> int:
    """0 where every trial passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of {', '.join(TRIALS)} (default: all)")
    names = parser.parse_args().trials or list(TRIALS)
    if unknown := set(names) - set(TRIALS):
        parser.error(f"found {', '.join(sorted(unknown))}; expected some of {', '.join(TRIALS)}")
    verdicts = {name: _verdict(TRIALS[name]) for name in names}
    for name, verdict in verdicts.items():
        sys.stdout.write(f"{name}: {verdict}\n")
    return int(any(verdict != "passed" for verdict in verdicts.values()))


def _verdict(trial: Trial) -> str:
    bounds = lower_bounds(trial.extras.split(","))
    sys.stdout.write(f"\n[{trial.extras}] {' '.join(bounds)}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as work:
        constraints, python = Path(work, "bounds.txt"), str(Path(work, "venv/bin/python"))
        constraints.write_text("\n".join(bounds), encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        cut = [f"--confcutdir={trial.cut}"] if trial.cut else []
        stages = {
            "no environment": [sys.executable, "-m", "venv", str(Path(work, "venv"))],
            "not to be installed": [*install, f".[{trial.extras}]", *PYTEST, *trial.tools],
            # Old versions under a newer Python or with newer friends warn: that is no failure.
            "tests failed": [
                python,
                "-m",
                "pytest",
                "-q",
                "-W",
                "default",
                "-p",
                "no:cacheprovider",
                *cut,
                *trial.tests,
            ],
        }
        for failure, command in stages.items():
            # By the environment, so that the build's own requirements are held to it too.
            if subprocess.run(command, cwd=PROJECT, env={**os.environ, "PIP_CONSTRAINT": str(constraints)}).returncode:
                return failure
    return "passed"


def lower_bounds(extras: list[str]) -> list[str]:
    """`name==version` of everything that a build of the project with these extras names; constraints.txt's torch."""
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lowest: dict[str, Version] = {}
    named = [*pyproject["build-system"]["requires"], *pyproject["project"]["dependencies"]]
    for requirement in map(Requirement, [*named, *_of_extras(pyproject["project"], extras)]):
        bound = next(Version(bound.version) for bound in requirement.specifier if bound.operator == ">=")
        lowest[requirement.name] = max(bound, lowest.get(requirement.name, bound))
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    return [torch, *(f"{name}=={version}" for name, version in lowest.items() if name != "torch")]


def _of_extras(project: dict[str, dict[str, list[str]]], extras: list[str]) -> Iterator[str]:
    """What the extras name, and what those that they include name."""
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == "instructor-onnx":
                yield from _of_extras(project, sorted(requirement.extras))
            else:
                yield text


if __name__ == "__main__":
    raise SystemExit(main())

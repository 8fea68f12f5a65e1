"""The pages: their code runs, their links lead somewhere, and the first one is short. The docstrings' examples run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from instructor_onnx.loading import EMBEDDED

from tests.server.conftest import is_ready, load, serving, wait_until

PROJECT = Path(__file__).parents[1]
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
SERVER = "http://127.0.0.1:8080"  # as the pages call it

FRAMEWORKS = ("chroma", "haystack", "langchain", "llama_index", "sklearn", "spark")
PUBLIC = (
    *("instructor_onnx", "instructor_onnx.instructions", "instructor_onnx.server", "instructor_onnx_export"),
    *(f"instructor_onnx.integrations.{name}" for name in FRAMEWORKS),
)
WITHOUT_EXAMPLE = {
    "serve",  # runs until it is told to stop
    *("tokenizer", "engine"),  # for the server
    *("as_texts", "embed_batch", "worker_model"),  # for their module's tests
    *("cuda", "half", "bfloat16", "float", "train"),  # their errors say all
    "push_to_hub",  # needs an account
}


def blocks() -> Iterator[object]:
    for page in PAGES:
        for index, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
            # a framework takes seconds to import, and Spark half a minute to start
            marks = [pytest.mark.slow] if page.stem in ("integrations", "other-libraries") else []
            yield pytest.param(code, id=f"{page.stem}-{index}", marks=marks)


def run(*arguments: str, folder: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """This Python, or one that has our runtime too, in another process; frameworks in it tell nobody of it."""
    silent = {"HAYSTACK_TELEMETRY_ENABLED": "False", "ANONYMIZED_TELEMETRY": "False"}
    if python != sys.executable:
        silent["PYTHONPATH"] = str(PROJECT / "runtime")
    command = [python, *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ | silent, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(load) as server, httpx.Client(base_url=server.url) as client:
        wait_until(lambda: is_ready(client))
        yield server.url


@pytest.mark.parametrize("code", list(blocks()))
def test_the_code_of_a_page_runs(code: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "my-bundle").symlink_to(EMBEDDED["instructor-mini"])
    if SERVER in code:
        code = code.replace(SERVER, request.getfixturevalue("address"))
    python = request.getfixturevalue("optimum_python") if "from optimum" in code else sys.executable
    ran = run("-c", code, folder=tmp_path, python=str(python))
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_first_page_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def _tree(module: str) -> ast.Module:
    root = PROJECT / ("export" if module.startswith("instructor_onnx_export") else "runtime")
    path = root.joinpath(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))


def _definitions(body: list[ast.stmt]) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The public functions and classes, by name: of a property the getter, which comes first."""
    found: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.setdefault(node.name, node)
    return found


def _homes(module: str) -> dict[str, str]:
    """What a module offers, and the module that each is defined in."""
    tree = _tree(module)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    reexported = {name.name: str(node.module) for node in imports for name in node.names if name.asname}
    return reexported | dict.fromkeys(_definitions(tree.body), module)


def _public() -> Iterator[tuple[str, str, ast.FunctionDef | ast.ClassDef]]:
    """Every public object, by reading the modules (to import a framework takes seconds): its module and its name."""
    for module in PUBLIC:
        for name, home in _homes(module).items():
            node = _definitions(_tree(home).body).get(name)  # none: a constant
            if node is None or name.endswith("Error"):
                continue
            yield home, name, node
            if module == "instructor_onnx":  # elsewhere, the methods are a framework's
                for method, each in _definitions(node.body).items():
                    yield home, f"{name}.{method}", each
    familiar = _definitions(_tree("instructor_onnx.compatibility").body)["Familiar"]
    for method, each in _definitions(familiar.body).items():
        yield "instructor_onnx", f"INSTRUCTOR.{method}", each


def examples() -> Iterator[object]:
    """By module: its docstrings together, as a process of each would take a minute in all."""
    found: dict[str, dict[str, str]] = {}
    for home, name, node in _public():
        if name.rpartition(".")[2] not in WITHOUT_EXAMPLE:
            found.setdefault(home, {})[name] = ast.get_docstring(node) or ""
    for module in PUBLIC:
        if ">>>" in (text := ast.get_docstring(_tree(module)) or ""):
            found.setdefault(module, {})["the module"] = text
    for module, docstrings in found.items():
        marks = [pytest.mark.slow] if "integrations" in module or "export" in module else []
        yield pytest.param(module, docstrings, id=module, marks=marks)


@pytest.mark.parametrize(("module", "docstrings"), list(examples()))
def test_the_examples_of_docstrings_run(module: str, docstrings: dict[str, str], tmp_path: Path) -> None:
    assert {name for name, docstring in docstrings.items() if ">>> " not in docstring} == set()
    (tmp_path / "my-bundle").symlink_to(EMBEDDED["instructor-mini"])
    (tmp_path / "checkpoints").symlink_to(PROJECT / "checkpoints")
    together = "\n\n".join(f"{name}\n\n{docstring}" for name, docstring in docstrings.items())
    (tmp_path / "examples").write_text(f">>> from {module} import *\n\n{together}\n", encoding="utf-8")
    ran = run("-X", "utf8", "-m", "doctest", "-o", "ELLIPSIS", "examples", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr

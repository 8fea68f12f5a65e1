"""The pages: their code runs, their links lead somewhere, and the first one is short."""

from __future__ import annotations

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
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "kernels/README.md")),
    *sorted((PROJECT / "docs").glob("*.md")),
]
SERVER = "http://127.0.0.1:8080"  # as the pages call it


def blocks() -> Iterator[object]:
    for page in PAGES:
        for index, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
            # a framework takes seconds to import, and Spark half a minute to start
            marks = [pytest.mark.slow] if page.stem == "integrations" else []
            yield pytest.param(code, id=f"{page.stem}-{index}", marks=marks)


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
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_first_page_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150

"""examples/node, on packages from npm."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.examples.conftest import EXAMPLES, KEPT, Encode

NO_NETWORK = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|FETCH_ERROR)\b")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node() -> list[str]:
    """The command that runs the example, beside the packages it names."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm")
    folder = KEPT / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (EXAMPLES / "node").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if found := NO_NETWORK.search(done.stderr):
        pytest.skip(f"needs npm's registry: {found[0]}")
    assert done.returncode == 0, done.stderr
    return ["node", str(folder / "encode.mjs")]


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_node_gives_the_vectors_of_encode(node: list[str], gives_the_vectors: Encode, variant: str) -> None:
    gives_the_vectors(node, variant)

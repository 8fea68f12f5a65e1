"""The line that errors name, by where the package came from."""

from __future__ import annotations

import json
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest
from instructor_onnx.extras import pip_install


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "pip install 'instructor-onnx[export]'"),  # an index
        ({"url": "file:///a%20b/clone", "dir_info": {}}, "pip install '/a b/clone[export]'"),
        ({"url": "file:///clone", "dir_info": {"editable": True}}, "pip install -e '/clone[export]'"),
        ({"url": "file:///it's"}, """pip install '/it'"'"'s[export]'"""),
        (
            {"url": "https://example.org/clone.git", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "pip install 'instructor-onnx[export] @ git+https://example.org/clone.git'",
        ),
        ({"url": "https://example.org/a.whl"}, "pip install 'instructor-onnx[export] @ https://example.org/a.whl'"),
    ],
)
def test_from_where_the_package_came(monkeypatch: pytest.MonkeyPatch, origin: Any, line: str) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert pip_install("export") == line


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nowhere)
    assert pip_install() == "pip install instructor-onnx"

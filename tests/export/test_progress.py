"""What an export says of its stages."""

from __future__ import annotations

import re
import sys

import pytest
from instructor_onnx_export.progress import stages


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_has_bars_and_a_log_a_line_a_stage(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    stage = stages(True)
    for title in ("Reading", "Writing int8"):
        with stage(title, 3, "row") as bar:
            for _ in range(3):
                bar.update()
    said = capsys.readouterr().err
    assert ("\r" in said) == terminal
    ended = re.findall(r"^(\w[\w ]*?) +\d+\.\d s$", said.replace("\r", "\n"), re.MULTILINE)
    assert ended == ["Reading", "Writing int8"]


def test_nothing_is_said_where_nothing_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with stages(False)("Reading") as bar:
        bar.update()
    assert capsys.readouterr().err == ""

"""The serving benchmark: a short run of it, without the rival, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from instructor_onnx.loading import EMBEDDED

MINI = EMBEDDED["instructor-mini"]


@pytest.mark.slow
def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.serving import __main__ as serving

    out, readme = tmp_path / "serving.json", tmp_path / "README.md"
    readme.write_text("before\n<!-- serving:begin -->\nold\n<!-- serving:end -->\nafter\n")
    arguments = ["--rounds", "1", "--seconds", "0.2", "--out", str(out), "--readme", str(readme)]
    assert serving.main([str(MINI), *arguments]) == 0
    found = json.loads(out.read_text())
    assert found["lowest_cosine"] == {"serve, int8": pytest.approx(1, abs=1e-5)}
    assert set(found["figures"]) == {"encode(), int8", "serve, int8"}
    for by_clients in found["figures"].values():
        assert set(by_clients) == {"1", "8", "32"}
        assert all(at["requests_per_s"] > 0 and 0 < at["p50_ms"] <= at["p99_ms"] for at in by_clients.values())
    text = readme.read_text()
    assert text.startswith("before\n<!-- serving:begin -->\ninstructor-mini, one text a request")
    assert "| serve, int8 | " in text
    assert "old" not in text
    assert serving.main([str(out)]) == 0
    assert "| serve, int8 | " in capsys.readouterr().out


def test_an_error_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.serving import __main__ as serving

    assert serving.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("python -m benchmarks.serving: error: ")
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert serving.main([str(other)]) == 1
    assert "not a results file" in capsys.readouterr().err

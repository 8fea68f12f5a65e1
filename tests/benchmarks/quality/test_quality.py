"""The command, whole: a bundle and its checkpoint through every task, stopped, resumed, shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from instructor_onnx.engines import native

from benchmarks.common import PROJECT
from benchmarks.common.markdown import marks
from benchmarks.common.results import read
from benchmarks.quality import __main__ as quality
from benchmarks.quality import instructions, report
from benchmarks.quality.results import Results
from benchmarks.quality.tasks import TASKS

BEGIN, END = marks("quality")


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.quality.tasks.CLUSTER_RUNS", 2)


@pytest.fixture(scope="module")
def judged(
    bundle: Path, base_checkpoint: Path, eval_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A finished run: its results file, and the arguments that made it."""
    folder = tmp_path_factory.mktemp("judged")
    out = folder / "results" / "quality-x.json"
    arguments = [str(bundle), "--checkpoint", str(base_checkpoint), "--data", str(eval_data), "--threads", "1"]
    arguments += ["--cache", str(folder / "cache"), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.quality.tasks.CLUSTER_RUNS", 2)
        assert quality.main(arguments) == 0
    return out, arguments


def test_everything_is_in_the_file(judged: tuple[Path, list[str]]) -> None:
    out, _ = judged
    found = json.loads(out.read_text())
    subject, parts = found["subject"], found["parts"]
    kinds = ["", " native"] if native.is_verified() else [""]
    assert subject["columns"] == ["torch", *(name + kind for name in ("fp32", "int8", "int4") for kind in kinds)]
    assert subject["reference"] == "fp32"
    assert subject["limit"] is None
    assert {"onnxruntime", "scikit-learn", "torch"} <= set(subject["versions"])
    assert set(subject["machine"]) == {"cpu", "flags", "cores", "system", "python"}
    assert list(parts["tasks"]) == list(TASKS)
    for task in parts["tasks"].values():
        for key in task["metrics"]:
            assert task["scores"]["fp32"][key] == pytest.approx(task["scores"]["torch"][key], abs=1e-4)
    assert parts["agreement"]["fp32"]["torch"]["min"] > 0.999999
    to_fp32 = parts["agreement"]["int8"]["fp32"]
    assert 0.99 < to_fp32["min"] <= to_fp32["p1"] <= to_fp32["mean"] < 1
    assert to_fp32["texts"] == sum(part["texts"] for part in to_fp32["by_text"].values())
    assert set(parts["instructions"]) == {"scifact", "xquad", "neighbours"}
    assert parts["instructions"]["xquad"]["with"] == parts["tasks"]["xquad"]["scores"]["fp32"]["ndcg_at_10"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert str(out.parents[1]) not in out.read_text()  # no path of this machine


def test_a_second_run_computes_nothing(
    judged: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, arguments = judged
    before = out.read_text()
    for name in ("BundleEmbedder", "Column"):
        method = "encode" if name == "BundleEmbedder" else "vectors"
        monkeypatch.setattr(f"benchmarks.quality.embedders.{name}.{method}", _forbidden)
    assert quality.main(arguments) == 0
    assert out.read_text() == before
    assert "| STS-B test | Spearman |" in capsys.readouterr().out


def test_a_stopped_run_keeps_finished_tasks_and_the_old_file(
    judged: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, arguments = judged
    before = json.loads(out.read_text())
    limited = [*arguments, "--limit", "4", "--tasks", "stsb,xquad"]
    with monkeypatch.context() as patch:
        patch.setitem(TASKS, "xquad", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            quality.main(limited)
    assert json.loads(out.read_text()) == before
    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", _forbidden_for("tasks", "stsb", Results.add))
        assert quality.main(limited) == 0
    after = json.loads(out.read_text())
    assert list(after["parts"]["tasks"]) == ["stsb", "xquad"]
    assert after["subject"]["limit"] == 4
    # and the whole again, from vectors on disk alone
    monkeypatch.setattr("benchmarks.quality.embedders.BundleEmbedder.encode", _forbidden)
    assert quality.main(arguments) == 0
    assert json.loads(out.read_text())["parts"] == before["parts"]


def test_the_table_says_what_was_measured(judged: tuple[Path, list[str]]) -> None:
    found = read(judged[0], "parts")
    found["subject"]["columns"] = ["torch", "fp32", "int8"]  # of those that there are
    found["parts"]["tasks"]["stsb"]["scores"] = {
        "torch": {"spearman": 0.75},
        "fp32": {"spearman": 0.75},
        "int8": {"spearman": 0.74876},
    }
    text = report.tables(found)
    header = "| task | metric | torch | fp32 | int8 | fp32 − torch | int8 − fp32 |"
    assert header in text
    assert "| STS-B test | Spearman | 75.00 | 75.00 | 74.88 | 0.00 | −0.12 |" in text
    assert re.search(r"\| int8 \| fp32 \| \d+ \| 0\.99\d+ \| 0\.99\d+ \| 0\.99\d+ \|", text)
    assert "One SciFact query more or less is 50.00 points." in text
    assert re.search(r"The mean of 2 k-means runs has a standard error of \d\.\d\d points", text)
    assert "quick look" not in text
    found["subject"]["limit"] = 100
    assert "at most 100 texts" in report.tables(found)


def test_the_readme_block_is_rewritten(judged: tuple[Path, list[str]], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n")
    for _ in range(2):  # and again the same
        assert quality.main([str(judged[0]), "--readme", str(readme)]) == 0
        text = readme.read_text()
        assert text.startswith(f"# Title\n\n{BEGIN}\ninstructor-base, judged by `python -m benchmarks.quality` on ")
        assert text.endswith(f".png)\n{END}\n\nThe rest.\n")
        (link,) = re.findall(r"!\[.*\]\((.*)\)", text)
        assert (tmp_path / link).is_file()
        assert "old" not in text
        assert text.count("| task | metric |") == 2


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--variants", "fp16"], "--variants fp16: the bundle has fp32, int8"),
        (["--data", "nowhere"], "--data names the folder"),
        (["--instructions-of", "x/y", "--instructions", "nowhere.json"], "nowhere.json"),
    ],
)
def test_mistakes_are_named(
    extra: list[str], message: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(bundle), "--cache", str(tmp_path), "--out", str(tmp_path / "out.json"), "--tasks", "stsb"]
    assert quality.main([*arguments, *extra]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_task_is_named(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        quality.main([str(bundle), "--tasks", "stsb,nli"])
    assert "no such task: nli" in capsys.readouterr().err


def test_any_json_is_not_a_results_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text("[]")
    assert quality.main([str(path)]) == 1
    assert "not a results file" in capsys.readouterr().err


def test_it_runs_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.quality", "--help"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "--readme" in done.stdout


def test_published_instructions(tmp_path: Path) -> None:
    path = tmp_path / "mteb.json"
    published = {"STSBenchmark": "S: ", "SciFact": {"query": "Q: ", "corpus": "C: "}, "Other": "O: "}
    path.write_text(json.dumps({"x/y": published}))
    chosen = instructions.choose(instructions.read_published(path, "x/y"))
    assert chosen["stsb"] == {"text": "S: "}
    assert chosen["scifact"] == {"query": "Q: ", "document": "C: "}
    assert chosen["clinc150"] == instructions.DEFAULT["clinc150"]
    assert set(chosen) == set(TASKS)
    with pytest.raises(ValueError, match="only of x/y"):
        instructions.read_published(path, "x/z")
    path.write_text("[")
    with pytest.raises(ValueError, match="expected JSON"):
        instructions.read_published(path, "x/y")


def test_the_published_file_fits(shared: Path) -> None:
    for model in ("hkunlp/instructor-xl", "hkunlp/instructor-large", "hkunlp/instructor-base"):
        chosen = instructions.choose(instructions.read_published(shared / "mteb_instructions.json", model))
        assert "Scientific" in chosen["scifact"]["query"]
        assert "Wikipedia question" in chosen["xquad"]["query"]


def _forbidden(*_: Any) -> Any:
    raise AssertionError("this was done before")


def _interrupted(*_: Any) -> Any:
    raise KeyboardInterrupt


def _forbidden_for(section: str, name: str, original: Any) -> Any:
    def add(self: Results, of: str, part: str, measured: dict[str, Any]) -> None:
        assert (of, part) != (section, name), "this was done before"
        original(self, of, part, measured)

    return add

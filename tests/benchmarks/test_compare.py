"""The comparison, whole: rivals in processes of their own, checked, timed, resumed, shown; one that cannot load."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import instructor_onnx
import pytest
from instructor_onnx import Manifest
from instructor_onnx.engines import native
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import default_engine
from instructor_onnx.loading import EMBEDDED
from instructor_onnx.tokens import Tokenizer

from benchmarks.common import PROJECT, machine, texts
from benchmarks.common.journal import Journal
from benchmarks.compare import __main__ as compare
from benchmarks.compare import processes, report, work, worker
from benchmarks.compare.environments import interpreter
from benchmarks.compare.processes import Process, RivalFailed
from benchmarks.compare.rivals import MAIN, RIVALS, TORCH_FP32, Job, Rival, ours

MINI = EMBEDDED["instructor-mini"]
BROKEN = Rival("broken rival", "no_such_adapter", "", MAIN, ())
QUANTIZED = "onnxruntime quantize_dynamic int8, our graph"


@pytest.fixture(scope="module")
def compared(
    bundle: Path, base_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], Path]:
    """A finished run: its results file, its arguments, its cache."""
    folder = tmp_path_factory.mktemp("compared")
    out = folder / "results" / "bench-x.json"
    arguments = [str(bundle), "--checkpoint", str(base_checkpoint), "--threads", "1", "--rounds", "1"]
    arguments += ["--cold-rounds", "1", "--mixed-slices", "1", "--slice-rows", "20", "--out", str(out)]
    arguments += ["--cache", str(folder / "cache"), "--rivals", "instructor-onnx,quantize_dynamic int8,broken"]
    with pytest.MonkeyPatch.context() as patch:
        chosen = [rival for rival in RIVALS if rival.name in (TORCH_FP32, QUANTIZED)]
        patch.setattr(compare, "RIVALS", [*chosen, BROKEN])
        assert compare.main(arguments) == 0
    return out, arguments, folder / "cache"


def test_everything_is_in_the_file(compared: tuple[Path, list[str], Path]) -> None:
    found = json.loads(compared[0].read_text())
    rivals = found["rivals"]
    names = [f"instructor-onnx {variant}" for variant in ("fp32", "int8", "int4")]
    on_kernels = [
        kind
        for kind in ("fp32", "int8", "int4")
        if default_engine(kind.replace("fp32", "float32"), Device("cpu")) == "native"
    ]
    names += [f"instructor-onnx {kind}, native" for kind in on_kernels]
    names.append(QUANTIZED)
    assert list(rivals) == [TORCH_FP32, *names, BROKEN.name]
    assert "no_such_adapter" in rivals[BROKEN.name]["failed"]
    works = {"query 16", "query 32", "query 64", "(8, 64)", "(32, 128)", "(4, 512)", "mixed"}
    for name in (TORCH_FP32, *names):
        rival = rivals[name]
        assert set(rival["work"]) == works
        least = {"int8": 0.99, "int4": 0.9}  # random weights have none of a trained model's outliers
        assert rival["cosine"]["min"] > next((bound for kind, bound in least.items() if kind in name), 0.999999)
        assert rival["bytes"]["files"] > 0
        assert rival["bytes"]["installed"] > 1e6
        assert 0 < rival["memory"]["at_rest"] <= rival["memory"]["peak"]
        assert rival["cold_start"]["median"] > 0
        for item in rival["work"].values():
            assert 0 < item["seconds"]["p10"] <= item["seconds"]["median"] <= item["seconds"]["p90"]
            assert item["times_torch_fp32"] > 0
    assert all(item["times_torch_fp32"] == 1 for item in rivals[TORCH_FP32]["work"].values())
    assert rivals[TORCH_FP32]["settings"]["token_budget"] in (512, 1024, 4096)
    assert found["subject"]["tokens"]["(32, 128)"] == 4096
    assert found["subject"]["machine"] == machine.facts()
    assert set(found["limits"]) == {"isa", "int8", "fp32", "memory"}
    assert found["limits"]["fp32"] > 1e9
    assert found["limits"]["memory"] > 1e8
    if native.is_verified():
        assert found["limits"]["isa"] == native.instruction_set()
        assert found["limits"]["int8"] > 1e9


@pytest.mark.slow
def test_a_second_run_measures_nothing_again(
    compared: tuple[Path, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, arguments, cache = compared
    (path,) = cache.glob("*/journal.jsonl")
    before = [entry for entry in Journal.open(path).entries if entry["kind"] == "time"]
    with path.open("a") as journal:
        journal.write('{"kind": "time", "rival": "torch')  # as a kill leaves it
    monkeypatch.setattr(compare, "RIVALS", [rival for rival in RIVALS if rival.name == TORCH_FP32])
    assert compare.main([*arguments[:-1], "instructor-onnx int8", "--out", str(tmp_path / "again.json")]) == 0
    assert [entry for entry in Journal.open(path).entries if entry["kind"] == "time"] == before


def test_another_build_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructor_onnx, "__path__", [str(tmp_path)])
    kernels = tmp_path / "engines" / "_kernels.so"
    kernels.parent.mkdir()
    kernels.write_bytes(b"one")
    first = compare.own_build()
    assert compare.own_build() == first
    kernels.write_bytes(b"two")
    assert compare.own_build() != first


def test_the_tables_go_into_the_docs_and_a_short_one_into_a_readme(
    compared: tuple[Path, list[str], Path], tmp_path: Path
) -> None:
    found = json.loads(compared[0].read_text())
    found["rivals"][QUANTIZED]["cosine"]["min"] = 0.5
    found["subject"]["machine"]["cpu"] = "Some Processor"
    out = tmp_path / f"bench-{found['subject']['model']}-some.json"
    out.write_text(json.dumps(found))
    older = {key: value for key, value in found.items() if key != "limits"}  # before they were measured
    out.with_name(out.name.replace("some", "older")).write_text(json.dumps(older))
    readme, docs = tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    docs.parent.mkdir()
    for page in (readme, docs):
        page.write_text("# Title\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nThe rest.\n")
    paths = [str(path) for path in sorted(tmp_path.glob("bench-*.json"))]
    assert compare.main([*paths, "--readme", str(readme), "--docs", str(docs)]) == 0
    short, full = readme.read_text(), docs.read_text()
    for text in (short, full):
        assert "\nold\n" not in text
        assert text.endswith("The rest.\n")
        assert "Some Processor" in text
    assert "instructor-base, some: 32 tokens, ms | " in short
    assert "instructor-base, older: mixed, ktok/s | " in short
    assert QUANTIZED not in short  # fast, and wrong
    assert "](short-instructor-base-some.png)" in short
    assert (tmp_path / "short-instructor-base-some.png").read_bytes().startswith(b"\x89PNG")
    assert "#### instructor-base, some\n" in full
    assert "| **instructor-onnx int8** |" in full
    assert "**wrong: " in full
    assert f"- {BROKEN.name}: " in full
    assert full.count("Limits of this machine: not measured.") == 1
    assert full.count("Limits of this machine, measured in the same run: ") == 1
    assert "](../bench-instructor-base-some.png)" in full
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_best_rival_is_the_fastest_that_is_right(tmp_path: Path) -> None:
    def rival(speed: float, cosine: float) -> dict[str, Any]:
        work = {
            "seconds": {"median": 32 / speed},
            "tokens_per_second": {"median": speed},
            "times_torch_fp32": speed / 100,
        }
        return {"work": {"query 32": work, "mixed": work}, "cosine": {"min": cosine}}

    rivals = {
        TORCH_FP32: rival(100, 1),
        "instructor-onnx int8, native": rival(900, 1),
        "slow": rival(200, 1),
        "best": rival(300, 0.99),
        "wrong": rival(1000, 0.3),
        "absent": {"failed": "not installed"},
    }
    subject = {"model": "m", "threads": 2, "machine": {"cpu": "Some Processor", "flags": ["avx2"]}}
    text = report.overview([report.Shown(tmp_path / "bench-m-x.json", {"subject": subject, "rivals": rivals})])
    assert text.splitlines() == [
        "|  | torch fp32 | instructor-onnx int8, native | best rival |",
        "| --- | --: | --: | --: |",
        "| m, x: 32 tokens, ms | 320 (1.00×) | 35.6 (9.00×) | 107 (3.00×) best |",
        "| m, x: mixed, ktok/s | 0.1 (1.00×) | 0.9 (9.00×) | 0.3 (3.00×) best |",
        "",
        "Here x is Some Processor (avx2), 2 threads.",
    ]


def test_another_processors_file_is_refused_before_anything_runs(
    bundle: Path, base_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    there = json.dumps({"subject": {"machine": {"cpu": "Another", "flags": []}}})
    out.write_text(there)
    arguments = [str(bundle), "--checkpoint", str(base_checkpoint), "--out", str(out)]
    assert compare.main([*arguments, "--cache", str(tmp_path / "cache")]) == 1
    assert "holds figures of another processor" in capsys.readouterr().err
    assert out.read_text() == there
    assert not (tmp_path / "cache").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "quality.json"
    path.write_text("{}")
    assert compare.main([str(path)]) == 1
    assert "not a results file of this program" in capsys.readouterr().err


def test_a_bundle_needs_its_checkpoint_and_fp32(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(bundle)]) == 1
    assert "--checkpoint" in capsys.readouterr().err
    assert compare.main([str(MINI), "--checkpoint", str(bundle)]) == 1
    assert "no fp32 variant" in capsys.readouterr().err


def test_the_work_has_exact_lengths_and_like_slices(bundle: Path) -> None:
    model = Manifest.read(bundle).model
    tokenizer = Tokenizer.load(bundle / "tokenizer.json", vocab_size=model.vocab_size, eos_token_id=model.eos_token_id)
    items = work.all_work(tokenizer, slice_rows=200)
    slices = [item for item in items if item.kind == "mixed"]
    assert len(slices) == 10
    assert sum(len(item.rows) for item in slices) == texts.MIXED_ROWS
    tokens = [item.tokens for item in slices]
    assert max(tokens) - min(tokens) < 0.05 * max(tokens)
    lengths = texts.mixed_lengths()
    assert min(lengths) == 8
    assert max(lengths) == 512
    assert 57 <= sorted(lengths)[len(lengths) // 2] <= 63


def test_a_process_that_dies_says_why(bundle: Path, base_checkpoint: Path, tmp_path: Path) -> None:
    assert "query 16" in last_words(bundle, base_checkpoint, tmp_path)


def test_why_a_process_died_names_no_path_of_this_machine(base_checkpoint: Path, tmp_path: Path) -> None:
    said = last_words(tmp_path / "no-such-bundle", base_checkpoint, tmp_path)
    assert "no-such-bundle" in said
    assert str(tmp_path) not in said


def last_words(bundle: Path, checkpoint: Path, folder: Path) -> str:
    """What a rival says that dies before its first vector, of its bundle or of its work."""
    (rival,) = ours([("int8", "onnxruntime")])
    job = Job(bundle, checkpoint, folder, rival.option, rival.engine, threads=1)
    empty = folder / "work.json"
    empty.write_text("{}")  # lacks the work that a cold start ends with
    process = Process(rival, job, Path(sys.executable), empty)
    try:
        with pytest.raises(RivalFailed) as failed:
            process.wait()
    finally:
        process.close()
    assert process._process.poll() is not None
    return str(failed.value)


def test_the_installed_size_counts_what_is_required() -> None:
    found = worker.closure(["instructor-onnx"])
    assert {"instructor-onnx", "numpy", "tokenizers"} <= set(found)
    assert "torch" not in found  # an extra's
    assert worker.installed(["tokenizers"]) > 1e6


def test_our_own_installed_size_is_the_sources_and_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    distribution = metadata.distribution("instructor-onnx")
    monkeypatch.setattr(worker, "closure", lambda packages: {"instructor-onnx": distribution})
    folder = Path(instructor_onnx.__file__).parent
    kernels = {str(file): Path(str(file.locate())) for file in distribution.files or [] if "_kernels." in file.name}
    sources = {path.relative_to(folder.parent).as_posix(): path for path in folder.rglob("*") if path.suffix != ".pyc"}
    least = sum(path.stat().st_size for path in (kernels | sources).values() if path.is_file())
    assert least <= worker.installed(["instructor-onnx"]) < 1.5 * least


def test_the_environment_of_a_rival_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("PYTHONHOME", "elsewhere")
    environment: dict[str, Any] = dict(processes._environment(2))
    assert environment["OMP_NUM_THREADS"] == "2"
    assert "PYTHONHOME" not in environment


def test_tables_need_nothing_but_results() -> None:
    assert report.tables([]) == report.TIMED


def test_another_version_is_a_rival_with_a_runtime_of_its_own(tmp_path: Path) -> None:
    python = tmp_path / "bin/python"
    runs = [("fp32", "onnxruntime"), ("int8", "native")]
    rivals = ours(runs, before=python)
    assert [rival.name for rival in rivals] == [
        *(rival.name for rival in ours(runs)),
        "instructor-onnx int8, native, before",
    ]
    assert interpreter(rivals[-1].environment, tmp_path) == python
    runtime = str(PROJECT / "runtime")
    assert runtime in processes._environment(1)["PYTHONPATH"]
    assert runtime not in processes._environment(1, own_runtime=False)["PYTHONPATH"]

"""The GPU benchmark's own parts: its texts, checkpoints and tables, and that it goes on where it stopped."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.half import fitted_shifts

from benchmarks.common import PROJECT
from benchmarks.common.markdown import marks, rewrite_block
from benchmarks.cuda import __main__ as cuda
from benchmarks.cuda import report, work


def test_texts_have_the_lengths_they_should() -> None:
    writer = work.Writer()
    texts = writer.texts([8, 32, 512])
    assert texts.tokens.lengths.tolist() == [8, 32, 512]
    mixed = writer.mixed(400).tokens.lengths
    assert (mixed.min(), mixed.max() <= 512) == (8, True)
    assert 50 < np.median(mixed) < 70


@pytest.mark.parametrize("outliers", [0.0, 300.0])
def test_a_made_checkpoint_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outliers: float) -> None:
    monkeypatch.setitem(work.SHAPES, "base", work.Shape(64, 16, 4, 3, 128, outliers))
    source = read_checkpoint(work.make_checkpoint("base", tmp_path / "ck"))
    assert (source.config.d_model, source.config.num_layers, source.config.vocab_size) == (64, 3, 32128)
    largest = max(
        float(source.weights[f"encoder.block.{i}.layer.1.DenseReluDense.wo.weight"].abs().max()) for i in (1, 2)
    )
    assert (largest > 30) == bool(outliers)
    before = (tmp_path / "ck/model.safetensors").stat().st_mtime_ns
    work.make_checkpoint("base", tmp_path / "ck")
    assert (tmp_path / "ck/model.safetensors").stat().st_mtime_ns == before
    assert fitted_shifts(source.config, source.weights).weights


def test_operations_of_base_are_two_a_weight_and_token() -> None:
    source = read_checkpoint(work.MINI)
    tokens = work.Writer().texts([10]).tokens
    weights = sum(
        tensor.numel() for name, tensor in source.weights.items() if "block" in name and name.count(".") > 5
        and "norm" not in name and "bias" not in name
    )  # fmt: skip
    inner = source.config.num_heads * source.config.d_kv
    expected = 2 * weights * 10 + source.config.num_layers * 4 * inner * 100
    assert work.operations(source.config, tokens) == expected


ROUND = {
    "latency_ms": 1.0,
    "latency_launched_ms": 2.5,
    "mixed": {"texts_per_s": 3000.0, "tokens_per_s": 240000.0, "tflops": 40.0, "padded_tokens": 16384},
    "long": {"texts_per_s": 400.0, "tokens_per_s": 204800.0, "tflops": 35.0, "padded_tokens": 16384},
    "first_pass_s": 4.0,
    "memory_gb": 1.5,
    "cosine": {"mean": 0.99999, "min": 0.9999},
}


def results(rivals: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "smoke": False,
        "gpu": {"name": "NVIDIA X", "onnxruntime": "1", "torch": "2", "transformers": "5"},
        "tests": {"passed": True, "summary": "33 passed"},
        "peak_tflops": {"fp16": 70.0},
        "shapes": {"base": {"export": {}, "rivals": rivals}},
    }


def test_tables_give_medians_ratios_and_reasons() -> None:
    slower = ROUND | {"latency_ms": 3.0, "mixed": {**ROUND["mixed"], "texts_per_s": 1000.0}}  # type: ignore[dict-item]
    text = report.tables(
        results(
            {
                "onnx fp16 mha": [ROUND, ROUND | {"latency_ms": 2.0}],
                "torch fp16": [slower | {"cosine": None}],
                "sentence-transformers fp16": [{"error": "No module named 'sentence_transformers'"}],
                "onnx bf16 mha": [slower],
                "onnx fp16 attention-lengths": [{"error": "no kernel"}],
            }
        )
    )
    assert "**base**: 3.00 times the best torch figure on mixed texts, 2.00 times as fast on one text" in text
    assert "| instructor-onnx | fp16 | 1.50 | 2.50 | 3,000 | 240 | 400 | 50 % | 4.00 | 1.50 | 2 |" in text
    assert "| sentence-transformers | fp16 | not measured: No module named 'sentence_transformers' |" in text
    assert "| attention-lengths | fp16 | not measured: no kernel |" in text
    assert "| base | torch, SDPA | fp16 | not finite |  |" in text
    assert "Tests on it: 33 passed" in text
    assert "smoke test" not in text
    assert report.tables(results({}) | {"smoke": True}).startswith("**A smoke test on a CPU")


def test_the_page_has_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text((PROJECT / "docs/benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")
    rewrite_block(page, "tables", "cuda")
    assert "\ntables\n".join(marks("cuda")) in page.read_text(encoding="utf-8")


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that were done are not done again; a rival that failed or hung is told of, and not tried again."""
    ran: list[str] = []

    def process(arguments: list[str], limit: float) -> subprocess.CompletedProcess[str]:
        module = arguments[1]
        if module == "benchmarks.cuda.rivals":
            step = json.loads(arguments[2])
            ran.append(f"{step['kind']} {step['precision']}")
            if step["kind"] == "compile":
                raise subprocess.TimeoutExpired("python", limit)
            if step["kind"] == "encode":
                return subprocess.CompletedProcess(arguments, 1, "", "Traceback\nValueError: no")
            name = f"{step['kind']} {step['precision']}" + (f" {step['way']}" if step["kind"] == "onnx" else "")
            (Path(step["folder"]) / f"{name}.json").write_text(json.dumps(ROUND))
            rows = 4 if name == "torch bf16" else 3  # of other texts: no vectors that could be compared
            np.save(Path(step["folder"]) / f"{name}.npy", np.eye(rows, dtype=np.float32))
        if module == "instructor_onnx":
            (tmp_path / "work/mini/bundle").mkdir()
            manifest = {"variants": {"fp16": {"verification": None}}}
            (tmp_path / "work/mini/bundle/manifest.json").write_text(json.dumps(manifest))
        return subprocess.CompletedProcess(arguments, 0, '{"fp16": 1.0}', "")

    monkeypatch.setattr(cuda, "process", process)
    options = argparse.Namespace(
        device="cpu", shapes=["mini"], rounds=1, minutes=0.0, work=tmp_path / "work", out=tmp_path, restart=False
    )
    assert not cuda.Bench(options).run()
    assert ran == []
    options.minutes = 100.0
    assert cuda.Bench(options).run()
    expected = [f"{kind} {precision}" for kind, precision in cuda.RIVALS]
    assert ran == [*expected, "onnx fp16"]
    found = json.loads((tmp_path / "cuda-smoke-test-on-a-cpu.json").read_text())["shapes"]["mini"]["rivals"]
    assert found["compile fp16"] == [{"error": "took longer than 280 s"}]
    assert found["encode fp16"] == [{"error": "ValueError: no"}]
    assert found["torch bf16"][0]["error"].startswith("ValueError")
    assert found["onnx fp16 mha"][0]["cosine"] == {"mean": 1.0, "min": 1.0}
    del ran[:]
    assert cuda.Bench(options).run()
    assert ran == []
    options.rounds = 2
    assert cuda.Bench(options).run()
    assert ran == [name for name in expected if not name.startswith(("compile", "encode", "torch bf16"))]

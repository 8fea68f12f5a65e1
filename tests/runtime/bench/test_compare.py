"""Two runs beside each other: ratios, and everything that is unlike."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from instructor_onnx import cli
from instructor_onnx.bench import compare, results
from instructor_onnx.bench.results import Latency, Load, Setting

from tests.runtime.bench.figures import MACHINE, SPEED, measured
from tests.runtime.bench.figures import results as found

FASTER = measured(
    latency=(Latency(16, 5.0, 5.5, 6.0, 5, 0.0), Latency(64, 40.0, 41.0, 42.0, 5, 0.0)),
    threads=(Setting(2, 3 * SPEED, 0.0),),
    resident_bytes=150_000_000,
)


def cells(text: str, row: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(row)]
    return re.split(r"\s{2,}", line)[1:]


def test_ratios_say_what_they_are_of() -> None:
    said = compare.text(compare.compare(found(), found(FASTER)))
    assert cells(said, "one row of 16 tokens, median ms") == ["10", "5", "2.00× as fast"]
    assert cells(said, "threads, mixed lengths: 2, tokens/s") == ["1,000", "3,000", "3.00× as fast"]
    assert cells(said, "memory after the first vector, MB") == ["100", "150", "1.50× as much"]
    assert cells(said, "int8 native  2") == ["2.00× as fast", "3.00× as fast", "1.00× as fast", "1.50× as much"]


def test_only_what_both_have_is_compared() -> None:
    said = compare.text(compare.compare(found(), found(FASTER)))
    assert "of 32 tokens" not in said
    assert "of 64 tokens" not in said
    assert "mixed lengths: 1, " not in said


def test_two_runs_of_the_same_are_not_called_unlike() -> None:
    said = compare.unlike(compare.compare(found(), found()))
    assert all(
        line.startswith(("A: The machine was quiet", "B: The machine was quiet", "Differences")) for line in said
    )


def test_other_models_machines_and_versions_are_named() -> None:
    elsewhere = replace(MACHINE, processor="another", threads=8, python="3.12.1")
    two = found(
        measured(fingerprint="f" * 16, description="native neon"),
        measured(variant="fp32"),
        machine=elsewhere,
        instructor_onnx="0.2.0",
        load=Load(1.0, 1.5, 0.0, 2.0),
    )
    said = "\n".join(compare.unlike(compare.compare(found(), two)))
    assert "One name, instructor-base, but different weights, tokenizer or arithmetic: int8 native." in said
    assert "Different processors, a processor and another: the ratios are of machines, too." in said
    assert "Different threads: 2 and 8." in said
    assert "Different versions of instructor-onnx: 0.1.0 and 0.2.0." in said
    assert "Different engines: native avx2 and native neon." in said
    assert "Only in B: fp32 native." in said
    assert "B: The machine was busy" in said
    other = compare.unlike(compare.compare(found(), found(model="instructor-large")))
    assert "Different models, instructor-base and instructor-large: the ratios are of models, too." in other


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A has int8 native; B has int8 onnxruntime"):
        compare.compare(found(), found(measured(engine="onnxruntime")))


def test_the_command_prints_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, out = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "out.html"
    results.write(found(), one)
    results.write(found(FASTER), two)
    assert cli.main(["bench", "--compare", str(one), str(two), "--report", str(out)]) == 0
    assert "2.00× as fast" in capsys.readouterr().out
    assert "2.00× as fast" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected either BUNDLE, to measure it, or --compare A B"),
        (["instructor-mini", "--compare", "a.json", "b.json"], "expected either BUNDLE"),
        (["--compare", "a.json", "b.json", "--json", "c.json"], "--json: writes what was measured"),
        (["--compare", "nowhere/a.json", "b.json"], "nowhere/a.json: cannot be read"),
        (["--compare", "a.json", "b.json", "--report", "nowhere/out.html"], "there is no folder nowhere"),
        (["instructor-mini", "--plots", "nowhere/plots"], "there is no folder nowhere"),
    ],
)
def test_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert cli.main(["bench", *arguments]) == 1
    assert said in capsys.readouterr().err

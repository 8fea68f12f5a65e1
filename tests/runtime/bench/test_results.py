"""The file of `bench --json`: what is written is read back, and a stranger's damage is told in a sentence."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from instructor_onnx import cli
from instructor_onnx.bench import results
from instructor_onnx.bench.results import Results
from instructor_onnx.fields import FieldError

from tests.runtime.bench.figures import measured
from tests.runtime.bench.figures import results as found


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "figures.json"
    results.write(found(measured(), measured(engine="onnxruntime", memory=(), resident_bytes=None)), path)
    return path


def change(path: Path, place: list[str | int], value: Any) -> None:
    data = json.loads(path.read_text())
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(data))


def test_what_is_written_is_read_back(written: Path) -> None:
    assert results.read(written) == found(measured(), measured(engine="onnxruntime", memory=(), resident_bytes=None))


def test_a_later_versions_fields_are_ignored(written: Path) -> None:
    change(written, ["variants", 0, "watts"], 3)
    assert results.read(written).variants[0].name == "int8 native"


def test_the_schema_is_what_it_was() -> None:
    """Whoever changes a field counts SCHEMA up, or adds one with a default and its name here."""
    names = {
        kind.__name__: [field.name for field in dataclasses.fields(kind)]
        for kind in (Results, results.Measured, results.Machine, results.Latency, results.Setting, results.Load)
    }
    assert (results.SCHEMA, names) == (
        1,
        {
            "Results": [
                *("schema", "instructor_onnx", "measured_at", "seconds", "model", "machine", "load", "variants"),
                "left_out",
            ],
            "Measured": [
                *("variant", "engine", "description", "fingerprint", "weight_type", "weight_bytes", "flop_per_token"),
                *("cold_start", "resident_bytes", "peak_bytes", "latency", "batches", "batch_tokens", "budgets"),
                *("default_budget", "threads", "stages", "memory"),
            ],
            "Machine": [
                *("processor", "system", "python", "threads", "logical_cpus", "instruction_sets", "memory_bytes"),
                *("copy_bytes_per_second", "peaks"),
            ],
            "Latency": ["tokens", "p50_ms", "p90_ms", "p99_ms", "calls", "other_cores"],
            "Setting": ["value", "tokens_per_second", "other_cores"],
            "Load": ["other_cores", "most_other_cores", "stolen_cores", "load_average"],
        },
    )


def test_every_field_is_documented() -> None:
    documented = (Path(__file__).parents[3] / "docs/benchmarks.md").read_text(encoding="utf-8")

    def names(kind: Any) -> set[str]:
        inner = [each for hint in get_type_hints(kind).values() for each in (hint, *get_args(hint))]
        return {field.name for field in dataclasses.fields(kind)}.union(
            *(names(each) for each in inner if dataclasses.is_dataclass(each))
        )

    assert len(names(Results)) > 40
    assert [name for name in sorted(names(Results)) if f"`{name}`" not in documented] == []


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["schema"], 2, "schema is 2, this instructor-onnx reads 1"),
        (["schema"], None, "schema is None"),
        (["model"], "a\nb", "model: expected at most 1,000 printable characters"),
        (["model"], "x" * 2000, "model: expected at most 1,000 printable"),
        (["variants"], [], "variants: expected 1 to 40, found 0"),
        (["variants"], {}, "variants: expected a list, found dict"),
        (["variants", 0], 3, "variants[0]: expected an object, found int"),
        (["variants", 1, "engine"], "native", "int8 native, int8 native is there twice"),
        (["variants", 0, "latency"], [], "variants[0]: latency: expected 1 to 1,000 entries, found 0"),
        (
            ["variants", 0, "memory"],
            [{"seconds": 0, "resident_bytes": 1}] * 1001,
            "memory: expected 0 to 1,000 entries",
        ),
        (["variants", 0, "latency", 0, "p50_ms"], 0, "p50_ms: expected a number from 1e-09 to 1e+21, found 0"),
        (["variants", 0, "latency", 0, "p50_ms"], -1.5, "p50_ms: expected a number from"),
        (["variants", 0, "latency", 0, "p50_ms"], "1", "p50_ms: expected float, found '1'"),
        (["variants", 0, "latency", 0, "p50_ms"], True, "p50_ms: expected float, found True"),
        (["variants", 0, "latency", 0, "p50_ms"], 10**400, "p50_ms: expected a finite number"),
        (["variants", 0, "latency", 0, "tokens"], 0, "tokens: expected a whole number from 1"),
        (["variants", 0, "threads", 0, "other_cores"], -1, "other_cores: expected a number from 0"),
        (["machine", "peaks", 0, "operations_per_second"], 1e300, "operations_per_second: expected a number from"),
        (["left_out"], [{"what": "x", "why": "y"}] * 2000, "lists of at most 1,000"),
    ],
)
def test_damage_is_told(written: Path, place: list[str | int], value: Any, said: str) -> None:
    change(written, place, value)
    with pytest.raises(FieldError, match=re.escape(said)) as error:
        results.read(written)
    assert str(error.value).startswith(str(written))
    assert "Expected what `instructor-onnx bench BUNDLE --json` writes" in str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"schema": NaN}', "NaN is no number of JSON"),
        (b"[]", "schema is None"),
        (b"{}" + b" " * results.MOST_FILE, "a file of figures has at most 4,194,304"),
        (b'{"schema": 1}', "'instructor_onnx' is missing"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, said: str
) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(data)
    assert cli.main(["bench", "--compare", str(path), str(path)]) == 1
    assert said in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"nothing\.json: cannot be read \(No such file"):
        results.read(tmp_path / "nothing.json")

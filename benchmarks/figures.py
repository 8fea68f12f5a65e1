"""Our own speed, figure by figure: a pytest-benchmark suite, which the normal test run does not collect.

    python -m pytest benchmarks/figures.py                                            # of the embedded model
    python -m pytest benchmarks/figures.py --bundle my-bundle --checkpoint my-checkpoint
    python -m pytest benchmarks/figures.py --benchmark-autosave --benchmark-compare   # against the run before

Needs the extra `dev`. The export is timed where there is a checkpoint.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.tokens import Tokenizer
from instructor_onnx_export import export
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.common.engines import cpu_variants
from benchmarks.common.texts import INSTRUCTION, Writer, mixed_lengths
from benchmarks.compare.work import QUERIES, SHAPES

MIXED = mixed_lengths()[:200]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `variant` runs once for each that the bundle has for CPUs."""
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", cpu_variants(Manifest.read(metafunc.config.getoption("--bundle"))))


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--bundle"))


@pytest.fixture(scope="session")
def tokenizer(bundle: Path) -> Tokenizer:
    model = Manifest.read(bundle).model
    return Tokenizer.load(bundle / "tokenizer.json", vocab_size=model.vocab_size, eos_token_id=model.eos_token_id)


@pytest.fixture(scope="session")
def writer(tokenizer: Tokenizer) -> Writer:
    return Writer(tokenizer)


@cache
def loaded(bundle: Path, variant: str) -> INSTRUCTOR:
    """One model a variant, for all tests."""
    return INSTRUCTOR(bundle, variant=variant, device="cpu")


@pytest.mark.parametrize("tokens", QUERIES)
def test_query(benchmark: BenchmarkFixture, bundle: Path, writer: Writer, variant: str, tokens: int) -> None:
    rows = writer.rows([tokens])
    vectors = benchmark(loaded(bundle, variant).encode, rows)
    assert vectors.shape[0] == 1


@pytest.mark.parametrize(("count", "tokens"), SHAPES)
def test_batch(
    benchmark: BenchmarkFixture, bundle: Path, writer: Writer, variant: str, count: int, tokens: int
) -> None:
    benchmark.extra_info["tokens"] = count * tokens
    vectors = benchmark(loaded(bundle, variant).encode, writer.rows([tokens] * count))
    assert vectors.shape[0] == count


def test_mixed_lengths(benchmark: BenchmarkFixture, bundle: Path, writer: Writer, variant: str) -> None:
    benchmark.extra_info["tokens"] = sum(MIXED)
    vectors = benchmark(loaded(bundle, variant).encode, writer.rows(MIXED))
    assert vectors.shape[0] == len(MIXED)


def test_tokenizing_alone(benchmark: BenchmarkFixture, tokenizer: Tokenizer, writer: Writer) -> None:
    tokens = benchmark(tokenizer, writer.rows(MIXED), 512)
    assert len(tokens.lengths) == len(MIXED)


def test_cold_start(benchmark: BenchmarkFixture, bundle: Path, variant: str) -> None:
    """A new process, from its start to its first vector."""
    row = (INSTRUCTION, "the river")
    code = f"import instructor_onnx as i; i.INSTRUCTOR({str(bundle)!r}, variant={variant!r}).encode([{row!r}])"
    benchmark.pedantic(subprocess.run, ([sys.executable, "-c", code],), {"check": True}, rounds=5)


def test_export(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A checkpoint to a verified bundle, fp32 and int8."""
    checkpoint = request.config.getoption("--checkpoint")
    out = tmp_path / "bundle"
    benchmark.pedantic(export, (checkpoint, out), {"overwrite": True, "show_progress": False}, rounds=1)
    assert set(Manifest.read(out).variants) == {"fp32", "int8"}

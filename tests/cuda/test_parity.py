"""Every variant on a GPU against the torch oracle, through the runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.cli import main
from instructor_onnx.engines.cuda import CudaSession
from instructor_onnx_export import export, verify_bundle
from instructor_onnx_export.checkpoint.read import read_checkpoint
from instructor_onnx_export.graph.half import Half
from instructor_onnx_export.graph.t5 import write_graph
from instructor_onnx_export.oracle import Oracle
from instructor_onnx_export.verify import ask_oracle, cosines, probe_rows

from tests.checkpoints import make_checkpoint
from tests.conftest import FAMILY

VARIANTS = ["fp32", "fp16", "bf16"]
NEAREST = {"fp32": 0.999999, "fp16": 0.9995, "bf16": 0.9995}
ROWS = probe_rows(512)
MINI = Path(__file__).resolve().parents[2] / "checkpoints/instructor-mini"


@pytest.fixture(scope="module", params=["mini", "base", "xl", "gated"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint, and a small one of each kind that is written differently."""
    if request.param == "mini":
        return MINI
    return make_checkpoint(tmp_path_factory.mktemp("cuda") / request.param, **FAMILY[request.param])


@pytest.fixture(scope="module")
def cuda_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda") / "bundle"
    export(checkpoint, folder, variants=VARIANTS, show_progress=False)
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_vectors_are_the_oracles(cuda_bundle: Path, checkpoint: Path, variant: str) -> None:
    expected = ask_oracle(Oracle(read_checkpoint(checkpoint)), ROWS)
    model = INSTRUCTOR(cuda_bundle, variant=variant, device="cuda")
    assert isinstance(model._engine, CudaSession)
    details = model.encode(ROWS, output_value=None)
    vectors = np.stack([detail["sentence_embedding"] for detail in details])
    assert cosines(vectors, expected.vectors).min() >= NEAREST[variant]
    alone = np.stack([model.encode([row])[0] for row in ROWS[::4]])
    assert cosines(alone, expected.vectors[::4]).min() >= NEAREST[variant]
    for detail, tokens in zip(details, expected.tokens, strict=True):
        assert detail["token_embeddings"].shape == tokens.shape
    if variant == "fp32":
        scale = max(1.0, float(np.abs(expected.vectors).max()))
        assert np.abs(vectors - expected.vectors).max() <= 1e-5 * scale


def test_export_verified_the_half_variants_here(cuda_bundle: Path, checkpoint: Path) -> None:
    manifest = Manifest.read(cuda_bundle)
    for variant in ("fp16", "bf16"):
        found = manifest.variants[variant].verification["onnxruntime"]
        assert found.device == "cuda:0"
        assert found.cosine_min >= NEAREST[variant]
    assert INSTRUCTOR(cuda_bundle).variant == "fp16"
    assert set(verify_bundle(cuda_bundle, checkpoint, show_progress=False)) == set(VARIANTS)
    assert main(["check", str(cuda_bundle)]) == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensors_stay_on_the_gpu(cuda_bundle: Path, variant: str) -> None:
    model = INSTRUCTOR(cuda_bundle, variant=variant, device="cuda")
    expected = model.encode(ROWS)
    stacked = model.encode(ROWS, convert_to_tensor=True)
    assert stacked.is_cuda
    model.encode(ROWS[::-1])  # writes over what onnxruntime lent
    assert cosines(stacked.cpu().numpy(), expected).min() >= 0.99999
    assert all(vector.is_cuda for vector in model.encode(ROWS, convert_to_numpy=False))


@pytest.mark.parametrize("variant", VARIANTS)
def test_replayed_runs_give_what_ordinary_ones_do(cuda_bundle: Path, variant: str) -> None:
    replaying = INSTRUCTOR(cuda_bundle, variant=variant, device="cuda")
    launching = INSTRUCTOR(cuda_bundle, variant=variant, device="cuda", cuda_graphs=False)
    assert isinstance(replaying._engine, CudaSession)
    assert isinstance(launching._engine, CudaSession)
    assert replaying._engine._graphs is not None
    assert launching._engine._graphs is None
    calls = [[row] for row in ROWS] + [ROWS[:3], ROWS[:9], ROWS]
    expected = [launching.encode(rows) for rows in calls]
    for _ in range(2):  # recorded, then replayed, and the long ones between them
        found = [replaying.encode(rows) for rows in calls]
        assert min(cosines(a, b).min() for a, b in zip(found, expected, strict=True)) >= 0.99999
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(replaying.encode, calls * 4))
    assert min(cosines(a, b).min() for a, b in zip(found, expected * 4, strict=True)) >= 0.99999
    tensors = [replaying.encode(rows, convert_to_tensor=True) for rows in calls]
    for tensor, vectors in zip(tensors, expected, strict=True):
        assert tensor.is_cuda
        assert cosines(tensor.cpu().numpy(), vectors).min() >= 0.99999
    assert replaying._engine._graphs is not None  # none failed


def test_memory_that_runs_short_is_halved(
    cuda_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """onnxruntime's own error, from a real arena with a limit."""
    from instructor_onnx.engines import devices

    rows = [["", "the sea " * 250]] * 256
    expected = INSTRUCTOR(cuda_bundle, variant="fp32", device="cuda").encode(rows[:1])
    weights = sum(file.bytes for file in Manifest.read(cuda_bundle).variants["fp32"].files)
    limit = {"gpu_mem_limit": str(2 * weights + (256 << 20))}
    monkeypatch.setattr(devices, "PROVIDER_OPTIONS", devices.PROVIDER_OPTIONS | limit)
    model = INSTRUCTOR(cuda_bundle, variant="fp32", device="cuda", token_budget=1 << 20)
    vectors = model.encode(rows, batch_size=len(rows))
    assert any("has no memory for" in record.getMessage() for record in caplog.records)
    assert cosines(vectors, np.repeat(expected, len(rows), axis=0)).min() >= 0.99999


def test_weights_that_overflow_naive_fp16(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "ck")
    export(checkpoint, tmp_path / "b", variants=["fp16"], show_progress=False)
    source = read_checkpoint(checkpoint)
    factors = {"wi.weight": 300.0, "wo.weight": 3000.0}
    weights = {
        name: tensor * next((factor for end, factor in factors.items() if name.endswith(end)), 1.0)
        for name, tensor in source.weights.items()
    }
    write_graph(tmp_path / "hot", source.config, weights, Half.fp16(source.config, weights))
    model = INSTRUCTOR(tmp_path / "b", variant="fp16", device="cuda")
    hot = CudaSession.open(tmp_path / "hot/model.onnx", model._engine.device)
    inputs = model.tokenize(ROWS[:8])
    (vectors,) = hot.run(["sentence_embedding"], *inputs.values())
    assert torch.isfinite(torch.from_numpy(vectors)).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

"""Devices, threads and control groups."""

from __future__ import annotations

import builtins
import dataclasses
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from instructor_onnx import BundleError, Manifest
from instructor_onnx.engines import devices, ort
from instructor_onnx.engines.ort import Device, Session, choose_device


def with_providers(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    """Make onnxruntime claim these execution providers, and the driver two GPUs."""
    fake = SimpleNamespace(get_available_providers=lambda: list(providers), __version__="0")
    monkeypatch.setattr(ort, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(devices, "visible_gpus", lambda: 2)


def test_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_providers(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert choose_device(None) == choose_device("cuda") == Device("cuda", 0)
    assert choose_device("cuda:1") == Device("cuda", 1)
    assert choose_device("cpu") == Device("cpu")
    assert str(choose_device("cuda")) == "cuda:0"


def test_cpu_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with_providers(monkeypatch, "CPUExecutionProvider")
    assert choose_device(None) == Device("cpu")


def test_cuda_asked_for_and_absent_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with_providers(monkeypatch, "CPUExecutionProvider")
    with pytest.raises(RuntimeError, match=r"CPU-only package.*pip install 'instructor-onnx\[gpu\]'"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "CPU", "cpu:0", ""])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected 'cpu', 'cuda' or 'cuda:N'"):
        choose_device(name)


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    real_import = builtins.__import__

    def refuse(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'")
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'instructor-onnx\[cpu\]'"):
        ort.import_onnxruntime()


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(RuntimeError, match=r"model.onnx: onnxruntime .* cannot open it"):
        ort.Session.open(tmp_path / "model.onnx", Device("cpu"))


IDS: Any = np.array([[5, 6, 1]])


def test_a_run_that_fails_names_the_file(bundle: Path) -> None:
    path = bundle / "fp32/model.onnx"
    opened = Session.open(path, Device("cpu"))
    for ids in (IDS + 10**6, IDS.astype(np.float32), IDS[0]):  # past the embedding table, of no type, of no shape
        with pytest.raises(RuntimeError, match=r"fp32/model\.onnx: onnxruntime failed on a run of 3 tokens: .*export"):
            opened.run(["sentence_embedding"], ids, ids, ids)
    assert opened.run(["sentence_embedding"], IDS, IDS * 0 + 1, IDS * 0 + 1)[0].shape == (1, 24)


@pytest.mark.parametrize("said", ["std::bad_alloc", "Failed to allocate memory for requested buffer of size 8"])
def test_a_run_without_memory_is_a_memory_error(bundle: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    opened = Session.open(bundle / "fp32/model.onnx", Device("cpu"))

    def fail(outputs: list[str], feeds: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(opened._model, "session", SimpleNamespace(run=fail))
    with pytest.raises(MemoryError, match=rf"model\.onnx: no memory for a run of 3 tokens\. .*batch_size.*{said}"):
        opened.run(["sentence_embedding"], IDS, IDS, IDS)


@pytest.mark.parametrize("name", ["embedding_dim", "d_model"])
def test_outputs_of_other_sizes_than_the_manifests(bundle: Path, name: str) -> None:
    changes: dict[str, Any] = {name: 7}
    sizes = dataclasses.replace(Manifest.read(bundle).model, **changes)
    opened = Session.open(bundle / "fp32/model.onnx", Device("cpu"), sizes=sizes)
    with pytest.raises(BundleError, match=r"_embedding.* is float32 .*, by the manifest float32 \(.*, 7\)\. Export"):
        opened.run(["sentence_embedding", "token_embeddings"], IDS, IDS, IDS)


@pytest.mark.parametrize("count", [0, 1025, 10**30])
def test_more_threads_than_there_can_be(bundle: Path, count: int) -> None:
    with pytest.raises(ValueError, match=rf"num_threads: found {count}, expected a whole number from 1 to 1024"):
        Session.open(bundle / "fp32/model.onnx", Device("cpu"), count)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_bounds_the_threads() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert ort.available_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def control_groups(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    root = tmp_path / "cgroup"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    return root, tmp_path / "membership"


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/docker/1\n", {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("3:memory:/\n", {}, math.inf),
    ],
    ids=["v2", "v2 unlimited", "v2 parent", "v2 half", "v1", "v1 unlimited", "none"],
)  # fmt: skip
def test_the_tightest_quota_binds(tmp_path: Path, membership: str, files: dict[str, str], quota: float) -> None:
    assert ort._cpu_quota(*control_groups(tmp_path, membership, files)) == quota


def test_no_control_groups(tmp_path: Path) -> None:
    assert ort._cpu_quota(tmp_path, tmp_path / "absent") == math.inf


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [
        (8, math.inf, (4, "cores of this machine, which has 8 logical CPUs")),
        (8, 4.0, (4, "cores of this machine, which has 8 logical CPUs")),
        (4, math.inf, (2, "cores of this process's affinity, 4 of 8 logical CPUs")),
        (8, 1.5, (2, "the container's CPU quota is 1.5, of 4 cores")),
        (4, 0.5, (1, "the container's CPU quota is 0.5, of 2 cores")),
    ],
)
def test_what_sets_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, allowed: int, quota: float, expected: tuple[int, str]
) -> None:
    """On four cores of two hyper-threads each."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    monkeypatch.setattr(ort, "_core_of", lambda cpu: str(cpu // 2))
    monkeypatch.setattr(ort, "_cpu_quota", lambda: quota)
    assert ort.cpus_and_why() == expected
    assert ort.available_cpus() == expected[0]


def test_half_a_cpu_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "_cpu_quota", lambda: 0.5)
    assert ort.available_cpus() == 1

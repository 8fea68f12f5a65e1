"""Devices, and sessions of onnxruntime on a CPU."""

from __future__ import annotations

import builtins
import dataclasses
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from instructor_onnx import BundleError, Manifest
from instructor_onnx.engines import devices, ort
from instructor_onnx.engines.devices import Device, choose_device
from instructor_onnx.engines.ort import Session
from instructor_onnx.extras import pip_install


def with_providers(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    """Make onnxruntime claim these execution providers, and the driver two GPUs."""
    fake = SimpleNamespace(get_available_providers=lambda: list(providers), __version__="0")
    monkeypatch.setattr(devices, "import_onnxruntime", lambda: fake)
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
    with pytest.raises(RuntimeError, match="CPU-only package.*" + re.escape(pip_install("gpu"))):
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
    with pytest.raises(ImportError, match=re.escape(pip_install("onnxruntime"))):
        devices.import_onnxruntime()


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

"""What an NVIDIA GPU needs before onnxruntime can use it, and what to say where it is not there.

Imports nothing heavy: the onnxruntime module is handed in by session.py, which alone imports it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

INSTALL = "pip uninstall -y onnxruntime onnxruntime-gpu; pip install 'instructor-onnx[gpu]'"
INSTALL_LIBRARIES = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
PROVIDER = "CUDAExecutionProvider"
# tf32 off: it is onnxruntime's default, and would leave an fp32 model three digits.
# Arena as requested: its default doubles, and the longest texts come first, so nothing is won by growing ahead.
PROVIDER_OPTIONS = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}


def missing(onnxruntime: Any, index: int) -> str | None:
    """Why GPU `index` cannot be had, with what to do about it; None: nothing is missing that shows before a start."""
    if PROVIDER not in onnxruntime.get_available_providers():
        if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
            reason = "onnxruntime and onnxruntime-gpu are both installed, and the CPU-only package hides the other"
        else:
            reason = "the installed onnxruntime is the CPU-only package"
        return f"{reason}. {INSTALL}"
    count = visible_gpus()
    if count == 0:
        return (
            "there is no NVIDIA driver, or none that shows this process a GPU (`nvidia-smi` lists them; "
            "CUDA_VISIBLE_DEVICES and a container's settings can hide them)"
        )
    return None if index < count else f"this process sees {count} GPU(s), the last is cuda:{count - 1}"


def visible_gpus() -> int:
    """GPUs that the NVIDIA driver lets this process use; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    ready = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if ready else 0


@contextlib.contextmanager
def libraries_loaded(onnxruntime: Any) -> Iterator[io.StringIO]:
    """Around the opening of a session: finds CUDA's libraries that pip installed; yields what onnxruntime prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
            onnxruntime.preload_dlls()
        yield said


def not_started(onnxruntime: Any, said: str) -> str:
    """Why a session that should run on CUDA does not: onnxruntime leaves a provider out that it cannot start."""
    version = getattr(onnxruntime, "cuda_version", "")
    wants = f" (it wants CUDA {version.split('.')[0]} and cuDNN 9)" if version else ""
    found = " ".join(said.split())
    return (
        f"onnxruntime {onnxruntime.__version__} could not start CUDA{wants}: its libraries are missing or of another "
        f"version, or the driver is too old. {INSTALL_LIBRARIES}" + (f". onnxruntime says: {found}" if found else "")
    )


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True

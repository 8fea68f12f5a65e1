"""Which device there is: the CPU, or a GPU with what onnxruntime needs for it; what to say where it is missing.

The only module that imports onnxruntime, and only when it is asked for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from instructor_onnx.extras import pip_install

OR_CPU = "or use device='cpu'."
LIBRARIES = "'onnxruntime-gpu[cuda,cudnn]'"  # cuBLAS comes with cuDNN
INSTALL_LIBRARIES = f"pip install {LIBRARIES}"
PROVIDER = "CUDAExecutionProvider"
PROVIDER_OPTIONS = {
    "use_tf32": "0",  # on, it would leave an fp32 model three digits
    # CUTLASS's attention and no other: cuDNN's, onnxruntime's choice from Hopper on, builds a plan of 40 to 400 ms for
    # each shape and never gives one back (pytorch#191576); and short bf16 would run unfused.
    "sdpa_kernel": "2",
    # The arena is left to double, which may take more for few shapes; grown as requested, it goes on growing with new
    # ones (traced, from one corpus to 60 calls: fp32 from 2.2 to 5.7 GB, where doubling stays within 4.5).
}
# What onnxruntime says where a GPU is of no use to it, as traced in 1.31.1, or CUDA itself; and what that means.
TROUBLES = (
    (r"cuDNN is unavailable|CUDNN_STATUS_NOT_INITIALIZED|libcudnn", f"cuDNN 9 cannot be loaded. {INSTALL_LIBRARIES}"),
    (
        r"BF16 .*requires Ampere",
        "bf16 wants a GPU of compute capability 8.0 (Ampere) or later. Export with `--variants fp16`, which runs on "
        "this one",
    ),
    (
        r"no kernel image is available|invalid device function",
        "this onnxruntime has no code for this GPU; 1.31's is for compute capability 7.5, 8.x, 9.0 and 12.x "
        "(`nvidia-smi --query-gpu=compute_cap --format=csv` shows yours). Install a version that has it",
    ),
    (
        r"driver version is insufficient|unsupported toolchain",
        "the NVIDIA driver is too old for this onnxruntime's CUDA. Install a newer one (`nvidia-smi` shows which CUDA "
        "a driver goes up to)",
    ),
)
BF16_SINCE = (1, 24)  # of onnxruntime: 1.23 has no bf16 MultiHeadAttention for CUDA
# Until then, a norm after a sum added up its squares in the type it reads, and fp16's overflow (onnxruntime#29034).
FP32_SUMS_SINCE = (1, 27)


class DeviceError(RuntimeError):
    """A GPU cannot be had, or not for this variant: says what is missing and what to do about it."""


@dataclass(frozen=True)
class Device:
    """Where a session runs: "cpu", or "cuda" with the index of the GPU."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


def provider_options(device: Device, version: str, *, cuda_graphs: bool = False) -> dict[str, str]:
    """What the CUDA provider of onnxruntime `version` is told.

    The first GPU is not named, as it is the default and onnxruntime 1.31 prints a warning wherever one is.
    """
    options = dict(PROVIDER_OPTIONS)
    if device.index:
        options["device_id"] = str(device.index)
    if _release(version) < FP32_SUMS_SINCE:
        options["enable_skip_layer_norm_strict_mode"] = "1"
    if cuda_graphs:
        options["enable_cuda_graph"] = "1"
    return options


def import_onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        ImportError: with the line that installs it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"onnxruntime is not installed ({error}): {pip_install('onnxruntime')}") from error
    return onnxruntime


def choose_device(device: str | None) -> Device:
    """The device to run on: the one named, else CUDA where onnxruntime has it and there is a GPU, else the CPU.

    Raises:
        ValueError: a name that is no device.
        DeviceError: CUDA was asked for and cannot be had, with what is missing; never falls back in silence.
    """
    if device is None:
        if visible_gpus() == 0:  # without importing onnxruntime, which is slow
            return Device("cpu")
        try:
            return Device("cpu") if missing(import_onnxruntime(), 0) else Device("cuda")
        except ImportError:  # the native engine may do without
            return Device("cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if not match:
        raise ValueError(f"device: found {device!r}, expected 'cpu', 'cuda' or 'cuda:N'.")
    if device == "cpu":
        return Device("cpu")
    index = int(match.group(1) or 0)
    if reason := missing(import_onnxruntime(), index):
        raise DeviceError(f"device={device!r}: {reason}, {OR_CPU}")
    return Device("cuda", index)


def missing(onnxruntime: Any, index: int) -> str | None:
    """Why GPU `index` cannot be had, with what to do about it; None: nothing is missing that shows before a start."""
    if PROVIDER not in onnxruntime.get_available_providers():
        if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
            reason = "onnxruntime and onnxruntime-gpu are both installed, and the CPU-only package hides the other"
        else:
            reason = "the installed onnxruntime is the CPU-only package"
        return f"{reason}. pip uninstall -y onnxruntime onnxruntime-gpu; {pip_install('gpu')} {LIBRARIES}"
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
    """Why a session that should run on CUDA does not: onnxruntime leaves a provider out that it cannot start.

    Args:
        said: what it printed.
    """
    version = getattr(onnxruntime, "cuda_version", "")
    wants = f" (it wants CUDA {version.split('.')[0]} and cuDNN 9)" if version else ""
    if libraries := ", ".join(re.findall(r"Failed to load ([^\s:]+):", said)):
        reason = f"{libraries} cannot be loaded"
    else:
        reason = "its libraries are missing or of another version, or the driver is too old"
    found = " ".join(said.split())
    return f"onnxruntime {onnxruntime.__version__} could not start CUDA{wants}: {reason}. {INSTALL_LIBRARIES}" + (
        f". onnxruntime says: {found}" if found else ""
    )


def trouble(error: str) -> str | None:
    """What an error of onnxruntime means where it is the GPU's or its libraries', with what to do; None: it is not."""
    return next((meaning for pattern, meaning in TROUBLES if re.search(pattern, error)), None)


def too_old(version: str, weight_type: str) -> str | None:
    """Why onnxruntime of that version cannot run such a variant on a GPU; None: it can.

    >>> too_old("1.31.1", "bfloat16")
    """
    if weight_type != "bfloat16" or _release(version) >= BF16_SINCE:
        return None
    return (
        f"bf16 wants onnxruntime-gpu {'.'.join(map(str, BF16_SINCE))} or later, which may want a later Python, and "
        f"this is {version}. {INSTALL_LIBRARIES} -U, or export with `--variants fp16`, which runs on this one"
    )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True

"""What this machine does with a bundle: asked of it, engine by engine, without opening a model."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from instructor_onnx import __version__
from instructor_onnx.bundle import Manifest
from instructor_onnx.engines import native, processor, saturation
from instructor_onnx.engines.cpus import cpus_and_why
from instructor_onnx.engines.devices import import_onnxruntime
from instructor_onnx.engines.engine import default_engine, fits, missing_gpu
from instructor_onnx.loading import choose

PASSED = "self-check passed"


@dataclass(frozen=True)
class Plan:
    """What runs a variant where nothing but the variant is named."""

    engine: str | None  # as "native avx2" or "onnxruntime 1.31.1"; None: it cannot run here
    device: str | None
    why: str


@dataclass(frozen=True)
class Machine:
    """Every fact that decides how a bundle runs here."""

    processor: str
    architecture: str
    system: str
    python: str
    instructor_onnx: str  # its version
    threads: int
    threads_from: str
    kernels: str | None  # their version; None: not compiled when this package was installed
    instruction_sets: dict[str, str]  # of the kernels' build, best first: PASSED, or why it is not used
    onnxruntime: str | None  # its version; None: not installed
    providers: tuple[str, ...]
    saturates: bool | None  # whether onnxruntime's 8-bit products need session.x64quantprecision = 1
    variants: dict[str, Plan]


def look(manifest: Manifest, folder: Path) -> Machine:
    """Ask this machine about the variants of a bundle.

    Takes some milliseconds for each instruction set's self-check, and onnxruntime's import.
    """
    threads, threads_from = cpus_and_why()
    try:
        onnxruntime = import_onnxruntime()
    except ImportError:
        onnxruntime = None
    instruction_sets = dict(_instruction_sets())
    return Machine(
        processor=processor.name(),
        architecture=platform.machine(),
        system=platform.platform(),
        python=platform.python_version(),
        instructor_onnx=__version__,
        threads=threads,
        threads_from=threads_from,
        kernels=__version__ if instruction_sets else None,
        instruction_sets=instruction_sets,
        onnxruntime=onnxruntime and onnxruntime.__version__,
        providers=tuple(onnxruntime.get_available_providers()) if onnxruntime else (),
        saturates=saturation.saturates(onnxruntime) if onnxruntime else None,
        variants={name: _plan(manifest, name, folder) for name in manifest.variants},
    )


def text(machine: Machine) -> str:
    """The facts for a reader, a line each."""
    if machine.onnxruntime is None:
        onnxruntime = "- (not installed)"
    else:
        products = "saturate: int8 runs with session.x64quantprecision=1" if machine.saturates else "are exact"
        onnxruntime = f"{machine.onnxruntime}, {', '.join(machine.providers)}; its 8-bit products {products}"
    lines = [
        ("machine", f"{machine.processor}, {machine.architecture}"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("threads", f"{machine.threads} ({machine.threads_from})"),
        ("onnxruntime", onnxruntime),
        ("kernels", machine.kernels or "- (not compiled)"),
        *(("", f"{isa:<12}{state}") for isa, state in machine.instruction_sets.items()),
    ]
    for name, plan in machine.variants.items():
        engine = f"{plan.engine}, {plan.device}" if plan.engine else "not here"
        lines.append((name, f"{engine}: {plan.why}"))
    return "\n".join(f"{name:<12}{said}" for name, said in lines)


def _instruction_sets() -> Iterator[tuple[str, str]]:
    try:
        kernels = native.import_kernels()
    except ImportError:
        return
    for isa in kernels.built_instruction_sets():
        if reason := kernels.why_not(isa):
            yield isa, f"not on this machine: {reason}"
            continue
        try:
            kernels.self_check(isa)
        except kernels.KernelError as error:
            yield isa, f"self-check failed: {error}"
        else:
            yield isa, PASSED


def _plan(manifest: Manifest, name: str, folder: Path) -> Plan:
    variant = manifest.variants[name]
    try:
        if reason := missing_gpu(variant):
            return Plan(None, None, reason)
        _, device = choose(manifest, name, None, folder)
        if default_engine(variant.weight_type, device) == "native":
            forced = f", which {native.ISA_VARIABLE} names" if native.ISA_VARIABLE in os.environ else ""
            return Plan(f"native {native.instruction_set()}", str(device), PASSED + forced)
        engine = f"onnxruntime {import_onnxruntime().__version__}"
    except (ImportError, RuntimeError) as error:  # the latter of an instruction set that was named and cannot be had
        return Plan(None, None, str(error))
    if device.kind != "cpu":
        return Plan(engine, str(device), "the GPU")
    if "native" in fits(variant.weight_type, device):
        why = str(native.why_not())
    else:
        why = "the native engine runs fp32, int8 and int4"
    return Plan(engine, str(device), why)

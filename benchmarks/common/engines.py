"""What runs a bundle on this CPU."""

from __future__ import annotations

from instructor_onnx import Manifest
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import fits, why_not


def cpu_variants(manifest: Manifest) -> list[str]:
    """The variants that are made for CPUs."""
    return [name for name, variant in manifest.variants.items() if "cpu" in variant.devices]


def engines(manifest: Manifest, variant: str) -> list[str]:
    """The engines that run a variant here, onnxruntime first."""
    fitting = fits(manifest.variants[variant].weight_type, Device("cpu"))
    return [engine for engine in fitting if why_not(engine) is None]

"""Is a bundle whole, and does it run on this machine? Whether it is right, the exporter knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from instructor_onnx.bundle import MANIFEST, BundleError, Manifest, check_hashes, size_of
from instructor_onnx.engines.devices import DeviceError
from instructor_onnx.engines.engine import missing_gpu
from instructor_onnx.model import INSTRUCTOR


class Checked(NamedTuple):
    """A part of a bundle that was looked at."""

    passed: bool  # False: this machine cannot tell
    said: str


def check_bundle(folder: Path) -> Iterator[Checked]:
    """Hash every file, then open every variant that this machine can and embed a text.

    Raises:
        BundleError: something is wrong, or this machine can open none of the variants.
        ImportError, MemoryError, RuntimeError: as of INSTRUCTOR.
    """
    manifest = Manifest.read(folder)
    files = manifest.files()
    check_hashes(folder, files)
    yield Checked(True, f"{len(files)} files, {size_of(files)}: sizes and sha256 as in {MANIFEST}")
    opened = 0
    for name, variant in manifest.variants.items():
        verified = "" if variant.verification else "; not verified on a GPU yet"
        not_opened = f"{name}: not opened, it is for {', '.join(variant.devices)} and"
        if reason := missing_gpu(variant):
            yield Checked(False, f"{not_opened} {reason}{verified}")
            continue
        try:
            model = INSTRUCTOR(folder, variant=name, device="cpu" if "cpu" in variant.devices else "cuda")
        except DeviceError as error:
            yield Checked(False, f"{not_opened} {error}{verified}")
            continue
        vector = model.encode("instructor-onnx check")
        if vector.shape != (manifest.model.embedding_dim,) or not np.isfinite(vector).all():
            raise BundleError(f"{folder}: {name} gives no {manifest.model.embedding_dim} finite numbers. Export again.")
        opens = f"{name}: opens with the tokenizer on {model.device} and embeds a text"
        yield Checked(True, f"{opens} ({model.engine_name}){verified}")
        opened += 1
    if not opened:
        raise BundleError(
            f"{folder}: its files are whole, but this machine can open none of its variants "
            f"({', '.join(manifest.variants)}). Check it where there is a GPU."
        )

"""A name -> a folder, a variant, a device, an engine."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

from instructor_onnx import hub
from instructor_onnx.bundle import MANIFEST, TOKENIZER, BundleError, Manifest, check_sizes
from instructor_onnx.engines.devices import Device, choose_device
from instructor_onnx.engines.engine import ENGINES, Engine, fits, open_engine
from instructor_onnx.engines.onnx_file import check_external_data
from instructor_onnx.tokens import Tokenizer

logger = logging.getLogger(__name__)

# Without a named variant, the first of these that the bundle has: the most exact the device runs well. A GPU's matrix
# units are several times faster in half precision than in fp32, and of the two halves fp16 has three bits more; but
# one of them goes before fp32 only if it was verified on a GPU.
PREFERRED_VARIANTS = {"cpu": ("fp32", "int8", "int4"), "cuda": ("fp16", "bf16", "fp32")}
# Every variant that `instructor-onnx export` makes.
EXPORTED = ("fp32", "int8", "int4", "fp16", "bf16")
# Bundles that ride in this package, by the name they are loaded with.
EMBEDDED = {"instructor-mini": Path(__file__).with_name("instructor-mini")}


class Loaded(NamedTuple):
    """A variant of a bundle, opened."""

    folder: Path
    manifest: Manifest
    variant: str
    tokenizer: Tokenizer
    engine: Engine


def load(
    name_or_path: str | os.PathLike[str],
    variant: str | None,
    device: str | None,
    engine: str | None,
    num_threads: int | None,
    cuda_graphs: bool,
    options: hub.HubOptions,
) -> Loaded:
    """See `INSTRUCTOR`, whose arguments and errors these are."""
    if engine not in (*ENGINES, None):
        raise ValueError(f"engine: found {engine!r}, expected one of {', '.join(map(repr, ENGINES))} or None.")
    folder = _bundle_folder(name_or_path, variant, device, engine, options)
    manifest = Manifest.read(folder)
    name, chosen = choose(manifest, variant, device, folder, engine)
    check_sizes(folder, manifest.files(name))
    tokenizer = Tokenizer.load(
        folder / manifest.tokenizer.path,
        vocab_size=manifest.model.vocab_size,
        eos_token_id=manifest.model.eos_token_id,
    )
    files = [folder / file.path for file in manifest.variants[name].files]
    check_external_data(files[0], allowed={file.name for file in files[1:]})
    if not manifest.variants[name].verification:
        logger.warning(
            "%s: variant %s was not verified when it was exported, for want of a GPU. "
            "`instructor-onnx check %s --against CHECKPOINT --record` verifies it on this machine.",
            folder,
            name,
            folder,
        )
    opened = open_engine(manifest, name, files[0], chosen, engine, num_threads, cuda_graphs)
    return Loaded(folder, manifest, name, tokenizer, opened)


def embedded(name_or_path: str | os.PathLike[str]) -> Path | None:
    """The folder of the bundle that rides in this package under that name; a folder of the name goes first."""
    return None if Path(name_or_path).exists() else EMBEDDED.get(str(name_or_path))


def _bundle_folder(
    name_or_path: str | os.PathLike[str],
    variant: str | None,
    device: str | None,
    engine: str | None,
    options: hub.HubOptions,
) -> Path:
    """The local folder of the bundle; of a hub id, only the manifest and the one variant are downloaded."""
    folder = embedded(name_or_path) or hub.local_folder(name_or_path)
    if folder is not None:
        return folder
    repo_id = str(name_or_path)
    # config.json is no part of a bundle, but lets the error about a checkpoint say that it is one
    folder = hub.download(repo_id, [MANIFEST, TOKENIZER, "config.json"], options)
    manifest = Manifest.read(folder)
    chosen, _ = choose(manifest, variant, device, folder, engine)
    return hub.download(repo_id, [MANIFEST, *(file.path for file in manifest.files(chosen))], options)


def choose(
    manifest: Manifest, variant: str | None, device: str | None, folder: Path, engine: str | None = None
) -> tuple[str, Device]:
    """The variant and the device to run it on; where neither was named, the best pair there is."""
    if variant is not None:
        check_variant(manifest, variant, folder)
    if engine == "native":
        cpu = Device("cpu")
        fitting = [name for name, v in manifest.variants.items() if "native" in fits(v.weight_type, cpu)]
        named = [variant] if variant is not None else [name for name in PREFERRED_VARIANTS["cpu"] if name in fitting]
        if not set(fitting).intersection(named) or device not in (None, "cpu"):
            raise ValueError(
                f"engine='native' runs fp32, int8 and int4 variants on the CPU; asked for were variant={variant!r} and "
                f"device={device!r}, and {folder} has {', '.join(manifest.variants)}."
            )
        return named[0], cpu
    wanted = manifest.variants if variant is None else {variant: manifest.variants[variant]}
    if device is None and not any("cuda" in v.devices for v in wanted.values()):
        first = Device("cpu")  # without asking onnxruntime, which is slow to import
    else:
        first = choose_device(device)
    if variant is not None:
        devices = manifest.variants[variant].devices
        right = device is not None or first.kind in devices
        # Where none was named, a variant for GPUs asks for one: without it, the error says what is missing.
        return variant, first if right else choose_device(next(iter(devices), "cpu"))
    for candidate in [first] if device is not None else [first, Device("cpu")]:
        present = [name for name in PREFERRED_VARIANTS[candidate.kind] if name in manifest.variants]
        verified = [name for name in present if manifest.variants[name].verification]
        if names := verified or present:
            return names[0], candidate
    raise BundleError(
        f"{folder / MANIFEST}: has no variant that runs well on {first} (it has {', '.join(manifest.variants)}). "
        f"Export again with `--variants {PREFERRED_VARIANTS[first.kind][0]}`, or name one, as "
        f"variant={next(iter(manifest.variants))!r}."
    )


def check_variant(manifest: Manifest, variant: str, folder: Path) -> None:
    """Raise ValueError where a bundle has no such variant, with those that there are."""
    if variant not in manifest.variants:
        again = f"export again with `--variants {variant}`"
        raise ValueError(
            f"variant={variant!r}: {folder} has {', '.join(manifest.variants)}. Name one of these, or "
            + (again if variant in EXPORTED else f"export another: there are {', '.join(EXPORTED)}")
            + "."
        )

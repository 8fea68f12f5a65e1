"""The weight files of a checkpoint, safetensors or pickles -> tensors by name, mapped into memory and not yet read.

The pages of a mapped file can be dropped again: a 5 GB checkpoint costs no 5 GB. A pickle may come from a
stranger: it is only loaded where it does nothing but name tensors.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

import torch

from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, brief, join, shown

SAFE_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
# In order of preference: safetensors cannot hold code. An index lists the shards of one set of weights.
WEIGHT_FILES = (*SAFE_WEIGHT_FILES, "pytorch_model.bin", "pytorch_model.bin.index.json")
PICKLE_LIMIT = 1 << 20  # bytes of names and shapes, each of which may make a list; the largest T5 has 0.1 MB
# What a pickle of tensors may name. torch's own list (weights_only=True) is longer: bytearray(10**10) is on it.
TENSOR_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Bool", "Byte")),
}


def weight_files(folder: CheckpointFolder, path: str) -> list[Path]:
    """The file with a module's weights, or its shards.

    Raises:
        CheckpointError: there is none, or a shard is missing or leaves the folder.
    """
    for name in WEIGHT_FILES:
        relative = join(path, name)
        file = folder.find(relative)
        if file is None:
            continue
        if not name.endswith(".index.json"):
            return [file]
        shards = folder.object(relative).get("weight_map")
        suffix = Path(name.removesuffix(".index.json")).suffix
        if (
            not isinstance(shards, dict)
            or not shards
            or not all(isinstance(shard, str) and shard.endswith(suffix) for shard in shards.values())
        ):
            raise CheckpointError(f"{file}: expected a weight_map of tensor names to {suffix} files.")
        return [folder.file(join(path, shard), named_by=relative) for shard in sorted(set(shards.values()))]
    raise CheckpointError(
        f"{folder.root / path}: no weights; expected model.safetensors or pytorch_model.bin (or shards with an index)."
    )


def map_tensors(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of one file by name, not yet read.

    Raises:
        CheckpointError: damaged, or a pickle of something else than tensors.
    """
    return _map_safetensors(file) if file.suffix == ".safetensors" else _map_pickle(file)


def _map_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    try:  # the header is held against the size of the file before anything is allocated
        with safe_open(file, framework="pt", device="cpu") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a whole safetensors file ({brief(error)}). Copy it again.") from None


def _map_pickle(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `torch.save` file."""
    _check_archive(file)
    try:
        loaded = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything; torch's own words advise to load it unsafely
        raise CheckpointError(f"{file}: torch cannot read it ({type(error).__name__}). Copy it again.") from None
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise CheckpointError(f"{file}: holds something else than names and tensors.")
    return {name: tensor.detach() for name, tensor in loaded.items()}


def _check_archive(file: Path) -> None:
    """Refuse what `torch.save` never writes for tensors, before anything is unpickled or unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED:  # unpacked it could be of any size
                    raise CheckpointError(
                        f"{file}: {shown(record.filename)} in it is compressed. Do not trust this file."
                    )
                if record.filename.endswith(".pkl"):
                    if record.file_size > PICKLE_LIMIT:
                        raise CheckpointError(f"{file}: {record.file_size:,} bytes of names. Do not trust this file.")
                    _check_pickle(archive.read(record), file)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged archive can raise anything too
        raise CheckpointError(
            f"{file}: incomplete, or older than torch 1.6 ({brief(error)}). Copy it again, or rewrite it: "
            "torch.save(torch.load(path, weights_only=True), path)."
        ) from None


def _check_pickle(contents: bytes, file: Path) -> None:
    """Read the pickle's instructions, without following them, for what they name."""
    try:
        for opcode, argument, _ in pickletools.genops(contents):
            named = argument if opcode.name in ("GLOBAL", "INST") else opcode.name
            if named not in TENSOR_GLOBALS and opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                raise CheckpointError(
                    f"{file}: holds more than weights ({brief(named)}), so it was not loaded: a pickle can run code. "
                    "Do not trust this file; ask for safetensors."
                )
    except ValueError as error:
        raise CheckpointError(f"{file}: its pickle is damaged ({brief(error)}). Copy it again.") from None

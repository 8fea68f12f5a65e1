"""A folder or hub id -> weights, configuration and tokenizer, each accounted for. Knows nothing about ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from instructor_onnx import hub
from instructor_onnx.bundle import BundleError
from instructor_onnx.tokens import Tokenizer

from instructor_onnx_export.checkpoint import spiece
from instructor_onnx_export.checkpoint.config import Config, read_config
from instructor_onnx_export.checkpoint.folder import CheckpointError as CheckpointError
from instructor_onnx_export.checkpoint.folder import CheckpointFolder, brief, join, shown
from instructor_onnx_export.checkpoint.layout import read_layout
from instructor_onnx_export.checkpoint.prompts import Prompts, read_prompts
from instructor_onnx_export.checkpoint.weight_files import SAFE_WEIGHT_FILES
from instructor_onnx_export.checkpoint.weights import read_weights

NO_OPTIONS = hub.HubOptions()
EXTRA_IDS = 100  # T5's number of <extra_id_N>, where tokenizer_config.json does not say
MOST_EXTRA_IDS = 10_000
# Of a hub repository; in these patterns * also matches a slash.
SMALL_FILES = ["*.json", "*spiece.model"]
SAFETENSORS = ["*model.safetensors", "*model-*.safetensors"]
PICKLES = ["*pytorch_model.bin", "*pytorch_model-*.bin"]


@dataclass(frozen=True)
class Checkpoint:
    """Everything that an export needs of a checkpoint, checked."""

    name: str  # the hub id, or the name of the folder
    folder: Path
    config: Config
    weights: Mapping[str, torch.Tensor]  # mapped files, read-only; names as in names.py, dtype as stored
    tokenizer_json: bytes  # the checkpoint's file, or made from its spiece.model
    prompts: Prompts
    source_sha256: dict[str, str]  # of every file used, by its path in the folder


def read_checkpoint(name_or_path: str | os.PathLike[str], options: hub.HubOptions = NO_OPTIONS) -> Checkpoint:
    """Open a checkpoint of the INSTRUCTOR family (T5 encoder, mean pooling, Dense, Normalize).

    Args:
        name_or_path: a folder in the layout of sentence-transformers, or a Hugging Face id of one.
        options: how to reach the hub, for an id.

    Raises:
        FileNotFoundError: no such folder and no such id.
        CheckpointError: it is of another kind, incomplete, damaged or hostile; names the file and the fix.
    """
    root, name = _fetch(name_or_path, options)
    folder = CheckpointFolder(root)
    layout = read_layout(folder)
    config = read_config(folder, layout)
    tokenizer_json = _read_tokenizer(folder, layout.transformer, config)
    weights = read_weights(folder, layout, config)
    return Checkpoint(
        name=name,
        folder=root,
        config=config,
        weights=weights,
        tokenizer_json=tokenizer_json,
        prompts=read_prompts(folder),
        source_sha256=folder.hashes(),
    )


def _fetch(name_or_path: str | os.PathLike[str], options: hub.HubOptions) -> tuple[Path, str]:
    """The local folder and its name. Of a hub repository, pickles are only downloaded where they are needed."""
    folder = hub.local_folder(name_or_path)
    if folder is not None:
        return folder, brief(folder.resolve().name)
    repo_id = str(name_or_path)
    root = hub.download(repo_id, SMALL_FILES + SAFETENSORS, options)
    layout = read_layout(CheckpointFolder(root))
    needed = [layout.transformer, *([] if layout.dense is None else [layout.dense])]
    if not all(any((root / path / name).is_file() for name in SAFE_WEIGHT_FILES) for path in needed):
        root = hub.download(repo_id, SMALL_FILES + SAFETENSORS + PICKLES, options)
    return root, repo_id


def _read_tokenizer(folder: CheckpointFolder, path: str, config: Config) -> bytes:
    """`tokenizer.json` as it is, or made from `spiece.model`; checked against the model either way."""
    names = [join(path, "tokenizer.json"), join(path, "spiece.model")]
    name = next((name for name in names if folder.find(name) is not None), None)
    if name is None:
        raise CheckpointError(f"{folder.root / path}: no tokenizer; expected tokenizer.json or spiece.model.")
    file, contents = folder.root / name, folder.contents(name)
    if name.endswith("spiece.model"):
        try:
            contents = spiece.tokenizer_json(
                contents, eos_token_id=config.eos_token_id, extra_ids=_extra_ids(folder, path, config)
            ).encode()
        except ValueError as error:
            raise CheckpointError(f"{file}: {brief(error)}. Use the file that came with the model.") from None
    try:  # the runtime's own checks: what passes here will load there
        Tokenizer.parse(contents, file, vocab_size=config.vocab_size, eos_token_id=config.eos_token_id)
    except BundleError as error:
        raise CheckpointError(brief(error)) from None
    return contents


def _extra_ids(folder: CheckpointFolder, path: str, config: Config) -> int:
    name = join(path, "tokenizer_config.json")
    if folder.find(name) is None:
        return EXTRA_IDS
    count = folder.object(name).get("extra_ids", EXTRA_IDS)
    most = min(config.vocab_size, MOST_EXTRA_IDS)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < most:
        raise CheckpointError(f"{folder.root / name}: extra_ids is {shown(count)}; expected a number below {most:,}.")
    return count

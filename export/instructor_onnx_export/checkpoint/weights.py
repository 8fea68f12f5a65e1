"""The weights of a checkpoint: which tensors there must be, and that there are these and no others.

Only the check for NaN reads them, one at a time. Knows nothing about file formats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from instructor_onnx_export.checkpoint.config import Config
from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, brief, shown
from instructor_onnx_export.checkpoint.layout import Layout
from instructor_onnx_export.checkpoint.names import (
    DENSE,
    EMBEDDING,
    EMBEDDING_COPY,
    FINAL_NORM,
    POSITION_BIAS,
    block_names,
)
from instructor_onnx_export.checkpoint.weight_files import map_tensors, weight_files

Shapes = dict[str, tuple[int, ...]]

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FEWEST_BYTES = 2  # of a number, in the smallest of DTYPES


def encoder_shapes(c: Config) -> Shapes:
    """Name and shape of every tensor of the encoder."""
    inner = c.num_heads * c.d_kv
    shapes: Shapes = {
        EMBEDDING: (c.vocab_size, c.d_model),
        POSITION_BIAS: (c.relative_attention_num_buckets, c.num_heads),
        FINAL_NORM: (c.d_model,),
    }
    for names in block_names(c):
        shapes[names.attention_norm] = (c.d_model,)
        shapes[names.q] = shapes[names.k] = shapes[names.v] = (inner, c.d_model)
        shapes[names.o] = (c.d_model, inner)
        shapes[names.feed_forward_norm] = (c.d_model,)
        if names.gate is not None:
            shapes[names.gate] = (c.d_ff, c.d_model)
        shapes[names.wi] = (c.d_ff, c.d_model)
        shapes[names.wo] = (c.d_model, c.d_ff)
    return shapes


def dense_shapes(c: Config) -> Shapes:
    """Name and shape of every tensor of the Dense module."""
    return {"linear.weight": (c.embedding_dim, c.d_model)}


def read_weights(folder: CheckpointFolder, layout: Layout, config: Config) -> dict[str, torch.Tensor]:
    """Map the weights of the encoder and of Dense, and account for every tensor.

    Raises:
        CheckpointError: a file that is missing, damaged or holds code; a tensor too many or too few, of the
            wrong shape or type, or with NaN or infinity in it.
    """
    weights = _read_module(folder, layout.transformer, encoder_shapes(config), has_decoder=config.has_decoder)
    if layout.dense is not None:
        dense = _read_module(folder, layout.dense, dense_shapes(config), has_decoder=False)
        weights[DENSE] = dense["linear.weight"]
    return weights


def _read_module(folder: CheckpointFolder, path: str, shapes: Shapes, *, has_decoder: bool) -> dict[str, torch.Tensor]:
    files = weight_files(folder, path)
    where = str(files[0]) if len(files) == 1 else str(folder.root / path)
    claimed = FEWEST_BYTES * sum(math.prod(shape) for shape in shapes.values())
    held = sum(file.stat().st_size for file in files)
    if claimed > held:
        raise CheckpointError(
            f"{where}: config.json claims at least {claimed:,} bytes of weights, the files hold {held:,}. "
            "One of them is of another model, or incomplete."
        )
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        shard = map_tensors(file)
        if twice := tensors.keys() & shard.keys():
            raise CheckpointError(f"{file}: {brief(min(twice))} is in another shard too.")
        tensors |= shard
    if has_decoder:
        tensors = {n: t for n, t in tensors.items() if not n.startswith("decoder.") and n != "lm_head.weight"}
    if EMBEDDING in shapes:
        _merge_embeddings(tensors, where)
    _check_names(tensors, shapes, where)
    for name, shape in shapes.items():
        _check_tensor(tensors[name], name, shape, where)
    return tensors


def _merge_embeddings(tensors: dict[str, torch.Tensor], where: str) -> None:
    """T5 has one embedding table under two names; a file may hold either, or both."""
    copy = tensors.pop(EMBEDDING_COPY, None)
    if copy is None:
        return
    table = tensors.setdefault(EMBEDDING, copy)
    same = table.shape == copy.shape and table.dtype == copy.dtype
    if not same or (table.data_ptr() != copy.data_ptr() and not torch.equal(table, copy)):
        raise CheckpointError(f"{where}: {EMBEDDING} and {EMBEDDING_COPY} differ; they are one table.")


def _check_names(tensors: Mapping[str, torch.Tensor], shapes: Shapes, where: str) -> None:
    missing = [name for name in shapes if name not in tensors]
    unknown = sorted(name for name in tensors if name not in shapes)
    for problem, names in (("is missing", missing), ("does not belong to the model of config.json", unknown)):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise CheckpointError(f"{where}: the tensor {brief(names[0])}{more} {problem}.")


def _check_tensor(tensor: torch.Tensor, name: str, shape: tuple[int, ...], where: str) -> None:
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"{where}: the shape of {name} is {shown(list(tensor.shape))}, config.json makes it {list(shape)}."
        )
    if tensor.dtype not in DTYPES:
        raise CheckpointError(f"{where}: {name} is {tensor.dtype}; expected float32, float16 or bfloat16.")
    # A view that repeats its numbers could claim any size; one without numbers (device "meta") too.
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise CheckpointError(f"{where}: {name} is not stored as a plain block of numbers.")
    low, high = torch.aminmax(tensor)  # NaN comes through, and nothing of the tensor's size is allocated
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CheckpointError(f"{where}: {name} contains NaN or infinity.")

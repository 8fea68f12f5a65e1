"""Checkpoints whose weights must be refused: incomplete, damaged or hostile. Each error names what is wrong."""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from instructor_onnx_export.checkpoint.read import CheckpointError, read_checkpoint
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint, save_weights, write_json

WI = "encoder.block.1.layer.1.DenseReluDense.wi.weight"
HUGE = 10**10


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


class Payload:
    """Unpickled by plain pickle, this creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.target,))


class Allocation:
    """Unpickled, this takes as many bytes; torch's weights_only lets it pass."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (bytearray, (HUGE,))


@pytest.fixture
def bin_checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "instructor-bin", weight_format="bin")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers(value: float, editable: Path) -> None:
    weights = load_file(editable / "model.safetensors")
    weights[WI][3, 5] = value
    save_file(weights, editable / "model.safetensors")
    refuse(editable, f"{WI} contains NaN or infinity")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (None, f"the tensor {WI} is missing"),
        (torch.ones(32, 64), re.escape(f"{WI} is [32, 64], config.json makes it [64, 32]")),
        (torch.ones(64, 32, dtype=torch.float64), f"{WI} is torch.float64"),
        (torch.ones(64, 32, dtype=torch.int8), f"{WI} is torch.int8"),
    ],
)
def test_another_tensor(tensor: torch.Tensor | None, message: str, editable: Path) -> None:
    weights = load_file(editable / "model.safetensors")
    del weights[WI]
    save_file(weights | ({} if tensor is None else {WI: tensor}), editable / "model.safetensors")
    refuse(editable, message)


def test_a_tensor_too_many(editable: Path) -> None:
    weights = load_file(editable / "2_Dense/model.safetensors")
    save_file(weights | {"linear.bias": torch.ones(24)}, editable / "2_Dense/model.safetensors")
    refuse(editable, "2_Dense/model.safetensors: the tensor linear.bias does not belong")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_truncated_file(name: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", weight_format="bin" if name.endswith("bin") else "safetensors")
    (folder / name).write_bytes((folder / name).read_bytes()[:-1000])
    refuse(folder, f"{name}: (not a whole safetensors file|incomplete)")


@pytest.mark.parametrize("shape", [[HUGE // 4], [1 << 62, 1 << 62], [-1]])
def test_a_safetensors_header_that_claims_more_than_the_file(shape: list[int], editable: Path) -> None:
    size = 4 * shape[0]
    header = json.dumps({WI: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    body = bytes(200_000)  # enough for config.json, so that it is the header that is refused
    (editable / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + body)
    refuse(editable, "not a whole safetensors file")


def test_a_safetensors_header_of_a_size_beyond_the_file(editable: Path) -> None:
    (editable / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + bytes(200_000))
    refuse(editable, "not a whole safetensors file")


def test_a_pickle_with_a_payload_is_not_run(bin_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    weights = torch.load(bin_checkpoint / "pytorch_model.bin", weights_only=True)
    torch.save(weights | {"payload": Payload(target)}, bin_checkpoint / "pytorch_model.bin")
    refuse(bin_checkpoint, "pytorch_model.bin: holds more than weights .* was not loaded")
    assert not target.exists()


def test_a_bare_pickle_with_a_payload_is_not_run(bin_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "owned"
    (bin_checkpoint / "2_Dense/pytorch_model.bin").write_bytes(pickle.dumps(Payload(target)) + bytes(10_000))
    refuse(bin_checkpoint, "2_Dense/pytorch_model.bin: incomplete, or older than torch 1.6")
    assert not target.exists()


def test_a_pickle_that_would_take_ten_gigabytes(bin_checkpoint: Path) -> None:
    weights = torch.load(bin_checkpoint / "pytorch_model.bin", weights_only=True)
    torch.save(weights | {"large": Allocation()}, bin_checkpoint / "pytorch_model.bin")
    refuse(bin_checkpoint, "holds more than weights .*bytearray")


def test_a_pickle_that_unpacks_to_ten_gigabytes(bin_checkpoint: Path) -> None:
    file = bin_checkpoint / "pytorch_model.bin"
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, contents in records.items():
            packed = zipfile.ZIP_DEFLATED if name.endswith("data/0") else zipfile.ZIP_STORED
            archive.writestr(name, contents, compress_type=packed)
        archive.writestr("padding", bytes(200_000))
    refuse(bin_checkpoint, "data/0' in it is compressed")


def test_a_pickle_whose_tensor_repeats_one_number(bin_checkpoint: Path) -> None:
    weights = torch.load(bin_checkpoint / "pytorch_model.bin", weights_only=True)
    torch.save(weights | {WI: torch.ones(1).expand(64, 32)}, bin_checkpoint / "pytorch_model.bin")
    refuse(bin_checkpoint, f"{WI} is not stored as a plain block")


@pytest.mark.parametrize("contents", [[torch.ones(50_000)], {"x": {"y": torch.ones(50_000)}}])
def test_a_pickle_of_something_else(contents: object, bin_checkpoint: Path) -> None:
    torch.save(contents, bin_checkpoint / "pytorch_model.bin")
    refuse(bin_checkpoint, "holds something else than names and tensors")


def rewrite(file: Path, **contents: bytes) -> None:
    """Write an archive of torch.save anew, with other contents of the records of these names."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, kept in records.items():
            archive.writestr(name, contents.get(Path(name).stem, kept))


def test_the_advice_to_load_a_pickle_unsafely_is_not_passed_on(bin_checkpoint: Path) -> None:
    rewrite(bin_checkpoint / "pytorch_model.bin", data=b"\x80\x02N}b.")
    with pytest.raises(CheckpointError, match=r"torch cannot read it \(UnpicklingError\)") as caught:
        read_checkpoint(bin_checkpoint)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    "key", [b"K\x01", b"N", b"]", b"\x8c\x06a\xed\xa0\x80bc"], ids=["1", "None", "list", "surrogate"]
)
def test_a_pickle_with_a_key_that_is_no_name(key: bytes, bin_checkpoint: Path) -> None:
    rewrite(bin_checkpoint / "pytorch_model.bin", data=b"\x80\x02}" + key + b"Ns.")
    refuse(bin_checkpoint, "pytorch_model.bin: (holds something else|torch cannot read it|its pickle is damaged)")


def test_a_pickle_of_a_million_lists(bin_checkpoint: Path) -> None:
    rewrite(bin_checkpoint / "pytorch_model.bin", data=b"\x80\x02" + b"]" * (1 << 20) + b".")
    refuse(bin_checkpoint, "1,048,579 bytes of names. Do not trust")


def test_a_pickle_that_names_a_global_of_many_lines(bin_checkpoint: Path) -> None:
    rewrite(bin_checkpoint / "pytorch_model.bin", data=b"\x80\x02c" + b"x" * 5000 + b"\n\x1b[2J\n.")
    with pytest.raises(CheckpointError, match="holds more than weights") as caught:
        read_checkpoint(bin_checkpoint)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(6, b"\xff"), (8, b"\x01"), (9, b"\x08"), (10, b"\x63"), (42, b"\xff\xff\xff\x7f"), (46, b"\xff")],
    ids=["version", "encrypted", "names in UTF-8", "compression", "place", "name"],
)
def test_a_damaged_archive(offset: int, damage: bytes, bin_checkpoint: Path) -> None:
    """In the entry of its pickle in its directory: zipfile has another exception for each."""
    file = bin_checkpoint / "pytorch_model.bin"
    contents = bytearray(file.read_bytes())
    entry = contents.find(b"PK\1\2") + offset
    contents[entry : entry + len(damage)] = damage
    if offset == 9:
        contents[entry + 46 - 9] = 0xFF  # a byte that UTF-8 has not
    file.write_bytes(contents)
    refuse(bin_checkpoint, "pytorch_model.bin: ")


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 2000 + "\n", "encoder\x1b[2J"])
def test_a_tensor_is_named_on_one_printable_line(name: str, editable: Path) -> None:
    weights = load_file(editable / "model.safetensors")
    save_file(weights | {name: torch.ones(1)}, editable / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not belong") as caught:
        read_checkpoint(editable)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_tensor_of_a_thousand_dimensions(editable: Path) -> None:
    weights = load_file(editable / "2_Dense/model.safetensors")
    (name,) = weights
    shape = ", ".join(["1"] * 1000)
    header = f'{{"{name}": {{"dtype": "F32", "shape": [768, {shape}], "data_offsets": [0, 3072]}}}}'.encode()
    (editable / "2_Dense/model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(3072))
    refuse(editable, r"(is \[768, 1, 1, 1, 1, 1, \.\.\.\], config|not a whole safetensors file)")


@pytest.mark.parametrize("name", ["x" * 5000, "a\ud800", "a\n", "é" * 300])
def test_a_shard_of_a_name_that_no_file_has(name: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", weight_format="sharded")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"x": f"{name}.safetensors"}})
    with pytest.raises(CheckpointError, match="names a file|cannot be looked up") as caught:
        read_checkpoint(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": "../outside.safetensors"}, "model.safetensors.index.json: the path .* leaves the folder"),
        ({"x": "/outside.safetensors"}, "leaves the folder"),
        ({"x": "none.safetensors"}, r"none.safetensors: missing .model.safetensors.index.json names it"),
        ({"x": "pytorch_model.bin"}, "expected a weight_map"),
        ({}, "expected a weight_map"),
        ([], "expected a weight_map"),
        ({"x": "twice.safetensors", "y": "./model-00001-of-00002.safetensors"}, "is in another shard too"),
    ],
)
def test_another_index_of_shards(weight_map: object, message: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "x", weight_format="sharded")
    shard = folder / "model-00001-of-00002.safetensors"
    for place in (tmp_path / "outside.safetensors", folder / "twice.safetensors"):
        place.write_bytes(shard.read_bytes())
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    refuse(folder, message)


def test_old_pickles_are_refused_with_the_way_out(bin_checkpoint: Path) -> None:
    file = bin_checkpoint / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    torch.save(weights, file, _use_new_zipfile_serialization=False)
    refuse(bin_checkpoint, "older than torch 1.6")
    save_weights(bin_checkpoint, "bin", torch.load(file, weights_only=True))  # what the message says
    assert read_checkpoint(bin_checkpoint).weights

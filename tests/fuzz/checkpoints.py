"""Checkpoints: configuration files, safetensors headers, zips and pickles, shards, vocabularies, odd kinds of files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import torch
from instructor_onnx_export.checkpoint.read import Checkpoint, CheckpointError, read_checkpoint

from tests.checkpoints import make_checkpoint
from tests.fuzz import wire
from tests.fuzz.bundles import sparse
from tests.fuzz.mutate import PATHS, change_json, damage, odd_file, odd_value, write_json

FORMATS = ("safetensors", "sharded", "bin", "sharded-bin")
TYPES = ("F32", "F16", "BF16", "F64", "I8", "F4", "", "f32", "F8_E4M3", 5)
# Opcodes that a pickle of tensors does not need, with their arguments.
OPCODES = (
    b"cos\nsystem\n",
    b"c__builtin__\nbytearray\n",
    b"0",
    b"R",
    b"b",
    b"\x81",
    b"(",
    b"t",
    b".",
    b"Q",
    b"I10\n",
    b"\x8a\xff",
)


class Checkpoints:
    """A small checkpoint in one of the formats, with one file changed: read whole, or refused."""

    documented: tuple[type[BaseException], ...] = (CheckpointError, FileNotFoundError)

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "case"
        self.named = (str(self.folder),)
        self.originals = {}
        self.known = {}
        for kind in FORMATS:
            tokenizer = "spiece" if kind.startswith("sharded") else "json"
            self.originals[kind] = make_checkpoint(folder / "originals" / kind, weight_format=kind, tokenizer=tokenizer)
            self.known[kind] = _contents(read_checkpoint(self.originals[kind]))

    def close(self) -> None:
        """Nothing runs."""

    def attempt(self, rng: Random) -> bool:
        kind = rng.choice(FORMATS)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.originals[kind], self.folder)
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        path = rng.choice([*files, *(file for file in files if file.suffix in (".safetensors", ".bin", ".model"))])
        if rng.random() < 0.12:
            _odd_file(rng, path, self.originals[kind])
        else:
            path.write_bytes(_changed(rng, path))
        return _contents(read_checkpoint(self.folder)) == self.known[kind]


def _contents(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """Everything that an export takes from it; NaN is refused before, so equality is what it says."""
    weights = {name: (tensor.dtype, tuple(tensor.shape), _bytes(tensor)) for name, tensor in checkpoint.weights.items()}
    return checkpoint.config, weights, checkpoint.tokenizer_json


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def _changed(rng: Random, path: Path) -> bytes:
    contents = path.read_bytes()
    if rng.random() < 0.15:
        return damage(rng, contents)
    if path.suffix == ".json":
        value = json.loads(contents)
        if isinstance(value, dict) and rng.random() < 0.4:
            return write_json(value | {rng.choice([*value, "extra_ids"]): odd_value(rng)})
        return write_json(change_json(rng, value))
    if path.suffix == ".safetensors":
        return _safetensors(rng, contents)
    if path.suffix == ".bin":
        return _zip(rng, path, contents)
    fields = wire.read(contents, wire.SENTENCEPIECE)
    for _ in range(rng.choice((1, 1, 3))):
        found = list(wire.messages(fields, rng.choice(("piece", "trainer", "normalizer"))))
        wire.change(rng, rng.choice([fields, *found]))
    return wire.write(fields)


def _safetensors(rng: Random, contents: bytes) -> bytes:
    """The header: names, types, shapes, places and its own length."""
    length = struct.unpack("<Q", contents[:8])[0]
    header, body = json.loads(contents[8 : 8 + length]), contents[8 + length :]
    what = rng.randrange(6)
    if what == 0:
        header = change_json(rng, header)
    else:
        entry = header[rng.choice([name for name in header if name != "__metadata__"])]
        start, end = entry["data_offsets"]
        if what == 1:
            entry["dtype"] = rng.choice(TYPES)
        elif what == 2:
            entry["shape"] = rng.choice(
                (entry["shape"][::-1], [], [0], [1 << 62, 4], [-1, 2], [*entry["shape"], 1], odd_value(rng))
            )
        elif what == 3:
            entry["data_offsets"] = rng.choice(
                ([end, start], [0, end - start], [start, end + 4], [start, 1 << 62], [-4, 0], [])
            )
        elif what == 4:
            numbers = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38, 1e-45, -0.0)))
            body = body[:start] + numbers + body[start + 4 :]
        else:
            header[rng.choice(("x", "shared.weight", "encoder.block.99.layer.0.x", "a" * 5000, "\ud83d"))] = dict(entry)
    text = write_json(header)
    claimed = len(text) if rng.random() < 0.9 else rng.choice((0, len(text) + 1, 1 << 31, 1 << 62, (1 << 64) - 1))
    return struct.pack("<Q", claimed) + text + body


def _zip(rng: Random, path: Path, contents: bytes) -> bytes:
    """The zip that torch.save writes: its records, its pickle, its directory."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    what = rng.randrange(7)
    if what == 0:
        return pickle.dumps(rng.choice(([], {"a": torch.ones(2)}, "x", os.getcwd))) + bytes(rng.choice((0, 10_000)))
    if what == 1:
        place = contents.rfind(b"PK\x01\x02") + rng.randrange(60)
        return contents[:place] + rng.randbytes(4) + contents[place + 4 :]
    name = next(name for name in records if name.endswith("data.pkl"))
    if what in (2, 3):
        place = rng.randrange(len(records[name]))
        records[name] = records[name][:place] + rng.choice(OPCODES) + records[name][place:]
    elif what == 4:
        records[name] = damage(rng, records[name])
    elif what == 5:
        del records[rng.choice(list(records))]
    else:
        other = rng.choice(list(records))
        records[rng.choice((*PATHS[:-2], other + "x"))] = records.pop(other)
    packed = zipfile.ZIP_DEFLATED if rng.random() < 0.2 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packed) as archive:
        for record, data in records.items():
            archive.writestr(record, data)
    return path.read_bytes()


def _odd_file(rng: Random, path: Path, original: Path) -> None:
    odd_file(
        rng,
        path,
        lambda: path.symlink_to(original / path.name),
        lambda: path.symlink_to("/dev/zero"),
        lambda: sparse(path),
    )

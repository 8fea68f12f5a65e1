"""model.onnx and its data file: protobuf fields, external data, shapes and numbers, for both engines."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from instructor_onnx import BundleError

from tests.fuzz import wire
from tests.fuzz.bundles import DATA, MODEL, Bundles
from tests.fuzz.mutate import PATHS, damage, write_json
from tests.fuzz.verdict import Wrong

LOCATIONS = ("123", "model.onnx", "../tokenizer.json", "./model.onnx.data", "١٢٣", *PATHS)
OFFSETS = ("-1", "0", "9" * 30, "9" * 5000, "٣", " 5", "1_000", "0x10", "", "1e3", "+8", "\0", "NaN")


class NativeModels(Bundles):
    """model.onnx as the native engine reads it."""

    engine = "native"
    documented: tuple[type[BaseException], ...] = (BundleError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = (self.original / MODEL).read_bytes()
        self.floats = list(_places_of_floats(wire.read(self.model, wire.ONNX)))

    def attempt(self, rng: Random) -> bool:
        self.fresh()
        manifest = json.loads(json.dumps(self.manifest))
        why_not = ""  # why it must not be opened
        if rng.random() < 0.05:
            why_not = self._hide_data(manifest)
        else:
            self.replace(MODEL, self._changed(rng))
            if rng.random() < 0.1:
                self._cut_data(rng, manifest)
            elif rng.random() < 0.1:
                why_not = self._put_no_number(rng)
        manifest["variants"]["int8"]["files"][0]["bytes"] = (self.folder / MODEL).stat().st_size
        self.replace("manifest.json", write_json(manifest))
        same = self.opened(self.engine)
        if why_not:
            raise Wrong(why_not)
        return same

    def _hide_data(self, manifest: Any) -> str:
        """The weights in a file that only the model names, and by digits, as if it were an offset."""
        fields = wire.read(self.model, wire.ONNX)
        for entry in wire.messages(fields, "entry"):
            for field in entry:
                if field.payload == Path(DATA).name.encode():
                    field.payload = b"123"
        self.replace(MODEL, wire.write(fields))
        data = self.folder / DATA
        data.rename(data.with_name("123"))
        del manifest["variants"]["int8"]["files"][1:]
        return "weights from a file that the manifest does not name"

    def _changed(self, rng: Random) -> bytes:
        if rng.random() < 0.1:
            return damage(rng, self.model)
        fields = wire.read(self.model, wire.ONNX)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            kind = rng.choice(
                ("tensor", "tensor", "entry", "entry", "node", "attribute", "graph", "value", "dim", "model")
            )
            found = list(wire.messages(fields, kind)) if kind != "model" else [fields]
            message = rng.choice(found or [fields])
            if kind == "entry" and rng.random() < 0.5:
                _odd_entry(rng, message)
            elif kind == "tensor" and rng.random() < 0.5:
                _reshape(rng, message)
            else:
                wire.change(rng, message)
        return wire.write(fields)

    def _cut_data(self, rng: Random, manifest: Any) -> None:
        contents = (self.folder / DATA).read_bytes()
        contents = contents[: rng.choice((0, 1, 4096, len(contents) - 1))]
        manifest["variants"]["int8"]["files"][1]["bytes"] = len(contents)
        self.replace(DATA, contents)

    def _put_no_number(self, rng: Random) -> str:
        """NaN or infinity among the weights: instruction sets differ in what they make of it."""
        place = rng.choice(self.floats)
        number = struct.pack("<f", rng.choice((float("nan"), float("inf"), -float("inf"))))
        self.replace(MODEL, self.model)
        contents = (self.folder / DATA).read_bytes()
        self.replace(DATA, contents[:place] + number + contents[place + 4 :])
        return "weights that are no numbers" if self.engine == "native" else ""


class OnnxruntimeModels(NativeModels):
    """model.onnx as onnxruntime reads it, after our own look at its data files."""

    engine = "onnxruntime"
    documented = (BundleError, RuntimeError)


def _odd_entry(rng: Random, entry: list[wire.Field]) -> None:
    """An external_data entry (key 1, value 2) with a value that somebody may take for a place."""
    key = next((bytes(field.payload) for field in entry if field.number == 1 and isinstance(field.payload, bytes)), b"")
    for field in entry:
        if field.number == 2:
            field.payload = rng.choice(LOCATIONS if key == b"location" else OFFSETS).encode(errors="surrogatepass")
    if rng.random() < 0.2:
        entry.reverse()


def _places_of_floats(model: list[wire.Field]) -> Iterator[int]:
    """Where the float32 tensors (data_type 2 is 1) begin in the data file."""
    for tensor in wire.messages(model, "tensor"):
        if any(field.number == 2 and field.payload == 1 for field in tensor):
            for entry in wire.messages(tensor, "entry"):
                key, value = (field.payload for field in entry)
                if key == b"offset" and isinstance(value, bytes):
                    yield int(value)


def _reshape(rng: Random, tensor: list[wire.Field]) -> None:
    """Another shape (dims 1) for a tensor, with a length in external_data (13) that goes with it."""
    dims = [field.payload for field in tensor if field.number == 1 and isinstance(field.payload, int)]
    size = math.prod(dims)
    shape = rng.choice(
        ([], [1], [size], [1, size], [size, 1], [0], dims[::-1], [*dims, 1], [1] * 40, [2] * 20, dims[:1])
    )
    tensor[:] = [field for field in tensor if field.number != 1]
    tensor[:0] = [wire.Field(1, wire.VARINT, number) for number in shape]
    for entry in wire.messages(tensor, "entry"):
        texts = {field.number: field for field in entry}
        value = texts[2].payload if texts.keys() >= {1, 2} and texts[1].payload == b"length" else b""
        if isinstance(value, bytes) and value.isdigit() and size:
            texts[2].payload = str(int(value) // size * math.prod(shape)).encode()

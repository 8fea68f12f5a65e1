"""Texts under one instruction -> vectors, of any column of the table, kept on disk block by block."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.engines.native import import_kernels
from tqdm import tqdm

Float32 = npt.NDArray[np.float32]
BLOCK = 256  # texts in a file: what a killed run loses at most


class Embedder(Protocol):
    """What makes the vectors of one column."""

    @property
    def identity(self) -> str:
        """Everything that its vectors depend on, but for instruction and text."""

    def encode(self, rows: list[tuple[str, str]]) -> Float32:
        """Rows of (instruction, text) -> float32 [rows, embedding_dim]."""


class BundleEmbedder:
    """One variant of a bundle on one engine, opened when the first text is not on disk yet."""

    def __init__(self, folder: Path, variant: str, engine: str, num_threads: int) -> None:
        self._folder, self._variant, self._engine, self._num_threads = folder, variant, engine, num_threads
        self._model: INSTRUCTOR | None = None
        manifest = Manifest.read(folder)
        parts = [file.sha256 for file in manifest.files(variant)] + [str(manifest.model.max_seq_length)]
        self.identity = f"{' '.join(parts)} {_of_engine(engine)}"

    def encode(self, rows: list[tuple[str, str]]) -> Float32:
        if self._model is None:
            self._model = INSTRUCTOR(
                self._folder,
                variant=self._variant,
                device="cpu",
                engine=self._engine,
                num_threads=self._num_threads,
            )
        return np.asarray(self._model.encode(rows), dtype=np.float32)


def _of_engine(engine: str) -> str:
    if engine != "native":
        return f"onnxruntime {version('onnxruntime')}"
    library = import_kernels()._library._name  # between two versions of the package the kernels change many times
    return hashlib.sha256(Path(library).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Column:
    """A column of the table: a named embedder, and the folder that keeps its vectors."""

    name: str
    embedder: Embedder
    cache: Path

    def vectors(self, instruction: str, texts: Sequence[str], label: str) -> Float32:
        """Vectors of the texts, float32 [texts, dim]; equal texts are embedded once.

        A block of texts that was embedded before is read from disk, so that a run that was killed goes on.

        Args:
            label: what the progress bar calls it.
        """
        distinct = list(dict.fromkeys(texts))
        blocks = []
        with tqdm(total=len(distinct), desc=f"{label}, {self.name}", unit="text", delay=0.5) as progress:
            for first in range(0, len(distinct), BLOCK):
                block = distinct[first : first + BLOCK]
                blocks.append(self._block(instruction, block))
                progress.update(len(block))
        place = {text: index for index, text in enumerate(distinct)}
        return np.concatenate(blocks)[[place[text] for text in texts]]

    def _block(self, instruction: str, texts: list[str]) -> Float32:
        digest = hashlib.sha256()
        for part in (self.embedder.identity, instruction, *texts):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)  # the length keeps "ab", "c" from "a", "bc"
        path = self.cache / digest.hexdigest()[:2] / f"{digest.hexdigest()}.npy"
        if path.is_file():
            return np.asarray(np.load(path, allow_pickle=False))
        vectors = self.embedder.encode([(instruction, text) for text in texts])
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        with beside.open("wb") as stream:
            np.save(stream, vectors)
        beside.replace(path)
        return vectors

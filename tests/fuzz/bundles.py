"""Bundles: a small one, and manifests of odd values, files of odd kinds. models.py has the models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from instructor_onnx import INSTRUCTOR, BundleError
from instructor_onnx.bundle import describe_file
from instructor_onnx.loading import EMBEDDED

from tests.fuzz.commands import run_command
from tests.fuzz.kinds import missing
from tests.fuzz.mutate import PATHS, change_json, damage, odd_value, write_json
from tests.fuzz.verdict import Wrong

PIECES = 600  # of the vocabulary: the whole one takes most of the time of a case
ROWS = [["Represent the question: ", "What rises in the hills?"], ["", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab ﬁ ½ ﷺ"]]
MODEL, DATA = "int8/model.onnx", "int8/model.onnx.data"
HUGE = 700 << 20  # bytes of a file with a hole: more than a case may take


def small_bundle(folder: Path) -> Path:
    """The embedded bundle with the first pieces of its vocabulary, whole and consistent."""
    shutil.copytree(EMBEDDED["instructor-mini"], folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] = tokenizer["model"]["vocab"][:PIECES]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_manifest(folder, manifest)
    return folder


def write_manifest(folder: Path, manifest: Any) -> None:
    """Write the manifest with the sizes and hashes that its files have."""
    for file in [manifest["tokenizer"], *manifest["variants"]["int8"]["files"]]:
        if (folder / file["path"]).is_file():
            entry = describe_file(folder, file["path"])
            file["bytes"], file["sha256"] = entry.bytes, entry.sha256
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def sparse(path: Path) -> None:
    """A file of HUGE bytes that takes no place on the disk."""
    with path.open("wb") as file:
        file.truncate(HUGE)


def engines() -> list[str]:
    """Those that are installed."""
    return [name for name in ("native", "onnxruntime") if not missing(f"model-{name}")]


class Bundles:
    """What the kinds share: a bundle, its vectors, and a copy of links for every case."""

    documented: tuple[type[BaseException], ...] = (BundleError, ValueError, RuntimeError, FileNotFoundError)

    def __init__(self, folder: Path) -> None:
        self.original = small_bundle(folder / "original")
        self.folder = folder / "case"
        self.named = (str(self.folder), "row ")
        self.manifest = json.loads((self.original / "manifest.json").read_text(encoding="utf-8"))
        self.known = {engine: self._encode(self.original, engine).tobytes() for engine in engines()}

    def close(self) -> None:
        """Nothing runs."""

    def fresh(self) -> None:
        """Links to the original's files: a case puts new files in their place, and never writes into them."""
        if self.folder.exists():
            for path in self.folder.rglob("*"):
                if not path.is_symlink():
                    path.chmod(0o700)
            shutil.rmtree(self.folder)
        shutil.copytree(self.original, self.folder, copy_function=os.link)

    def replace(self, relative: str, contents: bytes) -> None:
        """Put a new file in the place of a link."""
        path = self.folder / relative
        path.unlink(missing_ok=True)
        path.write_bytes(contents)

    def opened(self, engine: str) -> bool:
        """Open the case; whether its vectors are the known ones."""
        return bool(self._encode(self.folder, engine).tobytes() == self.known[engine])

    def _encode(self, folder: Path, engine: str) -> Any:
        model = INSTRUCTOR(folder, device="cpu", engine=engine, num_threads=1)
        vectors = model.encode(ROWS)
        if vectors.shape != (len(ROWS), model.get_sentence_embedding_dimension()) or vectors.dtype != np.float32:
            raise Wrong(f"vectors {vectors.shape} {vectors.dtype}")
        return vectors


class Manifests(Bundles):
    """Values of manifest.json, its text, and files of other sizes and kinds than it says."""

    def attempt(self, rng: Random) -> bool:
        self.fresh()
        what = rng.randrange(10)
        if what < 6:
            self._write(write_json(change_json(rng, self.manifest)))
        elif what < 7:
            self._write(damage(rng, write_json(self.manifest)))
        elif what < 8:
            self._write(write_json(self._with_value(rng)))
        else:
            self._odd_file(rng)
        if rng.random() < 0.2:
            command = rng.choice((["info"], ["info", "--json"], ["check"]))
            return run_command([*command, str(self.folder)], self.named)
        return self.opened(rng.choice(list(self.known)))

    def _write(self, text: bytes) -> None:
        self.replace("manifest.json", text)

    def _with_value(self, rng: Random) -> Any:
        """A value where it matters most: the model's numbers, and the paths."""
        manifest = json.loads(json.dumps(self.manifest))
        if rng.random() < 0.6:
            manifest["model"][rng.choice(list(manifest["model"]))] = odd_value(rng)
        else:
            file = rng.choice([manifest["tokenizer"], *manifest["variants"]["int8"]["files"]])
            file["path"] = rng.choice((*PATHS, "int8", MODEL, DATA, "\ud83d", "manifest.json"))
        return manifest

    def _odd_file(self, rng: Random) -> None:
        path = self.folder / rng.choice(("manifest.json", "tokenizer.json", MODEL, DATA, "int8"))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        makers: tuple[Callable[[], object], ...] = (
            lambda: None,
            path.mkdir,
            lambda: os.mkfifo(path),
            lambda: path.symlink_to(path.name),
            lambda: path.symlink_to(self.original / path.name),
            lambda: path.symlink_to("/dev/zero"),
            lambda: path.write_bytes(b""),
            lambda: sparse(path),
            lambda: path.write_bytes(rng.randbytes(1000)),
        )
        rng.choice(makers)()
        if path.name != "manifest.json" and rng.random() < 0.7:
            self.list_sizes()

    def list_sizes(self) -> None:
        """Let the manifest say the sizes that the files have."""
        manifest = json.loads(json.dumps(self.manifest))
        for file in [manifest["tokenizer"], *manifest["variants"]["int8"]["files"]]:
            path = self.folder / file["path"]
            if path.is_file() and not path.is_symlink():
                file["bytes"] = path.stat().st_size
        self._write(write_json(manifest))

"""A sentence-transformers model as the teacher: texts → unit vectors, kept on disk."""

import json
import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from instructor_onnx import hub
from instructor_onnx.extras import pip_install
from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, brief, join

from instructor_onnx_training.files import write_atomically

MINIS_TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
MAX_TOKENS = 128  # what MINIS_TEACHER itself was trained with (its model card), and half the cost of its limit of 256
SHARD = 8_192  # texts a file: what a killed run loses at most
FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # of a hub repository: no pickles, no code
# A module names a class, which is imported: these read safetensors and run nothing that the model brings.
KINDS = ("Transformer", "Pooling", "Dense", "Normalize", "StaticEmbedding")
log = logging.getLogger(__name__)


class Teacher:
    """A model of sentence-transformers, whatever it is made of."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def load(cls, name_or_path: str) -> "Teacher":
        """Read a folder in the layout of sentence-transformers, or a Hugging Face id of one.

        Raises:
            FileNotFoundError: no such folder and no such id.
            CheckpointError: not such a model; or it would run code of its own, or has no safetensors.
            ImportError: sentence-transformers is not installed.
        """
        folder = hub.local_folder(name_or_path) or hub.download(name_or_path, FILES, hub.HubOptions())
        _check(CheckpointFolder(folder))
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(f"a teacher needs sentence-transformers ({error}): {pip_install('train')}") from error
        try:
            model = SentenceTransformer(str(folder), local_files_only=True, model_kwargs={"use_safetensors": True})
        except Exception as error:  # of four libraries, each with its own
            raise CheckpointError(
                f"{folder}: sentence-transformers cannot read it ({brief(error)}). Copy it again, whole."
            ) from None
        model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
        return cls(model)

    def encode(self, texts: list[str], *, progress: bool = False) -> np.ndarray:
        """float32 [n, dim], unit rows."""
        vectors = self._model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=progress)
        return np.asarray(vectors, dtype=np.float32)


def _check(folder: CheckpointFolder) -> None:
    """
    Raises:
        CheckpointError: a module is not one of KINDS, or lies elsewhere, or its weights are a pickle.
    """
    path, modules = folder.root / "modules.json", folder.json("modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(f"{path}: expected a list of objects, a module each. Copy the checkpoint again, whole.")
    for module in modules:
        kind, where = str(module.get("type")), str(module.get("path"))
        if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in KINDS:
            raise CheckpointError(
                f"{path}: found a module of type {brief(kind)}, expected {', '.join(KINDS)} of sentence_transformers; "
                "other code is not run. Name another teacher."
            )
        folder.find(join(where, "config.json"), named_by="modules.json")  # refuses a path out of the folder
        files = [file.name for file in (folder.root / where).glob("*")]
        if any(name.endswith(".bin") for name in files) and not any(name.endswith(".safetensors") for name in files):
            raise CheckpointError(
                f"{folder.root / where}: its weights are a pickle, expected safetensors. "
                "Load and save the model with a current sentence-transformers, where you trust it."
            )


def teach(texts: list[str], folder: Path, teacher: str, *, progress: bool = True) -> None:
    """Write `texts.json`, `teacher.json` and `vectors-NNN.npy` (float16 [<= 8192, dim]) to `folder`.

    Shards already there are kept.

    Args:
        teacher: as `Teacher.load` takes it.
    """
    for name, content, found in (("texts", texts, "other texts"), ("teacher", teacher, "another teacher")):
        path = folder / f"{name}.json"
        if path.exists() and json.loads(path.read_text("utf-8")) != content:
            raise ValueError(f"{folder} holds vectors of {found}: remove it or name another folder")
        write_atomically(path, json.dumps(content, ensure_ascii=False).encode())
    loaded: Teacher | None = None
    for number, start in enumerate(range(0, len(texts), SHARD)):
        path = folder / f"vectors-{number:03d}.npy"
        if path.exists():
            continue
        loaded = loaded or Teacher.load(teacher)
        vectors = loaded.encode(texts[start : start + SHARD], progress=progress)
        write_atomically(path, _npy(vectors.astype(np.float16)))
        log.info("teacher: %d of %d texts", min(start + SHARD, len(texts)), len(texts))


def taught(folder: Path) -> tuple[list[str], np.ndarray]:
    """What `teach` wrote: texts and vectors, float16 [n, dim]. A run cut short gives the shards it finished."""
    listing = folder / "texts.json"
    shards = sorted(folder.glob("vectors-*.npy"))
    if not listing.is_file() or not shards:
        raise FileNotFoundError(f"{folder} holds no teacher vectors: make them with `teach --out {folder}`")
    vectors = np.concatenate([np.load(shard) for shard in shards])
    return json.loads(listing.read_text("utf-8"))[: len(vectors)], vectors


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()

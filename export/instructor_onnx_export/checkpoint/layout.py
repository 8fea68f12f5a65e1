"""`modules.json` of a sentence-transformers checkpoint -> which modules it chains, and where they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from instructor_onnx_export.checkpoint.folder import CheckpointError, CheckpointFolder, brief, join, shown

MODULE_TYPES = {  # last part of a module's dotted type -> what it is
    "Transformer": "Transformer",
    "INSTRUCTOR_Transformer": "Transformer",
    "Pooling": "Pooling",
    "INSTRUCTOR_Pooling": "Pooling",
    "Dense": "Dense",
    "Normalize": "Normalize",
}
ORDERS = [
    ["Transformer", "Pooling"],
    ["Transformer", "Pooling", "Dense"],
    ["Transformer", "Pooling", "Normalize"],
    ["Transformer", "Pooling", "Dense", "Normalize"],
]


@dataclass(frozen=True)
class Layout:
    """Where the modules of a sentence-transformers checkpoint lie: folders relative to it."""

    transformer: str
    dense: str | None
    normalize: bool


def read_layout(folder: CheckpointFolder) -> Layout:
    """Read `modules.json`.

    Raises:
        CheckpointError: not there, or no chain of Transformer, mean Pooling, optional Dense, optional Normalize.
    """
    path = folder.root / "modules.json"
    if folder.find("modules.json") is None:
        if folder.find("manifest.json") is not None:
            raise CheckpointError(f"{folder.root}: is a bundle already; export reads the checkpoint it came from.")
        raise CheckpointError(
            f"{path}: missing. Export needs a sentence-transformers checkpoint (modules.json, 1_Pooling, ...); "
            "a plain T5 does not say how its tokens become one vector."
        )
    modules = folder.json("modules.json")
    if not isinstance(modules, list):
        raise CheckpointError(f"{path}: expected a list, found {type(modules).__name__}.")
    kinds, paths = [], []
    for index, module in enumerate(modules[: len(ORDERS[-1]) + 1]):  # one too many is wrong enough
        kind, where = _read_module(module, index, f"{path}: module {index}")
        kinds.append(kind)
        paths.append(where)
        folder.find(join(where, "config.json"), named_by="modules.json")  # refuses a path out of the folder
    if kinds not in ORDERS:
        raise CheckpointError(
            f"{path}: the modules are {', '.join(kinds) or 'none'}; "
            "expected Transformer, Pooling, then optionally Dense, then optionally Normalize."
        )
    _check_pooling(folder, paths[1])
    return Layout(
        transformer=paths[0],
        dense=paths[2] if "Dense" in kinds else None,
        normalize="Normalize" in kinds,
    )


def _read_module(module: Any, index: int, where: str) -> tuple[str, str]:
    """Kind and folder of one entry of modules.json."""
    if not isinstance(module, dict) or not all(isinstance(module.get(key), str) for key in ("type", "path")):
        raise CheckpointError(f"{where}: expected an object with the strings 'type' and 'path'.")
    if module.get("idx", index) != index:
        raise CheckpointError(
            f"{where}: idx is {shown(module['idx'])}, expected {index}; the modules are out of order."
        )
    name = module["type"].rpartition(".")[2]
    if name == "instructor":  # InstructorEmbedding's save() writes its module; the class is in the folder's name
        name = re.sub(r"^\d+_", "", module["path"]) or "Transformer"
    if name not in MODULE_TYPES:
        raise CheckpointError(
            f"{where}: unknown type {shown(module['type'])}; known are Transformer, Pooling, Dense and Normalize."
        )
    return MODULE_TYPES[name], module["path"]


def _check_pooling(folder: CheckpointFolder, path: str) -> None:
    """Only the mean. Its width is not read: published INSTRUCTORs say 768 on every size."""
    name = join(path, "config.json")
    data = folder.object(name)
    modes = [key for key, value in data.items() if key.startswith("pooling_mode_") and value is not False]
    if "pooling_mode" in data:  # how newer sentence-transformers write it
        mode = data["pooling_mode"]
        modes.append(f"pooling_mode {mode if isinstance(mode, str) else shown(mode)}")
    if modes not in (["pooling_mode_mean_tokens"], ["pooling_mode mean"], ["pooling_mode ['mean']"]):
        raise CheckpointError(
            f"{folder.root / name}: pools by {brief(', '.join(modes)) or 'nothing'}; only the mean can be exported."
        )

"""A local folder, or a Hugging Face id -> a local folder. The only module that knows huggingface_hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from instructor_onnx.extras import pip_install

# "name" or "organisation/name", as the hub allows them.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class HubOptions:
    """How to reach the hub; the names and defaults are huggingface_hub's."""

    revision: str | None = None  # branch, tag or commit
    token: str | bool | None = None  # None: the one of `hf auth login`, if any
    cache_folder: str | os.PathLike[str] | None = None  # None: HF_HOME decides
    local_files_only: bool = False  # use what is in the cache, never the network


def local_folder(name_or_path: str | os.PathLike[str]) -> Path | None:
    """The folder that `name_or_path` names, or None where it is a hub id.

    Raises:
        FileNotFoundError: it is no folder, and cannot be a hub id either.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise NotADirectoryError(f"{path}: is a file; expected a folder.")
    if not HUB_ID.fullmatch(str(name_or_path)) or ".." in str(name_or_path):
        raise FileNotFoundError(f"{name_or_path}: no such folder (and not a Hugging Face id).")
    return None


def download(repo_id: str, patterns: list[str], options: HubOptions) -> Path:
    """Download the files of `repo_id` that match `patterns` into the cache; the snapshot's folder.

    Raises:
        ImportError: huggingface_hub is not installed.
        FileNotFoundError: no such repository, revision or cached copy; the message says which.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"{repo_id!r} is not a local folder; to load it from the Hugging Face hub: {pip_install('hub')}"
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            repo_id,
            allow_patterns=patterns,
            revision=options.revision,
            token=options.token,
            cache_dir=options.cache_folder,
            local_files_only=options.local_files_only,
        )
    except Exception as error:  # among them those of the HTTP library, another one in each huggingface_hub
        raise FileNotFoundError(
            f"{repo_id!r} is neither a local folder nor to be had from the Hugging Face hub: {error}"
        ) from error
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{repo_id!r}: the repository has none of {', '.join(patterns)}.")
    return Path(folder)

"""The files of a checkpoint folder: found, kept inside it, and remembered for their hashes.

A checkpoint may come from a stranger. This is the only way to its files: a path that climbs or links out of
the folder is refused, whoever named it. Knows nothing about what the files mean.
"""

from __future__ import annotations

import json
import reprlib
from pathlib import Path, PurePosixPath
from typing import Any

from instructor_onnx.bundle import BundleError, InstructorOnnxError, resolve_inside, sha256
from instructor_onnx.fields import MOST_TEXT, UNPRINTABLE

MOST_BYTES = 64 << 20  # of a file that is read whole; a large vocabulary, mT5's, has 16 million
_SHORT = reprlib.Repr()  # cuts in depth too: repr() itself fails on lists in lists that JSON may still hold
_SHORT.maxstring = _SHORT.maxother = 80


class CheckpointError(InstructorOnnxError):
    """A checkpoint that cannot be exported; the message names what is wrong, where, and the fix."""


class CheckpointFolder:
    """A local checkpoint folder. Paths are relative to it, with forward slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._used: dict[str, Path] = {}

    def find(self, relative: str, *, named_by: str | None = None) -> Path | None:
        """The file, or None where there is none. `named_by` is the file that asked for it, for the error.

        Raises:
            CheckpointError: the path leaves the folder, or what is there is no regular file.
        """
        if len(relative) > MOST_TEXT or UNPRINTABLE.search(relative):
            raise CheckpointError(f"{self.root}: names a file {shown(relative)} in it. Do not trust this folder.")
        try:
            path = resolve_inside(self.root, relative, named_by=self.root / (named_by or relative))
            if not path.is_file():
                if path.exists():  # opened, a pipe would wait for ever
                    raise CheckpointError(f"{path}: is no regular file. Copy the checkpoint again, whole.")
                return None
        except (BundleError, OSError) as error:
            raise CheckpointError(brief(error)) from None
        self._used[str(PurePosixPath(relative))] = path
        return path

    def file(self, relative: str, *, named_by: str | None = None) -> Path:
        """The file, which must be there.

        Raises:
            CheckpointError: missing, or the path leaves the folder.
        """
        path = self.find(relative, named_by=named_by)
        if path is None:
            asked = f" ({named_by} names it)" if named_by else ""
            raise CheckpointError(f"{self.root / relative}: missing{asked}. Copy the checkpoint again, whole.")
        return path

    def contents(self, relative: str) -> bytes:
        """The bytes of a file that is read whole, which must be there.

        Raises:
            CheckpointError: missing, unreadable, or far too large to be a configuration or a vocabulary.
        """
        path = self.file(relative)
        try:
            with path.open("rb") as stream:
                contents = stream.read(MOST_BYTES + 1)
        except OSError as error:
            raise CheckpointError(brief(error)) from None
        if len(contents) > MOST_BYTES:
            raise CheckpointError(f"{path}: more than {MOST_BYTES:,} bytes, which no configuration or vocabulary has.")
        return contents

    def json(self, relative: str) -> Any:
        """The contents of a JSON file, which must be there.

        Raises:
            CheckpointError: missing, too large, or not JSON.
        """
        contents = self.contents(relative)
        try:
            return json.loads(contents.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{self.root / relative}: not valid JSON ({brief(error)}). Copy the checkpoint again."
            ) from None

    def object(self, relative: str) -> dict[str, Any]:
        """The contents of a JSON file that holds an object.

        Raises:
            CheckpointError: as `json`, or something else than an object.
        """
        data = self.json(relative)
        if not isinstance(data, dict):
            raise CheckpointError(f"{self.root / relative}: expected an object, found {type(data).__name__}.")
        return data

    def hashes(self) -> dict[str, str]:
        """sha256 of every file that was used, by relative path."""
        return {relative: sha256(path) for relative, path in sorted(self._used.items())}


def shown(value: object) -> str:
    """A value of a stranger's file as an error names it: escaped, on one line, cut in length and depth."""
    return f"{_SHORT.repr(value):.160}"


def brief(text: object) -> str:
    """Names of a stranger's file, or an error that may quote them, on one printable line of bounded length."""
    line = UNPRINTABLE.sub(" ", str(text))
    return line if len(line) <= MOST_TEXT else f"{line[:200]} ..."


def join(folder: str, name: str) -> str:
    """`folder/name`; an absolute `name` stays absolute, for `CheckpointFolder` to refuse."""
    return str(PurePosixPath(folder) / name)

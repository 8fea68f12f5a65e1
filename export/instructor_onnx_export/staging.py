"""A folder that is complete or absent: written beside its place, put there at once. Knows a bundle by its manifest.

While an export to OUTPUT works, there lie beside it

    .OUTPUT.lock                  held by the export, removed at its end
    .OUTPUT.partial-<hex>         what is being written; once exchanged, what was there before
    .OUTPUT.partial-<hex>-old     what was there before, for a moment, where two names cannot be exchanged

Whoever holds the lock is the only one to write there, so anything else of these names is of an export that was killed.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from instructor_onnx import lock
from instructor_onnx.bundle import MANIFEST, InstructorOnnxError
from instructor_onnx.files.resume import sync_folder

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


class ExportError(InstructorOnnxError):
    """An export that cannot start or may not finish; nothing is written."""


@contextmanager
def staged(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder that takes the place of `target` if the block succeeds, and is removed if it does not.

    Killed at any moment, this leaves what was there before or what was written, whole; the next call removes the rest.
    Where the system cannot exchange two names, a kill may leave neither: the next call puts back what was there.

    Args:
        target: a link to a folder is followed.
        overwrite: replace a bundle; nothing else is ever replaced but an empty folder.

    Raises:
        ExportError: there is something at `target`, before the block or after it; or another export writes there.
    """
    try:
        place = _followed(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        held = _locked(place)
    except OSError as error:
        raise ExportError(f"{target}: cannot be written there ({error.strerror}); name another folder.") from None
    try:
        _clear(place)
        _check_free(place, overwrite)
        folder = place.with_name(f".{place.name}.partial-{secrets.token_hex(8)}")
        folder.mkdir()
        try:
            yield folder
            _check_free(place, overwrite)  # anew: hours may have passed
            _put(folder, place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release(_lock_file(place), held)


def _followed(target: Path) -> Path:
    """Where `target` leads, absolute."""
    if target.is_symlink() and not target.is_dir():
        raise ExportError(f"{target}: a link that leads to no folder; remove it, or name another folder.")
    place = Path(os.path.realpath(target))
    if os.path.ismount(place):  # nothing can be renamed to it
        raise ExportError(f"{target}: a file system is mounted there; name a folder in it.")
    return place


def _check_free(place: Path, overwrite: bool) -> None:
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not (place / MANIFEST).is_file():
        raise ExportError(f"{place}: exists and is not a bundle; name another folder.")
    if not overwrite:
        raise ExportError(f"{place}: there is a bundle already; name another folder, or --overwrite.")


def _lock_file(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


def _locked(place: Path) -> int:
    try:
        return lock.acquire(_lock_file(place))
    except BlockingIOError:
        raise ExportError(f"{place}: another export writes there. Wait for it, or name another folder.") from None
    except lock.CannotLockError as error:
        raise ExportError(
            f"{place}: the file system cannot lock files ({error.strerror}). Export to a local folder, and move it."
        ) from None


def _clear(place: Path) -> None:
    """Remove what killed exports have left; put back a bundle that was about to be replaced."""
    name = re.compile(rf"\.{re.escape(place.name)}\.partial-[0-9a-f]+(-old)?")
    for left in [path for path in place.parent.iterdir() if name.fullmatch(path.name)]:
        if left.name.endswith("-old") and not place.exists():
            left.rename(place)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _put(folder: Path, place: Path) -> None:
    """Give `folder` the name `place`; what was there bears the name `folder` afterwards."""
    for path in (*folder.rglob("*"), folder):
        sync_folder(path)  # or a power failure could leave the name without the contents
    if not place.exists():
        folder.rename(place)
    elif not _exchange(folder, place):
        old = folder.with_name(f"{folder.name}-old")
        place.rename(old)
        try:
            folder.rename(place)
        except OSError:
            old.rename(place)
            raise
        old.rename(folder)
    sync_folder(place.parent)


def _exchange(folder: Path, place: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None).renameat2  # glibc 2.28
    except AttributeError:
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(folder), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE) == 0)

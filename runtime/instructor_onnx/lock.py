"""A file locked by the system: a lock that ends with its process, however that dies. Knows nothing of its use."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


class CannotLockError(OSError):
    """A file system that does not lock files."""


def acquire(path: Path) -> int:
    """Lock the file of that name, made if need be: a descriptor for `release`.

    Raises:
        BlockingIOError: another process holds it.
        CannotLockError: the file system cannot lock.
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_lock(descriptor)
            # The file that bears the name, not one that its owner has removed since it was opened.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # as where another file bears the name: try again
        except (BlockingIOError, PermissionError) as error:  # the latter on Windows
            os.close(descriptor)
            raise BlockingIOError(*error.args) from None
        except OSError as error:
            os.close(descriptor)
            raise CannotLockError(*error.args) from None
        os.close(descriptor)


def release(path: Path, descriptor: int) -> None:
    """Unlock the file and remove it."""
    if os.name == "posix":
        path.unlink(missing_ok=True)  # while it is held: afterwards it may be another's
    os.close(descriptor)
    if os.name != "posix":
        with suppress(OSError):  # Windows removes no open file, so not another's either
            path.unlink()


def _try_lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

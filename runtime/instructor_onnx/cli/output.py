"""What the commands print: data and reports on stdout; progress, warnings and errors on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping

from tqdm import tqdm

from instructor_onnx.bundle import Manifest, Verification, size_of


def to_stdout(text: str) -> None:
    if sys.stdout is None:
        raise ValueError("stdout: is closed, and the answer goes there. Send it to a file: > FILE.")
    # a path may hold bytes, and a terminal's encoding lack letters
    sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding) + "\n")
    sys.stdout.flush()


def to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")


def error_to_stderr(text: str) -> None:
    """One line, whatever `text` has."""
    to_stderr("instructor-onnx: " + " ".join(text.split()))


@contextlib.contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Show what the packages log as a warning, above a progress bar."""
    handler = _Warnings(logging.WARNING)
    packages = [logging.getLogger(name) for name in ("instructor_onnx", "instructor_onnx_export")]
    for package in packages:
        package.addHandler(handler)
    try:
        yield
    finally:
        for package in packages:
            package.removeHandler(handler)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"instructor-onnx: warning: {record.getMessage()}", file=sys.stderr)


def replace_closed_streams() -> None:
    """Put /dev/null in the place of each standard stream that is closed: the next file to be opened would take it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", errors="replace")  # noqa: PTH123, SIM115 (for as long as the process lives)


def model_line(manifest: Manifest) -> str:
    return f"{manifest.model.name}, variants {', '.join(manifest.variants)}"


def variant_table(manifest: Manifest, verified: Mapping[str, Mapping[str, Verification]]) -> str:
    """Size of each variant, and the figures of each engine on it, against the checkpoint in torch."""
    figures = ("max abs diff", "cosine mean", "1st pct", "minimum", "same in any batch")
    lines: list[tuple[str, ...]] = [("variant", "size", "engine", *figures)]
    processors = set()
    for name, variant in manifest.variants.items():
        size = size_of(variant.files)
        engines = verified.get(name, {}).values()
        if not engines:
            lines.append((name, size, "not verified", *[""] * len(figures)))
        for found in engines:
            cosines = (f"{cosine:.6f}" for cosine in (found.cosine_mean, found.cosine_p1, found.cosine_min))
            same = "yes" if found.batch_invariant else "no"
            lines.append((name, size, found.engine, f"{found.max_abs_diff:.1e}", *cosines, same))
            processors.add(found.processor)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*table, *(f"measured on {name}" for name in sorted(processors))])

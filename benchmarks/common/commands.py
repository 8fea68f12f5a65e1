"""What every `python -m benchmarks.NAME` has alike: its arguments, and its mistakes in a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from instructor_onnx.bundle import InstructorOnnxError


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Its arguments begin here: the command is called by its name, and its help is the module's text as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, help="of the CPU; default: what the machine allows")


def add_out(parser: argparse.ArgumentParser, stem: str) -> None:
    """Where `results.own_file` puts the results, unless told."""
    parser.add_argument("--out", type=Path, help=f"results file; default: benchmarks/results/{stem}-<processor>.json")


def add_page(parser: argparse.ArgumentParser, option: str, block: str, gets: str = "the tables") -> None:
    """A page that `rewrite_block` writes into."""
    parser.add_argument(option, type=Path, help=f"a page whose block <!-- {block}:begin --> ... gets {gets}")


def names(text: str) -> list[str]:
    """An argument's names, with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    work: Callable[[argparse.Namespace], int],
    *errors: type[Exception],
) -> int:
    """The exit code of `work`; 1 after an error, which is said on stderr.

    Args:
        errors: those of a library of this command, beside the usual ones.
    """
    options = parser.parse_args(arguments)
    expected: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        ImportError,
        RuntimeError,
        InstructorOnnxError,
        *errors,
    )
    try:
        return work(options)
    except expected as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return 1

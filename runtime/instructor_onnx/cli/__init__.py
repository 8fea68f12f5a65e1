"""The `instructor-onnx` command: arguments in, one of the library's functions called, its answer printed.

Each command is a module: its help, its flags, its run.
stdout carries data and reports, stderr progress, warnings and errors. Exit codes: 0 done, 1 failed (one line
says why and what to do), 2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from instructor_onnx import __version__
from instructor_onnx.bundle import InstructorOnnxError
from instructor_onnx.cli import bench, check, encode, export, info, instructions, output, serve

EXPECTED_ERRORS = (InstructorOnnxError, OSError, ValueError, TypeError, ImportError, RuntimeError, MemoryError)

HELP = """\
examples:
  instructor-onnx export hkunlp/instructor-base my-bundle          once, where PyTorch is
  instructor-onnx encode my-bundle texts.jsonl -o vectors.npy      anywhere

`instructor-onnx COMMAND --help` explains a command. Exit codes: 0 done, 1 failed (one line on stderr says why and
what to do), 2 bad usage, 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code.
    """
    output.replace_closed_streams()
    args = _parser().parse_args(argv)
    try:
        with output.warnings_to_stderr(), _terminated_as_interrupted():
            args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        output.error_to_stderr(f"interrupted. {_resume_hint(args, same=True) or 'Nothing was written.'}")
        return 130
    except BrokenPipeError:
        # The reader of stdout has left, as `| head` does; what Python would flush at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if args.debug or not isinstance(error, EXPECTED_ERRORS):
            raise
        # What the system or the memory refused may be granted the next time; our own errors say what to change first.
        same = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        said = _as_options(str(error), args) or type(error).__name__
        output.error_to_stderr(f"error: {said} {_resume_hint(args, same=same)}")
        return 1


def _parser() -> argparse.ArgumentParser:
    overview = argparse.ArgumentParser(
        prog="instructor-onnx",
        description="INSTRUCTOR text embeddings: export a checkpoint once, embed anywhere without PyTorch.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    overview.add_argument("--version", action="version", version=f"instructor-onnx {__version__}")
    commands = overview.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (export.add, encode.add, check.add, info.add, instructions.add, serve.add, bench.add):
        add(commands)
    return overview


def _as_options(message: str, args: argparse.Namespace) -> str:
    """An error of the library in the command's words: variant='int8' is --variant int8, where there is that option."""

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        return f"--{name} {value}" if hasattr(args, name) else found.group()

    return re.sub(r"(?<![^\s(`])(variant|device|engine|by)='([^']*)'", option, message)


def _resume_hint(args: argparse.Namespace, *, same: bool) -> str:
    return encode.resume_hint(args, same=same) if args.command == "encode" else ""


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that what is half-written is removed."""
    if threading.current_thread() is not threading.main_thread():  # only there may a handler be set
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

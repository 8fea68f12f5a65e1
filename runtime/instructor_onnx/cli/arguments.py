"""The arguments that several commands take, what is made of them, and the types of all."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from instructor_onnx.engines.cpus import MOST_THREADS
from instructor_onnx.engines.engine import ENGINES
from instructor_onnx.inputs import is_unicode
from instructor_onnx.model import INSTRUCTOR

MOST = 10**12  # of any other number: what follows it in numpy and the standard library stays far from an overflow
MOST_DIGITS = 20  # int() raises on some thousands

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def new_command(
    commands: Commands, name: str, summary: str, explanation: str, run: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    """A parser whose result has `run` to be called with it."""
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=explanation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def add_model(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    model = command.add_argument_group("model")
    model.add_argument("--variant", metavar="NAME", help="fp32, int8, ... (default: the most exact that runs well)")
    model.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: cuda where it works, else cpu)")
    model.add_argument(
        "--engine",
        choices=ENGINES,
        help="what computes (default: native for fp32, int8 and int4 on the CPU, where it passes its self-check)",
    )
    model.add_argument("--threads", type=threads, metavar="N", help="CPU threads (default: all this process may use)")
    model.add_argument(
        "--no-cuda-graphs",
        dest="cuda_graphs",
        action="store_false",
        help="on a GPU, do not record and replay small runs, which spares a text alone many launches",
    )
    model.add_argument(
        "--max-seq-length",
        type=positive,
        metavar="N",
        help="tokens kept of instruction and text together (default: the model's, 512 as published)",
    )
    return model


def open_model(args: argparse.Namespace, *, token_budget: int | None = None) -> INSTRUCTOR:
    """Load what the arguments of `add_model` and `add_hub` say."""
    model = INSTRUCTOR(
        args.bundle,
        variant=args.variant,
        device=args.device,
        engine=args.engine,
        num_threads=args.threads,
        token_budget=token_budget,
        cuda_graphs=args.cuda_graphs,
        **hub_options(args),
    )
    if args.max_seq_length is not None:
        model.max_seq_length = args.max_seq_length
    return model


def add_hub(command: argparse.ArgumentParser, what: str) -> None:
    hub = command.add_argument_group(f"Hugging Face hub (where {what} is an id)")
    hub.add_argument("--revision", metavar="REV", help="a branch, tag or commit (default: main)")
    hub.add_argument("--token", help="for a private repository (default: the one of `hf auth login`)")
    hub.add_argument("--cache-folder", type=Path, metavar="DIR", help="default: as HF_HOME says")
    hub.add_argument("--offline", action="store_true", help="take it from the cache, never from the network")


def hub_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_hub`, by the library's names."""
    return {
        "revision": args.revision,
        "token": args.token,
        "cache_folder": args.cache_folder,
        "local_files_only": args.offline,
    }


def add_min_cosine(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--min-cosine",
        type=cosine,
        metavar="X",
        help="refuse a quantised variant with a vector of lower cosine to PyTorch's "
        "(default: 0.99 for int8, 0.97 for int4, 0.9995 for fp16 and bf16)",
    )


def names(value: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in value.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"found {value!r}, expected names with commas between, as fp32,int8")
    return found


def positive(value: str) -> int:
    return _from_one(value, MOST)


def threads(value: str) -> int:
    return _from_one(value, MOST_THREADS)


def _from_one(value: str, most: int) -> int:
    if not 1 <= _whole(value) <= most:
        raise argparse.ArgumentTypeError(f"found {value!r:.60}, expected a whole number from 1 to {most:,}")
    return int(value)


def seed(value: str) -> int:
    if not 0 <= _whole(value) <= MOST:
        raise argparse.ArgumentTypeError(f"found {value!r:.60}, expected a whole number from 0 to {MOST:,}")
    return int(value)


def port(value: str) -> int:
    if not 0 <= _whole(value) <= 65535:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected a port from 0 (any free one) to 65535")
    return int(value)


def seconds(value: str) -> float:
    number = _number(value)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected seconds, more than 0 and at most 3600")
    return number


def cosine(value: str) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"found {value!r}, expected a number from 0 to 1")
    return number


def text(value: str) -> str:
    if not is_unicode(value):
        raise argparse.ArgumentTypeError(f"found {value!r:.60}, expected a text in UTF-8")
    return value


def _whole(value: str) -> int:
    """-1, which no argument takes, where it is no whole number."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS else -1


def _number(value: str) -> float:
    """NaN, which lies in no range, where it is no number."""
    try:
        return float(value)
    except ValueError:
        return math.nan

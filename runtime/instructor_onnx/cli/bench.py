"""`instructor-onnx bench`: how fast this machine runs a bundle."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from instructor_onnx.bench import measure, report
from instructor_onnx.bundle import BundleError, Manifest
from instructor_onnx.cli import arguments, output
from instructor_onnx.loading import embedded

HELP = """\
Times `INSTRUCTOR.encode`, from texts to vectors, on the CPU: a single query by length, calls of several rows, mixed
lengths by token budget and by threads; each variant in a process of its own, with its memory. Then says what limits
it here, and which settings were the fastest. Takes about a minute a variant; other work on the machine shows. What
cannot run here, as an engine that is not installed, is left out and named.

examples:
  instructor-onnx bench my-bundle
  instructor-onnx bench my-bundle --variants int8 --threads 4 --json figures.json
  instructor-onnx bench instructor-mini --seconds 0.2                a quick look
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "bench", "how fast is a bundle here, and with which settings", HELP, run)
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument(
        "--variants", type=arguments.names, metavar="LIST", help="with commas between (default: all for CPUs)"
    )
    command.add_argument(
        "--threads", type=arguments.threads, metavar="N", help="most CPU threads (default: all it may use)"
    )
    command.add_argument(
        "--seconds",
        type=arguments.seconds,
        default=2.0,
        metavar="S",
        help="of each measurement, about 20 a variant (default: 2)",
    )
    command.add_argument("--json", type=Path, metavar="PATH", help="write every figure there, too")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")


def run(args: argparse.Namespace) -> None:
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    for_cpu = [name for name, variant in manifest.variants.items() if "cpu" in variant.devices]
    if args.json is not None and not args.json.parent.is_dir():
        raise ValueError(f"--json {args.json}: there is no folder {args.json.parent}.")
    if not (variants := list(args.variants or for_cpu)):
        raise BundleError(f"{folder}: has no variant for CPUs (it has {', '.join(manifest.variants)}). Export one.")
    found = measure.measure_bundle(
        folder, variants=variants, num_threads=args.threads, seconds=args.seconds, show_progress=not args.quiet
    )
    output.to_stdout(f"{args.bundle}: {output.model_line(manifest)}\n\n{report.tables(found)}")
    if args.json is not None:
        figures = dataclasses.asdict(found)
        args.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

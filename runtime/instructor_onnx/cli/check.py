"""`instructor-onnx check`: is a bundle whole, does it run, is it right?"""

from __future__ import annotations

import argparse
from pathlib import Path

from instructor_onnx.bundle import Manifest
from instructor_onnx.check import check_bundle
from instructor_onnx.cli import arguments, output
from instructor_onnx.loading import embedded

HELP = """\
Checks the size and sha256 of every file, and that the tokenizer and every variant open and embed a text.
--against also compares the vectors with those of the checkpoint in PyTorch, as the export did; this needs
pip install 'instructor-onnx[export]'. Exit code 1 where something is wrong, or this machine can open no variant.

examples:
  instructor-onnx check my-bundle
  instructor-onnx check my-bundle --against hkunlp/instructor-large
  instructor-onnx check my-bundle --against ./my-checkpoint --record      fp16, exported where there was no GPU
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "check", "is a bundle whole, does it run, is it right", HELP, run)
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument("--against", metavar="CHECKPOINT", help="a folder or a Hugging Face id: verify again")
    command.add_argument(
        "--record", action="store_true", help="write the figures of --against into the bundle's manifest and model card"
    )
    arguments.add_min_cosine(command)
    command.add_argument("--threads", type=arguments.threads, metavar="N", help="CPU threads of --against")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    arguments.add_hub(command, "CHECKPOINT")


def run(args: argparse.Namespace) -> None:
    if args.record and args.against is None:
        raise ValueError("--record: there are no figures without --against CHECKPOINT; name the checkpoint.")
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    output.to_stdout(f"{folder}: {output.model_line(manifest)}")
    for part in check_bundle(folder):
        output.to_stdout(f"{'ok' if part.passed else '--'}  {part.said}")
    if args.against is not None:
        import instructor_onnx_export  # back to the exporter, as in export.py

        found = instructor_onnx_export.verify_bundle(
            folder,
            args.against,
            min_cosine=args.min_cosine,
            record=args.record,
            num_threads=args.threads,
            show_progress=not args.quiet,
            **arguments.hub_options(args),
        )
        output.to_stdout(f"ok  against {args.against}:")
        output.to_stdout(output.variant_table(manifest, found))

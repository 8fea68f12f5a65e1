"""`instructor-onnx export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from instructor_onnx.bundle import BundleError
from instructor_onnx.cli import arguments, output

HELP = """\
Reads a checkpoint of the INSTRUCTOR family (also GTR-T5 and Sentence-T5), writes OUT beside itself, opens it
through the runtime, on every engine that this machine has, compares its vectors with PyTorch's, and only then gives
it its name: an export that fails or is interrupted leaves nothing. A variant that fails on every engine is left out,
with a warning and exit code 1; the others are written.
Needs pip install 'instructor-onnx[export]'; using the bundle does not.

variants:
  fp32   as exact as the checkpoint: left out where a number is more than 1e-5 off
  int8   about a quarter of the size, and faster on CPUs; left out below --min-cosine
  int4   about a sixth of the size, at int8's speed on the native kernels; likewise
  fp16   for NVIDIA GPUs: half of the size; residuals, norms, softmax and pooling stay fp32, and no text can overflow it
  bf16   for NVIDIA GPUs: likewise, three bits coarser; for a checkpoint whose range fp16 cannot hold
fp16 and bf16 are verified where there is a GPU. Elsewhere they are written unverified: the manifest, `info` and the
runtime say so, and `instructor-onnx check OUT --against CHECKPOINT --record` verifies them later.

examples:
  instructor-onnx export hkunlp/instructor-large my-bundle
  instructor-onnx export ./my-checkpoint my-bundle --variants int8 --min-cosine 0.995
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "export", "turn a checkpoint into a verified bundle", HELP, run)
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a Hugging Face id")
    command.add_argument("out", metavar="OUT", type=Path, help="the bundle's folder, made here")
    command.add_argument(
        "--variants",
        type=arguments.names,
        default=("fp32", "int8"),
        metavar="LIST",
        help="which models to write, with commas between: fp32, int8, int4 (the smallest file), fp16, bf16 (for GPUs) "
        "(default: fp32,int8)",
    )
    arguments.add_min_cosine(command)
    command.add_argument(
        "--calibrate",
        metavar="FILE",
        help="texts like yours that int8 and int4 are fitted to: JSON lines of [instruction, text] "
        "(default: the exporter's own)",
    )
    command.add_argument("--name", help="the model's name in the bundle (default: the checkpoint's)")
    command.add_argument("--overwrite", action="store_true", help="replace OUT, once the new bundle is verified")
    command.add_argument("--threads", type=arguments.threads, metavar="N", help="CPU threads of the verification")
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    arguments.add_hub(command, "CHECKPOINT")


def run(args: argparse.Namespace) -> None:
    # The one arrow from the runtime back to the exporter (check.py has its other end): here, because torch is slow to
    # import and need not be installed for the rest.
    import instructor_onnx_export

    manifest = instructor_onnx_export.export(
        args.checkpoint,
        args.out,
        variants=args.variants,
        name=args.name,
        min_cosine=args.min_cosine,
        calibrate=args.calibrate,
        overwrite=args.overwrite,
        num_threads=args.threads,
        show_progress=not args.quiet,
        **arguments.hub_options(args),
    )
    verified = {name: variant.verification for name, variant in manifest.variants.items()}
    output.to_stdout(f"{args.out}: {output.model_line(manifest)}")
    output.to_stdout(output.variant_table(manifest, verified))
    output.to_stdout(f"Next: instructor-onnx encode {args.out} texts.jsonl -o vectors.npy")
    if failed := [name for name in args.variants if name not in manifest.variants]:
        raise BundleError(
            f"{args.out}: was written without {', '.join(failed)}; the warnings say why. "
            f"Where the rest is enough, export with --variants {','.join(manifest.variants)}."
        )

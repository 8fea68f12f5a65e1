"""`instructor-onnx info`: what a bundle holds, and what this machine runs it on."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from instructor_onnx.bundle import Manifest, size_of
from instructor_onnx.cli import arguments, machine, output
from instructor_onnx.engines.devices import Device
from instructor_onnx.engines.engine import arithmetics
from instructor_onnx.loading import embedded

HELP = """\
What the bundle holds, by its manifest (`instructor-onnx check` reads the files), and what this machine does with it:
processor, threads and what sets their number, each instruction set of the native kernels with its self-check, whether
onnxruntime's 8-bit products are exact, and for each variant the engine that runs it and why. --json has the same facts:
put them into a bug report.

examples:
  instructor-onnx info my-bundle
  instructor-onnx info my-bundle --json
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(
        commands, "info", "what a bundle holds, and what this machine runs it on", HELP, run
    )
    command.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle's folder, or instructor-mini")
    command.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(args: argparse.Namespace) -> None:
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    here = machine.look(manifest, folder)
    if args.json:
        facts = {
            "bundle": str(args.bundle),
            "manifest": dataclasses.asdict(manifest),
            "fingerprints": {name: _fingerprints(manifest, name) for name in manifest.variants},
            "machine": dataclasses.asdict(here),
        }
        output.to_stdout(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    model = manifest.model
    output.to_stdout(f"{args.bundle}: {output.model_line(manifest)}")
    output.to_stdout(
        f"model       d_model {model.d_model}, d_ff {model.d_ff} ({model.feed_forward}), {model.num_layers} layers of "
        f"{model.num_heads} heads × {model.d_kv}, {model.vocab_size:,} tokens\n"
        f"vectors     {model.embedding_dim} numbers, {'unit length' if model.normalize else 'not normalized'}, "
        f"of at most {model.max_seq_length} tokens\n"
        f"prompts     {', '.join(map(repr, manifest.prompts)) or 'none'}\n"
        f"made by     {manifest.exporter}\n\n"
        f"{machine.text(here)}\n"
    )
    for name, variant in manifest.variants.items():
        output.to_stdout(
            f"{name}: {variant.weight_type} weights for {', '.join(variant.devices)}, opset {variant.opset}"
        )
        prints = (f"{print_} ({arithmetic})" for arithmetic, print_ in _fingerprints(manifest, name).items())
        output.to_stdout(f"    fingerprints  {', '.join(prints)}")
        for file in variant.files:
            output.to_stdout(f"    {file.path}  {size_of([file])}  sha256 {file.sha256[:16]}…")
    verified = {name: variant.verification for name, variant in manifest.variants.items()}
    output.to_stdout("\n" + output.variant_table(manifest, verified))


def _fingerprints(manifest: Manifest, variant: str) -> dict[str, str]:
    """By arithmetic: those that the variant's vectors have on the engines and devices it is for."""
    kinds = [Device(kind) for kind in manifest.variants[variant].devices]
    return {
        arithmetic: manifest.fingerprint(variant, arithmetic)
        for arithmetic in arithmetics(manifest.variants[variant].weight_type, kinds)
    }

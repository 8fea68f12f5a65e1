"""How good is a bundle? Every variant of it, and the checkpoint in torch, on eight tasks with gold labels.

    python -m benchmarks.quality BUNDLE --checkpoint CHECKPOINT      # everything; goes on where it was stopped
    python -m benchmarks.quality BUNDLE --tasks stsb,xquad --limit 200 --out quick.json
    python -m benchmarks.quality benchmarks/results/quality-X.json --readme docs/benchmarks.md    # only the tables

Needs the extra `quality`; --checkpoint needs `export` too, and --mteb the package mteb. What is measured: the
vectors as `INSTRUCTOR.encode` returns them, on the CPU. What is not: speed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.engines.cpus import available_cpus
from threadpoolctl import threadpool_limits

from benchmarks.common import PROJECT, commands, machine, results
from benchmarks.common.engines import cpu_variants, engines
from benchmarks.common.markdown import rewrite_block
from benchmarks.quality import instructions as wording
from benchmarks.quality import judge, report, tasks
from benchmarks.quality.embedders import BundleEmbedder, Column, Embedder
from benchmarks.quality.plot import plot
from benchmarks.quality.results import PACKAGES, Results, Subject
from benchmarks.quality.tasks import TASKS

SHARED = PROJECT.parent / "shared"
CACHE = PROJECT / ".cache" / "quality"
TORCH = "torch"  # the checkpoint's column
NATIVE = " native"  # ends the columns of variants on the native kernels, where they run; all others are onnxruntime's


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    path = Path(options.subject) if options.subject.endswith(".json") else judge_bundle(options)
    found = results.read(path, "subject", "parts")
    text = report.tables(found)
    sys.stdout.write(text + "\n")
    picture = path.with_suffix(".png")
    if found["parts"].get("tasks"):
        plot(found, picture)
    if options.readme:
        link = Path(os.path.relpath(picture, options.readme.parent)).as_posix()
        rewrite_block(options.readme, f"{text}\n\n![Scores, and what each variant loses]({link})", "quality")
    return 0


def judge_bundle(options: argparse.Namespace) -> Path:
    """Measure what is not measured yet, and write the results file."""
    folder = _bundle_folder(options.subject)
    manifest = Manifest.read(folder)
    variants = _variants(options.variants, manifest)
    threads = options.threads or available_cpus()
    runs = {
        variant + NATIVE * (engine == "native"): (variant, engine)
        for variant in variants
        for engine in engines(manifest, variant)
    }
    embedders: dict[str, Embedder] = {column: BundleEmbedder(folder, *run, threads) for column, run in runs.items()}
    if options.checkpoint:
        embedders = {TORCH: _torch(options.checkpoint, threads), **embedders}
    columns = {name: Column(name, embedder, options.cache) for name, embedder in embedders.items()}
    published = wording.read_published(options.instructions, options.instructions_of) if options.instructions_of else {}

    subject = Subject(
        model=manifest.model.name,
        files={file.path: file.sha256 for variant in variants for file in manifest.files(variant)},
        columns=list(columns),
        reference="fp32" if "fp32" in variants else variants[0],
        limit=options.limit,
        instructions=wording.choose(published),
        instructions_of=options.instructions_of,
        cluster_runs=tasks.CLUSTER_RUNS,
        machine=machine.facts(),
        versions=machine.versions(PACKAGES),
    )
    out = results.own_file("quality", manifest.model.name, options.out)
    found = Results.open(out, subject, options.cache)
    with threadpool_limits(threads):  # else numpy and scikit-learn take every core, whatever else runs there
        judge.judge_tasks(found, columns, options.tasks, options.data)
        judge.judge_agreement(found, columns, options.data)
        judge.judge_instructions(found, columns, options.data)
        if options.mteb:
            judge.judge_mteb(found, options.mteb, _mteb(folder, runs, threads, published))
    found.finish()
    return out


def _bundle_folder(name_or_path: str) -> Path:
    folder = Path(name_or_path)
    return folder if folder.is_dir() else INSTRUCTOR(name_or_path).folder  # a name or an id


def _variants(wanted: list[str] | None, manifest: Manifest) -> list[str]:
    missing = set(wanted or ()) - set(manifest.variants)
    if missing:
        raise ValueError(f"--variants {','.join(missing)}: the bundle has {', '.join(manifest.variants)}.")
    return wanted or cpu_variants(manifest)


def _torch(checkpoint: Path, threads: int) -> Embedder:
    from benchmarks.quality.torch_model import TorchEmbedder

    return TorchEmbedder.load(checkpoint, threads)


def _mteb(
    folder: Path, runs: dict[str, tuple[str, str]], threads: int, published: dict[str, str | dict[str, str]]
) -> Callable[[str, str], float]:
    from benchmarks.quality.mteb_adapter import MTEBEncoder, main_score

    def score(column: str, task: str) -> float:
        variant, engine = runs[column]
        model = INSTRUCTOR(folder, variant=variant, device="cpu", engine=engine, num_threads=threads)
        return main_score(MTEBEncoder(model, published), task)

    return score


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("quality", __doc__)
    parser.add_argument("subject", metavar="BUNDLE|RESULTS.json", help="a bundle to judge, or results to show again")
    parser.add_argument("--checkpoint", type=Path, help="the folder it was exported from: adds a column, torch")
    parser.add_argument("--variants", type=commands.names, help="of the bundle, with commas; default: all for CPUs")
    parser.add_argument("--tasks", type=_tasks, default=list(TASKS), help=f"with commas; of {', '.join(TASKS)}")
    parser.add_argument("--limit", type=int, help="texts (or queries) of each task, for a quick look")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "eval", help="folder of the evaluation sets")
    parser.add_argument("--instructions-of", metavar="MODEL", help="a published model; default: instructor-mini's")
    parser.add_argument(
        "--instructions", type=Path, default=SHARED / "mteb_instructions.json", help="the file that has them"
    )
    parser.add_argument("--mteb", type=commands.names, metavar="TASKS", help="MTEB tasks too, by name (they download)")
    commands.add_threads(parser)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept; may be deleted at any time")
    commands.add_out(parser, "quality-<model>")
    commands.add_page(parser, "--readme", "quality")
    return parser


def _tasks(text: str) -> list[str]:
    names = commands.names(text)
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())

"""How fast is it, against its rivals? The same weights and texts, in one run, alternating, each in its own process.

    python -m benchmarks.compare BUNDLE --checkpoint CHECKPOINT          # goes on where this build was stopped
    python -m benchmarks.compare BUNDLE --checkpoint CHECKPOINT --rivals torch,instructor-onnx --mixed-slices 2
    python -m benchmarks.compare benchmarks/results/bench-*.json --readme README.md --docs docs/benchmarks.md  # tables

BUNDLE needs its fp32 variant: some rivals run its graph. Needs the extra `dev`; the environments of rivals that cannot
live in this one are made under .cache on the first run (about 5 GB). Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import instructor_onnx
from instructor_onnx import Manifest
from instructor_onnx.bundle import sha256
from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.tokens import Tokenizer

from benchmarks.common import PROJECT, commands, limits, machine, results
from benchmarks.common.engines import cpu_variants, engines
from benchmarks.common.journal import Journal, digest
from benchmarks.common.markdown import rewrite_block
from benchmarks.common.texts import MIXED_ROWS
from benchmarks.compare import measure, report
from benchmarks.compare.plot import plot, plot_short
from benchmarks.compare.processes import RivalFailed
from benchmarks.compare.rivals import RIVALS, TORCH_FP32, Job, Rival, ours
from benchmarks.compare.summary import summarize
from benchmarks.compare.work import all_work, write_work

CACHE = PROJECT / ".cache" / "compare"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    parser = _parser()
    try:
        return commands.run(parser, arguments, _run, RivalFailed)
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: stopped. The same command goes on from here.\n")
        return 130


def _run(options: argparse.Namespace) -> int:
    if all(name.endswith(".json") for name in options.subjects):
        paths = [Path(name) for name in options.subjects]
    elif (written := compare(options)) is None:
        return 0
    else:
        paths = [written]
    shown = [report.Shown.read(path) for path in paths]
    sys.stdout.write(report.tables(shown) + "\n")
    for one in shown:
        if not one.rivals:
            raise ValueError(f"{one.path}: nothing was timed, there is nothing to show.")
        plot(one.results, one.picture)
    if options.readme:
        last = report.in_short(shown)[-1]
        plot_short(last.results, last.short_picture)
        rewrite_block(options.readme, report.overview(shown, beside=options.readme.parent), "bench")
    if options.docs:
        rewrite_block(options.docs, report.tables(shown, beside=options.docs.parent), "bench")
    return 0


def compare(options: argparse.Namespace) -> Path | None:
    """Measure what is not measured yet, and write the results file; None where it was only prepared."""
    if len(options.subjects) != 1 or options.checkpoint is None:
        raise ValueError("expected one BUNDLE and --checkpoint, the folder it was exported from.")
    bundle, checkpoint = Path(options.subjects[0]).resolve(), options.checkpoint.resolve()
    manifest = Manifest.read(bundle)
    if "fp32" not in manifest.variants:
        raise ValueError(f"{bundle}: has no fp32 variant, which some rivals need. Export again with it.")
    threads = options.threads or available_cpus()
    rivals = _chosen([*ours(own_runs(manifest), options.before), *RIVALS], options.rivals)
    model = manifest.model
    tokenizer = Tokenizer.load(
        bundle / manifest.tokenizer.path, vocab_size=model.vocab_size, eos_token_id=model.eos_token_id
    )
    work = all_work(tokenizer, slice_rows=options.slice_rows)
    name = options.name or model.name
    out = results.own_file("bench", name, options.out)
    subject: dict[str, Any] = {
        "model": name,
        "files": {file.path: file.sha256 for file in manifest.files()},
        "threads": threads,
        "mixed_rows": MIXED_ROWS,
        "slice_rows": options.slice_rows,
        "tokens": {item.name: item.tokens for item in work if item.kind != "mixed"},
        "machine": machine.facts(),
        "operations": limits.operations(model),  # of a token
    }
    cache = options.cache / f"{subject['model']}-{digest([subject, own_build()])}"
    if options.restart:
        (cache / "journal.jsonl").unlink(missing_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    write_work(work, cache / "work.json")
    plan = measure.Plan(
        rounds=options.rounds,
        cold_rounds=options.cold_rounds,
        mixed_slices=options.mixed_slices,
        time_budget=options.time_budget,
        tune=options.batching_of is None,
        batching=_batching(options.batching_of) if options.batching_of else {},
    )
    run = measure.Run(
        journal=Journal.open(cache / "journal.jsonl"),
        work=work,
        work_file=cache / "work.json",
        job=Job(
            bundle,
            checkpoint,
            options.cache / f"converted-{digest(subject['files'])}",
            option="",
            engine="",
            threads=threads,
        ),
        envs=options.envs,
        plan=plan,
    )
    if options.prepare_only:
        measure.prepared(run, rivals)
        return None
    measure.measure(run, rivals)
    content = summarize(run.journal, rivals, subject | {"plan": asdict(plan)})
    results.write(out, content)
    return out


def own_build() -> str:
    """A digest of this package's code and compiled kernels: a run does not go on with another build's figures."""
    folders = map(Path, instructor_onnx.__path__)  # of a development install the sources, and what was compiled
    files = [file for folder in folders for name in ("**/*.py", "**/_kernels.*") for file in folder.glob(name)]
    return digest(sorted(sha256(file) for file in files))


def own_runs(manifest: Manifest) -> list[tuple[str, str]]:
    """(variant, engine) of all that runs of a bundle on this CPU, onnxruntime's first."""
    runs = [(name, engine) for name in cpu_variants(manifest) for engine in engines(manifest, name)]
    return sorted(runs, key=lambda run: run[1] == "native")


def _chosen(rivals: list[Rival], wanted: list[str] | None) -> list[Rival]:
    """Those whose name has one of the words in it; torch fp32 is always among them, and first."""
    chosen = [rival for rival in rivals if not wanted or any(word in rival.name for word in wanted)]
    reference = next(rival for rival in rivals if rival.name == TORCH_FP32)
    return [reference, *(rival for rival in chosen if rival is not reference)]


def _batching(path: Path) -> dict[str, int]:
    """Each rival's batching in a results file."""
    rivals = results.read(path, "subject", "rivals")["rivals"]
    settings = {name: rival.get("settings", {}) for name, rival in rivals.items()}
    found = {name: chosen.get("token_budget", chosen.get("batch_size")) for name, chosen in settings.items()}
    return {name: value for name, value in found.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("compare", __doc__)
    parser.add_argument(
        "subjects", nargs="+", metavar="BUNDLE|RESULTS.json", help="a bundle to measure, or results to show again"
    )
    parser.add_argument("--checkpoint", type=Path, help="the folder the bundle was exported from")
    parser.add_argument("--name", help="the model's name in the results (default: the bundle's)")
    parser.add_argument("--rivals", type=commands.names, metavar="WORDS", help="whose names have one of these")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="PYTHON",
        help="of an environment with another version of this package: its rivals",
    )
    commands.add_threads(parser)
    parser.add_argument("--rounds", type=int, default=5, help="of every query and shape (default: 5)")
    parser.add_argument("--cold-rounds", type=int, default=3, help="new processes of each rival (default: 3)")
    parser.add_argument(
        "--slice-rows", type=int, default=200, choices=(20, 40, 50, 100, 200), help="texts of a slice (default: 200)"
    )
    parser.add_argument(
        "--mixed-slices", type=int, default=10, help="slices of the mixed set that are timed (default: 10)"
    )
    parser.add_argument(
        "--time-budget", type=float, default=1800, help="seconds after which no slice is begun (default: 1800)"
    )
    parser.add_argument(
        "--batching-of", type=Path, metavar="RESULTS.json", help="batch as there, instead of trying each rival's sizes"
    )
    parser.add_argument("--prepare-only", action="store_true", help="make environments, convert weights, and stop")
    parser.add_argument("--restart", action="store_true", help="measure everything again")
    parser.add_argument("--envs", type=Path, default=CACHE / "envs", help="the rivals' environments")
    parser.add_argument("--cache", type=Path, default=CACHE, help="journal and converted weights; may be deleted")
    commands.add_out(parser, "bench-<model>")
    commands.add_page(parser, "--readme", "bench", "the short table")
    commands.add_page(parser, "--docs", "bench", "every table")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`instructor-onnx bench`: how fast this machine runs a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from instructor_onnx.bench import compare, drawing, measure, page, report, results
from instructor_onnx.bench.drawing import Drawing
from instructor_onnx.bundle import Manifest
from instructor_onnx.cli import arguments, output
from instructor_onnx.extras import pip_install
from instructor_onnx.loading import embedded

HELP = """\
Times `INSTRUCTOR.encode`, from texts to vectors, on the CPU: a single query by length, calls of several rows, mixed
lengths by threads and by token budget; each variant on each engine in a process of its own, with its memory over time
and its cold start. Then says how near each comes to what the machine can do, how busy the machine was with other
processes, what was not measured and why, and which settings to take. Takes about a minute a variant and engine.

--report writes all of it as one page that needs no network and no script: plots, with the tables beside them. --plots
writes the plots alone, as SVG, and as PNG where matplotlib is (the extra `plot`). --json writes every figure; its
fields and units are described in instructor_onnx.bench.results and stay as they are while `schema` is 1. --compare
reads two such files and says what the second is beside the first; other models and machines are named, not mixed up.

examples:
  instructor-onnx bench my-bundle
  instructor-onnx bench my-bundle --report out.html --json before.json
  instructor-onnx bench my-bundle --variants int8 --threads 4 --plots plots
  instructor-onnx bench instructor-mini --seconds 0.2                a quick look
  instructor-onnx bench --compare before.json after.json --report difference.html
"""


def add(commands: arguments.Commands) -> None:
    command = arguments.new_command(commands, "bench", "how fast is a bundle here, and with which settings", HELP, run)
    command.add_argument("bundle", metavar="BUNDLE", type=Path, nargs="?", help="a bundle's folder, or instructor-mini")
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
    command.add_argument("--quiet", action="store_true", help="no progress on stderr")
    result = command.add_argument_group("result")
    result.add_argument("--report", type=Path, metavar="PATH", help="write one HTML page there, too")
    result.add_argument("--plots", type=Path, metavar="FOLDER", help="write the plots there, too")
    result.add_argument("--json", type=Path, metavar="PATH", help="write every figure there, too")
    result.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="measure nothing: put two files of --json beside each other",
    )


def run(args: argparse.Namespace) -> None:
    for option, path in (("--json", args.json), ("--report", args.report), ("--plots", args.plots)):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{option} {path}: there is no folder {path.parent}.")
    if (args.bundle is None) == (args.compare is None):
        raise ValueError("expected either BUNDLE, to measure it, or --compare A B, to read two files of --json.")
    if args.compare is None:
        _measure(args)
    else:
        _compare(args)


def _measure(args: argparse.Namespace) -> None:
    folder = embedded(args.bundle) or args.bundle
    manifest = Manifest.read(folder)
    found = measure.measure_bundle(
        folder,
        variants=list(args.variants) if args.variants else None,
        num_threads=args.threads,
        seconds=args.seconds,
        show_progress=not args.quiet,
    )
    output.to_stdout(f"{args.bundle}: {output.model_line(manifest)}\n\n{report.text(found)}")
    if args.json is not None:
        results.write(found, args.json)
    if args.report is not None:
        args.report.write_text(page.page(found), encoding="utf-8")
    if args.plots is not None:
        _write_plots([section.drawing for section in report.sections(found)], args.plots)


def _compare(args: argparse.Namespace) -> None:
    if args.json is not None:
        raise ValueError("--json: writes what was measured, and --compare measures nothing. Leave one out.")
    comparison = compare.compare(*map(results.read, args.compare))
    output.to_stdout(compare.text(comparison))
    if args.report is not None:
        args.report.write_text(page.comparison_page(comparison), encoding="utf-8")
    if args.plots is not None:
        _write_plots([section.drawing for section in compare.sections(comparison)], args.plots)


def _write_plots(drawings: Iterable[Drawing | None], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    drawn = [each for each in drawings if each is not None]
    for each in drawn:
        (folder / f"{each.name}.svg").write_text(drawing.svg(each, standalone=True), encoding="utf-8")
    try:
        for each in drawn:
            (folder / f"{each.name}.png").write_bytes(drawing.png(each))
    except ImportError as error:
        output.to_stderr(f"--plots: SVG only, as PNG needs matplotlib ({error}): {pip_install('plot')}")

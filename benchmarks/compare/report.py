"""Results files -> the tables a reader sees, in Markdown. Reads nothing but the results."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.common.markdown import table
from benchmarks.common.results import label_of, read
from benchmarks.compare.rivals import TORCH_FP32

Number = Callable[[dict[str, Any]], str]  # what is shown of a work

OURS = "instructor-onnx"
QUIET = 0.1  # share of the CPUs that other work may take
WRONG = 0.95  # a rival below this cosine to torch computes something else
QUERIES = ("query 16", "query 32", "query 64")
SHAPES = ("(8, 64)", "(32, 128)", "(4, 512)")
IN_SHORT = "instructor-base"
SHORT = (TORCH_FP32, *(f"{OURS} {run}" for run in ("int8, native", "fp32, native", "int8", "fp32")))

TIMED = (
    "Timed: `encode` from texts to unit vectors, tokenising, masked mean, Dense and Normalize included; every rival "
    "loaded in a process of its own, the others stopped meanwhile; medians, and in brackets how many times torch "
    "fp32's speed of the same round. Not timed: loading, conversion, calibration; the first call, which warms up. "
    "Lengths count instruction and `</s>`. Cosine: to torch fp32, of ten texts of 8 to 256 tokens."
)


@dataclass(frozen=True)
class Shown:
    """A results file, as the tables need it."""

    path: Path
    results: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Shown:
        return cls(path, read(path, "subject", "rivals"))

    @property
    def model(self) -> str:
        return str(self.results["subject"]["model"])

    @property
    def processor(self) -> str:
        return label_of(self.path, self.model)

    @property
    def machine(self) -> str:
        return machine.line(self.results["subject"])

    @property
    def rivals(self) -> dict[str, Any]:
        """Those that could be measured."""
        return {name: rival for name, rival in self.results["rivals"].items() if "failed" not in rival}

    @property
    def picture(self) -> Path:
        return self.path.with_suffix(".png")

    @property
    def short_picture(self) -> Path:
        return self.path.with_name(self.path.stem.replace("bench", "short", 1) + ".png")


def tables(shown: Sequence[Shown], beside: Path | None = None) -> str:
    """Everything of all models, with what it was measured with.

    Args:
        beside: the folder of the page it goes into, which then links the pictures too.
    """
    return "\n\n".join([TIMED, *(_model(one, beside) for one in shown)])


def in_short(shown: Sequence[Shown]) -> list[Shown]:
    """What a first page has room for: IN_SHORT, or all where it is not there."""
    return [one for one in shown if one.model == IN_SHORT] or list(shown)


def overview(shown: Sequence[Shown], beside: Path | None = None) -> str:
    """One short table: a query and mixed lengths, ours and the best rival; with the last one's picture, as `tables`."""
    shown = in_short(shown)
    columns = [name for name in SHORT if any(name in one.rivals for one in shown)]
    rows = []
    for one in shown:
        for work, title, number in ((QUERIES[1], "32 tokens, ms", _milliseconds), ("mixed", "mixed, ktok/s", _rate)):
            cells = [_cell(one.rivals.get(name, {}).get("work", {}).get(work), number) for name in columns]
            rows.append([f"{one.model}, {one.processor}: {title}", *cells, _best_rival(one.rivals, work, number)])
    machines = {one.processor: f"{one.processor} is {one.machine}" for one in shown}
    sections = [table(["", *columns, "best rival"], rows), f"Here {'; '.join(machines.values())}."]
    if beside:
        title = f"{shown[-1].model} on {shown[-1].processor}: speed of a query and size of the files, beside the rivals"
        sections.append(f"![{title}]({Path(os.path.relpath(shown[-1].short_picture, beside)).as_posix()})")
    return "\n\n".join(sections)


def _best_rival(rivals: dict[str, Any], work: str, number: Number) -> str:
    speeds = {
        name: rival["work"][work]["tokens_per_second"]["median"]
        for name, rival in rivals.items()
        if work in rival["work"]
        and not name.startswith(OURS)
        and name != TORCH_FP32
        and rival["cosine"]["min"] >= WRONG
    }
    if not speeds:
        return ""
    best = max(speeds, key=speeds.__getitem__)
    return f"{_cell(rivals[best]['work'][work], number)} {best}"


def _model(shown: Shown, beside: Path | None) -> str:
    results = shown.results
    libraries = ", ".join(f"{name} {version}" for name, version in _versions(shown.rivals).items())
    heading = [
        f"#### {shown.model}, {shown.processor}\n",
        f"{results['date']}, {shown.machine}. {libraries}.",
        machine.limits_line(results.get("limits"), results["subject"].get("operations")),
        _mixed_line(results),
    ]
    sections = ["\n".join(line for line in heading if line)]
    if results["busy"] > QUIET:
        sections.append(f"**The machine was busy with other work (up to {results['busy']:.0%}): not to be relied on.**")
    sections += [_speed(shown.rivals), _footprint(shown.rivals)]
    if failed := [f"- {name}: {rival['failed']}" for name, rival in results["rivals"].items() if "failed" in rival]:
        sections.append("Not in the tables:\n\n" + "\n".join(failed))
    if beside:
        link = Path(os.path.relpath(shown.picture, beside)).as_posix()
        sections.append(f"![{shown.model}, {shown.processor}: latency and throughput against rivals]({link})")
    return "\n\n".join(sections)


def _mixed_line(results: dict[str, Any]) -> str:
    mixed = results["rivals"].get(TORCH_FP32, {}).get("work", {}).get("mixed")
    if not mixed:
        return ""
    slice_rows = results["subject"]["slice_rows"]
    return (
        f"Mixed: {results['subject']['mixed_rows']:,} texts, lognormal, median 60 tokens, 8 to 512, in slices of "
        f"{slice_rows} of the same spread; timed: {mixed['rounds']} slices ({mixed['rounds'] * slice_rows:,} texts, "
        f"{mixed['tokens']:,} tokens)."
    )


def _speed(rivals: dict[str, Any]) -> str:
    titles = [*(f"{work.removeprefix('query ')} tokens, ms" for work in QUERIES)]
    titles += [f"{work}, ktok/s" for work in SHAPES] + ["mixed, ktok/s", "cosine, mean / min"]
    rows = []
    for name, rival in rivals.items():
        work = rival["work"]
        cells = [_cell(work.get(query), _milliseconds) for query in QUERIES]
        cells += [_cell(work.get(item), _rate) for item in (*SHAPES, "mixed")]
        cosine = f"{rival['cosine']['mean']:.5f} / {rival['cosine']['min']:.5f}"
        rows.append([_name(name), *cells, cosine if rival["cosine"]["min"] >= WRONG else f"**wrong: {cosine}**"])
    return table(["", *titles], rows)


def _footprint(rivals: dict[str, Any]) -> str:
    titles = ["", "cold start, s", "resident at rest, MB", "peak, MB", "files, MB", "installed, MB"]
    rows = []
    for name, rival in rivals.items():
        sizes = [rival["memory"]["at_rest"], rival["memory"]["peak"], *rival["bytes"].values()]
        cells = ["" if size is None else f"{size / 1e6:,.0f}" if size > 1e7 else f"{size / 1e6:.3g}" for size in sizes]
        rows.append([_name(name), f"{rival['cold_start']['median']:.3g}", *cells])
    return table(titles, rows)


def _milliseconds(work: dict[str, Any]) -> str:
    return f"{1e3 * work['seconds']['median']:.3g}"


def _rate(work: dict[str, Any]) -> str:
    return f"{work['tokens_per_second']['median'] / 1e3:.3g}"


def _cell(work: dict[str, Any] | None, number: Number) -> str:
    if work is None:
        return ""
    ratio = work["times_torch_fp32"]
    return number(work) + (f" ({ratio:.2f}×)" if ratio is not None else "")


def _name(name: str) -> str:
    return f"**{name}**" if name.startswith(OURS) else name


def _versions(rivals: dict[str, Any]) -> dict[str, str]:
    """Versions of what computes, newest first said; where environments differ, each."""
    found: dict[str, list[str]] = {}
    for rival in rivals.values():
        for name, version in rival.get("versions", {}).items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return {name: " and ".join(versions) for name, versions in sorted(found.items())}

"""Results files -> the tables a reader sees, in Markdown. Reads nothing but the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comparison.rivals import TORCH_FP32

OURS = "instructor-onnx"
QUIET = 0.1  # share of the CPUs that other work may take
WRONG = 0.95  # a rival below this cosine to torch computes something else
QUERIES = ("query 16", "query 32", "query 64")
SHAPES = ("(8, 64)", "(32, 128)", "(4, 512)")

TIMED = (
    "Timed: `encode` from texts to unit vectors, tokenising, masked mean, Dense and Normalize included; every rival "
    "loaded in a process of its own, the others stopped meanwhile; medians, and in brackets how many times torch "
    "fp32's speed of the same round. Not timed: loading, conversion, calibration; the first call, which warms up. "
    "Lengths count instruction and `</s>`. Cosine: to torch fp32, of ten texts of 8 to 256 tokens."
)


def tables(found: Sequence[dict[str, Any]]) -> str:
    """All tables of all models, with what they were measured with."""
    return "\n\n".join([TIMED, *(_model(results) for results in found)])


def _model(results: dict[str, Any]) -> str:
    subject, rivals = results["subject"], results["rivals"]
    machine = subject["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in _versions(rivals).items())
    flags = " ".join(machine["flags"])
    heading = (
        f"#### {subject['model']}\n\n"
        f"{results['date']}, {machine['cpu']} ({flags}), {subject['threads']} threads. {libraries}.\n"
        f"{_mixed_line(results)}"
    )
    if results["busy"] > QUIET:
        heading += f"\n\n**The machine was busy with other work (up to {results['busy']:.0%}): not to be relied on.**"
    measured = {name: rival for name, rival in rivals.items() if "failed" not in rival}
    failed = [f"- {name}: {rival['failed']}" for name, rival in rivals.items() if "failed" in rival]
    sections = [heading, _speed(measured), _footprint(measured)]
    if failed:
        sections.append("Not in the tables:\n\n" + "\n".join(failed))
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
        cells = [_cell(work.get(query), lambda w: f"{1e3 * w['seconds']['median']:.3g}") for query in QUERIES]
        cells += [
            _cell(work.get(item), lambda w: f"{w['tokens_per_second']['median'] / 1e3:.3g}")
            for item in (*SHAPES, "mixed")
        ]
        cosine = f"{rival['cosine']['mean']:.5f} / {rival['cosine']['min']:.5f}"
        rows.append([_name(name), *cells, cosine if rival["cosine"]["min"] >= WRONG else f"**wrong: {cosine}**"])
    return markdown(["", *titles], rows)


def _footprint(rivals: dict[str, Any]) -> str:
    titles = ["", "cold start, s", "resident at rest, MB", "peak, MB", "files, MB", "installed, MB"]
    rows = []
    for name, rival in rivals.items():
        sizes = [rival["memory"]["at_rest"], rival["memory"]["peak"], *rival["bytes"].values()]
        cells = ["" if size is None else f"{size / 1e6:,.0f}" if size > 1e7 else f"{size / 1e6:.3g}" for size in sizes]
        rows.append([_name(name), f"{rival['cold_start']['median']:.3g}", *cells])
    return markdown(titles, rows)


def _cell(work: dict[str, Any] | None, number: Callable[[dict[str, Any]], str]) -> str:
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


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [titles, ["---", *("--:" for _ in titles[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""What was measured -> its tables, in Markdown. Reads nothing but the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import machine
from benchmarks.common.markdown import table
from benchmarks.common.results import label_of, read

BATCH_DEPENDENT = " \\*"


def tables(path: Path) -> str:
    """Those of one results file."""
    found = read(path, "subject", "runs")
    subject = found["subject"]
    libraries = ", ".join(f"{name} {version}" for name, version in subject["versions"].items())
    heading = (
        f"#### {subject['model']}, {label_of(path, subject['model'])}\n\n"
        f"{found['date']}, {machine.line(subject)}. {libraries}.\n"
        f"{machine.limits_line(found['limits'], subject['operations'])}\n"
        f"The runtime opens int8 with `session.x64quantprecision={subject['x64quantprecision']:d}` here."
    )
    text = "\n\n".join([heading, _speed(found["shapes"], found["runs"]), _rest(found["runs"])])
    return text + ("\n\n\\* A text's vector depends on its batch." if BATCH_DEPENDENT in text else "")


def _speed(shapes: dict[str, int], runs: dict[str, Any]) -> str:
    titles = [f"{shape}, {tokens:,} tokens" if shape == "mixed" else shape for shape, tokens in shapes.items()]
    rows = []
    for name, run in runs.items():
        shares = run.get("share_of_peak", {})
        cells = []
        for shape in shapes:
            taken = run.get("milliseconds", {}).get(shape)
            share = f" ({shares[shape]:.0%})" if shape in shares else ""
            cells.append("" if taken is None else f"{taken:,.4g}{share}")
        rows.append([name, *cells])
    return table(["ms (share of the int8 peak)", *titles], rows)


def _rest(runs: dict[str, Any]) -> str:
    models = list(dict.fromkeys(model for run in runs.values() for model in run.get("cosine", ())))
    rows = []
    for name, run in runs.items():
        if "load" in run:  # torch is only timed
            load = run["load"]
            sizes = [_megabytes(size) for size in (run.get("bytes"), load["resident"], load.get("peak"))]
            found = [_cosine(run.get("cosine", {}).get(model)) for model in models]
            rows.append([name, f"{load['seconds']:.3g}", *sizes, *found])
    titles = ["open, s", "files, MB", "resident, MB", "peak, MB", *(f"cosine, {model}" for model in models)]
    return table(["", *titles], rows)


def _megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.1f}"


def _cosine(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.5f} / {found['min']:.5f}" + ("" if found["identical"] else BATCH_DEPENDENT)

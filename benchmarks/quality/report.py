"""A results file -> the tables a reader sees, in Markdown. Reads nothing but the results."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.common.markdown import table


def tables(results: dict[str, Any]) -> str:
    """All tables, with what they were measured with."""
    parts = results["parts"]
    sections = [_heading(results)]
    if parts.get("tasks"):
        sections.append(_scores(results["subject"], parts["tasks"]))
    if parts.get("agreement"):
        sections.append(_agreement(parts["agreement"]))
    if parts.get("instructions"):
        sections.append(_instructions(parts["instructions"]))
    if parts.get("mteb"):
        sections.append(_mteb(results["subject"], parts["mteb"]))
    return "\n\n".join(sections)


def differences(subject: dict[str, Any]) -> list[tuple[str, str]]:
    """(column, other column) of everything that is compared: each to torch, and to the reference."""
    columns: list[str] = subject["columns"]
    bases = [name for name in ("torch", subject["reference"]) if name in columns]
    return [(name, base) for name in columns for base in bases if columns.index(base) < columns.index(name)]


def shown_differences(subject: dict[str, Any]) -> list[tuple[str, str]]:
    """Those of scores: the reference's to torch, all others' to the reference."""
    return [pair for pair in differences(subject) if subject["reference"] in pair]


def _heading(results: dict[str, Any]) -> str:
    subject = results["subject"]
    libraries = ", ".join(
        f"{name} {subject['versions'][name]}"
        for name in ("onnxruntime", "torch", "transformers", "scikit-learn")
        if name in subject["versions"]
    )
    part = "" if subject["limit"] is None else f" **A quick look: at most {subject['limit']} texts or queries a task.**"
    return (
        f"{subject['model']}, judged by `python -m benchmarks.quality` on {results['date']} "
        f"({subject['machine']['cpu']}, {' '.join(subject['machine']['flags'])}; {libraries}).{part}"
    )


def _scores(subject: dict[str, Any], tasks: dict[str, Any]) -> str:
    columns: list[str] = subject["columns"]
    pairs = shown_differences(subject)
    rows = []
    for task in tasks.values():
        for key, metric in task["metrics"].items():
            points = {name: 100 * task["scores"][name][key] for name in columns}
            row = [task["title"], metric, *(f"{points[name]:.2f}" for name in columns)]
            rows.append(row + [_signed(points[name] - points[base]) for name, base in pairs])
    header = ["task", "metric", *columns, *(f"{name} − {base}" for name, base in pairs)]
    return f"Scores and differences in points (times 100). {_resolution(subject, tasks)}\n\n" + table(
        header, rows, left=2
    )


def _resolution(subject: dict[str, Any], tasks: dict[str, Any]) -> str:
    """How small a difference can be before it says nothing."""
    said = [
        f"One {task['title']} query more or less is {100 / task['texts']['query']:.2f} points."
        for task in tasks.values()
        if "query" in task["texts"]
    ]
    runs = subject["cluster_runs"]
    for task in tasks.values():
        deviations = [scores["v_measure_std"] for scores in task["scores"].values() if "v_measure_std" in scores]
        if deviations:
            error = 100 * max(deviations) / math.sqrt(runs)
            said.append(f"The mean of {runs} k-means runs has a standard error of {error:.2f} points.")
    return " ".join(said)


def _agreement(agreement: dict[str, Any]) -> str:
    rows = [
        [
            name,
            other,
            f"{found['texts']:,}",
            *(_floored(found[key]) for key in ("mean", "p1", "min")),
        ]
        for name, others in agreement.items()
        for other, found in others.items()
    ]
    header = ["variant", "to", "texts", "mean cosine", "1st percentile", "minimum"]
    return "Cosine of each text's vector, over all texts above.\n\n" + table(header, rows, left=2)


def _instructions(found: dict[str, Any]) -> str:
    sections = []
    retrieval = [name for name in found if name != "neighbours"]
    column = next(iter(found.values()))["column"]
    if retrieval:
        header = ["task", "metric", "its two instructions", "none", "a plain one on both sides"]
        rows = []
        for name in retrieval:
            task = found[name]
            scores = (f"{100 * task[kind]:.2f}" for kind in ("with", "without", "plain"))
            rows.append([task["title"], task["metric"], *scores])
        sections.append(f"Retrieval under its instructions and others, {column}.\n\n" + table(header, rows, left=2))
    if "neighbours" in found:
        near = found["neighbours"]
        header = ["instruction", "same tag", "same form"]
        rows = [
            [
                reading
                if not near["instructions"].get(reading)
                else f"{reading}: “{near['instructions'][reading].strip()}”",
                *(f"{100 * shares[key]:.1f} %" for key in ("same topic", "same form")),
            ]
            for reading, shares in near["shares"].items()
        ]
        sections.append(
            f"The same {near['titles']:,} StackOverflow titles under other instructions, {near['column']}: how many of "
            "a title's ten nearest share its tag, and how many its form (how to, why, yes or no, …).\n\n"
            + table(header, rows)
        )
    return "\n\n".join(sections)


def _mteb(subject: dict[str, Any], tasks: dict[str, Any]) -> str:
    columns = [name for name in subject["columns"] if name != "torch"]
    rows = [[name, *(f"{100 * scores[column]:.2f}" for column in columns)] for name, scores in tasks.items()]
    return "MTEB tasks, their main score by mteb itself.\n\n" + table(["task", *columns], rows)


def _signed(points: float) -> str:
    text = f"{points:+.2f}".replace("-", "−")
    return "0.00" if float(f"{points:.2f}") == 0 else text


def _floored(cosine: float) -> str:
    """Five digits, rounded down: 0.999996 must not read as 1."""
    return f"{math.floor(cosine * 1e5 + 1e-3) / 1e5:.5f}"

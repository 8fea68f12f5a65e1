"""A journal -> the results file's content: medians, spread, and ratios to torch fp32 of the same rounds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.common import limits, results
from benchmarks.common.journal import Journal
from benchmarks.compare.rivals import TORCH_FP32, Rival


def summarize(journal: Journal, rivals: Sequence[Rival], subject: dict[str, Any]) -> dict[str, Any]:
    """Everything a reader sees, without the single measurements."""
    return {
        "date": results.today(),
        "subject": subject,
        "limits": limits.highest(journal.of("limits")),
        "busy": max((entry["share"] for entry in journal.of("busy")), default=0.0),  # with others' work, at the worst
        "rivals": {rival.name: _rival(journal, rival) for rival in rivals},
    }


def _rival(journal: Journal, rival: Rival) -> dict[str, Any]:
    times = {entry["work"] for entry in journal.of("time", rival.name)}
    failures = journal.of("failed", rival.name)
    if not times:
        return {"failed": failures[-1]["reason"] if failures else "not measured"}
    facts, choice = journal.of("facts", rival.name)[0], journal.of("choice", rival.name)[0]
    cosines = journal.of("check", rival.name)[0]["cosines"]
    cold = journal.of("cold", rival.name)
    return {
        "settings": facts["settings"] | ({choice["batching"]: choice["value"]} if choice["value"] else {}),
        "tried": choice["tried"],  # seconds for the rows to tune on
        "versions": facts["versions"],
        "cosine": {"mean": float(np.mean(cosines)), "min": min(cosines)},  # to torch fp32, of the rows checked
        "bytes": {"files": facts["files"], "installed": facts["bytes"]},
        "memory": {
            "at_rest": round(median(entry["resident"] for entry in cold)),
            "peak": journal.of("peak", rival.name)[-1]["bytes"] if journal.of("peak", rival.name) else None,
        },
        "cold_start": _spread([entry["seconds"] for entry in cold]),
        "work": {work: _work(journal, rival.name, work) for work in sorted(times)},
    }


def _work(journal: Journal, name: str, work: str) -> dict[str, Any]:
    """Seconds of a call, tokens a second, and how many times torch fp32's speed that is, round by round."""
    own = {entry["round"]: entry for entry in journal.of("time", name, work=work)}
    torch = {entry["round"]: median(entry["seconds"]) for entry in journal.of("time", TORCH_FP32, work=work)}
    ratios = [torch[index] / median(entry["seconds"]) for index, entry in own.items() if index in torch]
    return {
        "seconds": _spread([taken for entry in own.values() for taken in entry["seconds"]]),
        "tokens_per_second": _spread([entry["tokens"] / median(entry["seconds"]) for entry in own.values()]),
        "times_torch_fp32": median(ratios) if ratios else None,
        "rounds": len(own),
        "tokens": sum(entry["tokens"] * len(entry["seconds"]) for entry in own.values()),  # timed in all
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return {"median": float(middle), "p10": float(low), "p90": float(high)}

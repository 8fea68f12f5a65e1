"""Results of the benchmark -> the tables a reader sees, in Markdown. Reads nothing but the results."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.common.markdown import table

OURS = ("onnx", "encode")
LABELS = {
    "onnx": "instructor-onnx",
    "encode": "instructor-onnx `encode()`",
    "torch": "torch, SDPA",
    "compile": "torch.compile, SDPA",
    "sentence-transformers": "sentence-transformers",
}


def tables(results: dict[str, Any]) -> str:
    """All tables, with what they were measured with."""
    gpu = results["gpu"]
    head = (
        f"{gpu['name']} (onnxruntime {gpu['onnxruntime']}, torch {gpu['torch']}, transformers {gpu['transformers']}), "
        "by `python -m benchmarks.cuda`. "
    )
    if results["smoke"]:
        head = f"**A smoke test on a CPU: no figure below says anything about a GPU.** {head}"
    peaks = [f"{name} {value:,.0f}" for name, value in results["peak_tflops"].items() if isinstance(value, float)]
    head += f"Its matrix peak as measured: {', '.join(peaks)} TFLOP/s. " if peaks else ""
    if results["tests"]:
        head += f"Tests on it: {results['tests'].get('summary', results['tests'].get('error'))}"
    parts = [head]
    for shape, found in results["shapes"].items():
        best = "" if results["smoke"] else _best(found["rivals"])
        parts.append(_rivals(f"**{shape}**{best}", found["rivals"], {} if results["smoke"] else results["peak_tflops"]))
        parts += _candidates(shape, found["rivals"])
    parts.append(_quality(results["shapes"]))
    return "\n\n".join(part for part in parts if part)


def median(rounds: list[dict[str, Any]], *keys: str) -> float | None:
    """The median over the rounds of one figure, or None where no round has it."""
    values = []
    for found in rounds:
        value: Any = found
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            values.append(float(value))
    return statistics.median(values) if values else None


def _rivals(title: str, rivals: dict[str, list[dict[str, Any]]], peaks: dict[str, Any]) -> str:
    rows = []
    for name, rounds in rivals.items():
        kind, precision, *way = name.split()
        if way not in ([], ["mha"]) or not rounds:
            continue
        if median(rounds, "latency_ms") is None:
            if error := rounds[-1].get("error"):
                rows.append([LABELS[kind], precision, f"not measured: {error}", *[""] * 8])
            continue
        peak, tflops = peaks.get(precision), median(rounds, "long", "tflops")
        share = f"{100 * tflops / peak:.0f} %" if tflops and isinstance(peak, float) else ""
        notes = f" ({rounds[-1]['note']})" if "strings" in rounds[-1].get("note", "") else ""
        rows.append(
            [
                LABELS[kind] + notes,
                precision,
                _number(median(rounds, "latency_ms"), 2),
                _number(median(rounds, "latency_launched_ms"), 2),
                _number(median(rounds, "mixed", "texts_per_s")),
                _number(median(rounds, "mixed", "tokens_per_s"), scale=1e-3),
                _number(median(rounds, "long", "texts_per_s")),
                share,
                _number(median(rounds, "first_pass_s"), 2),
                _number(median(rounds, "memory_gb"), 2),
                str(len([found for found in rounds if "error" not in found])),
            ]
        )
    if not rows:
        return ""
    titles = [
        "",
        "",
        "32 tokens, ms",
        "without CUDA graphs",
        "mixed, texts/s",
        "ktokens/s",
        "512 tokens, texts/s",
        "of the peak",
        "first pass, mixed, s",
        "GB",
        "rounds",
    ]
    return f"{title}\n\n" + table(titles, rows, left=2)


def _best(rivals: dict[str, list[dict[str, Any]]]) -> str:
    """Ours over the best of torch, by the same tokens."""

    def extreme(kinds: tuple[str, ...], keys: tuple[str, ...], best: Any) -> float | None:
        values = [median(rounds, *keys) for name, rounds in rivals.items() if name.split()[0] in kinds]
        known = [value for value in values if value is not None]
        return best(known) if known else None

    ours, theirs = (extreme(kinds, ("mixed", "texts_per_s"), max) for kinds in (("onnx",), ("torch", "compile")))
    fast, slow = (extreme(kinds, ("latency_ms",), min) for kinds in (("onnx",), ("torch", "compile")))
    if not (ours and theirs and fast and slow):
        return ""
    return (
        f": {ours / theirs:.2f} times the best torch figure on mixed texts, {slow / fast:.2f} times as fast on one text"
    )


def _candidates(shape: str, rivals: dict[str, list[dict[str, Any]]]) -> list[str]:
    rows = []
    for name, rounds in rivals.items():
        kind, precision, *way = name.split()
        if kind != "onnx" or not rounds:
            continue
        if error := rounds[-1].get("error"):
            rows.append([way[0], precision, f"not measured: {error}", "", "", ""])
        elif median(rounds, "latency_ms") is not None:
            figures = (("latency_ms",), ("mixed", "texts_per_s"), ("long", "texts_per_s"))
            values = [_number(median(rounds, *keys), 2 if len(keys) == 1 else 0) for keys in figures]
            rows.append([way[0], precision, *values, _number(median(rounds, "cosine", "min"), 6)])
    if len(rows) < 3:
        return []
    titles = ["attention", "", "32 tokens, ms", "mixed, texts/s", "512 tokens, texts/s", "cosine, minimum"]
    return [f"Ways to write {shape}'s attention (mha is the exporter's):\n\n" + table(titles, rows, left=2)]


def _quality(shapes: dict[str, Any]) -> str:
    rows = []
    for shape, found in shapes.items():
        for name, rounds in found["rivals"].items():
            kind, precision, *way = name.split()
            if kind not in ("onnx", "torch") or precision == "fp32" or way not in ([], ["mha"]) or not rounds:
                continue
            if "cosine" in rounds[-1]:
                mean, least = (median(rounds, "cosine", key) for key in ("mean", "min"))
                values = ["not finite", ""] if mean is None else [_number(mean, 6), _number(least, 6)]
                rows.append([shape, LABELS[kind], precision, *values])
    if not rows:
        return ""
    return "Cosine to torch's fp32, mixed texts:\n\n" + table(["", "", "", "mean", "minimum"], rows, left=2)


def _number(value: float | None, digits: int = 0, scale: float = 1) -> str:
    return "" if value is None else f"{value * scale:,.{digits}f}"

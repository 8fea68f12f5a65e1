"""The stages of a run: tasks, agreement of the columns, what instructions change, MTEB; each part saved when done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality import contrast
from benchmarks.quality import data as sets
from benchmarks.quality.embedders import Column
from benchmarks.quality.instructions import PLAIN, READINGS
from benchmarks.quality.report import differences
from benchmarks.quality.results import Results
from benchmarks.quality.tasks import RETRIEVAL_TASKS, TASKS, Task, paired_cosines

Float32 = npt.NDArray[np.float32]
Columns = Mapping[str, Column]
MtebScore = Callable[[str, str], float]  # (variant, MTEB task) -> its main score


def judge_tasks(results: Results, columns: Columns, names: list[str], data: Path) -> None:
    """Every task that is not done yet: embed its texts with every column, and score them."""
    for name in names:
        if results.has("tasks", name):
            continue
        task = TASKS[name](data, results.subject.limit)
        instructions = results.subject.instructions[name]
        scores = {column: task.score(_vectors(columns[column], task, instructions)) for column in columns}
        counts = {role: len(texts) for role, texts in task.texts.items()}
        results.add("tasks", name, {"title": task.title, "metrics": task.metrics, "texts": counts, "scores": scores})


def judge_agreement(results: Results, columns: Columns, data: Path) -> None:
    """Cosines of every column to torch and to the reference, over all texts of the tasks that are done."""
    done = list(results.parts.get("tasks", {}))
    wanted = differences(asdict(results.subject))
    if all(results.parts.get("agreement", {}).get(a, {}).get(b, {}).get("tasks") == done for a, b in wanted):
        return
    cosines: dict[tuple[str, str], dict[str, npt.NDArray[np.float64]]] = {pair: {} for pair in wanted}
    for name in done:
        task = TASKS[name](data, results.subject.limit)
        for role, texts in task.texts.items():
            distinct = list(dict.fromkeys(texts))
            instruction = results.subject.instructions[name][role]
            found = {key: column.vectors(instruction, distinct, "Cosines") for key, column in columns.items()}
            for a, b in wanted:
                cosines[a, b][f"{name} {role}"] = paired_cosines(found[a], found[b])
    for a in dict.fromkeys(a for a, _ in wanted):
        of_column = {
            b: {
                **_summary(np.concatenate(list(cosines[a, b].values()))),
                "tasks": done,
                "by_text": {key: _summary(part) for key, part in cosines[a, b].items()},
            }
            for other, b in wanted
            if other == a
        }
        results.add("agreement", a, of_column)


def judge_instructions(results: Results, columns: Columns, data: Path) -> None:
    """The reference column under other instructions: retrieval with none and a plain one, titles in each reading."""
    column = columns[results.subject.reference]
    done = results.parts.get("tasks", {})
    for name in RETRIEVAL_TASKS:
        if name not in done or results.has("instructions", name):
            continue
        task = TASKS[name](data, results.subject.limit)
        metric = next(iter(task.metrics))
        others = {
            kind: task.score(_vectors(column, task, dict.fromkeys(task.texts, instruction)))[metric]
            for kind, instruction in (("without", ""), ("plain", PLAIN))
        }
        measured = {
            "title": task.title,
            "metric": task.metrics[metric],
            "column": column.name,
            "with": done[name]["scores"][column.name][metric],
            **others,
        }
        results.add("instructions", name, measured)
    if "stackoverflow" in done and not results.has("instructions", "neighbours"):
        titles = sets.stackoverflow(data, results.subject.limit).spread(contrast.TITLES)
        vectors = {
            reading: column.vectors(instruction, titles.texts, f"Titles {reading}")
            for reading, instruction in READINGS.items()
        }
        measured = {
            "column": column.name,
            "titles": len(titles.texts),
            "instructions": READINGS,
            "shares": contrast.neighbours(vectors, titles.labels, [contrast.form_of(text) for text in titles.texts]),
        }
        results.add("instructions", "neighbours", measured)


def judge_mteb(results: Results, names: list[str], score: MtebScore) -> None:
    """MTEB tasks by name, every variant."""
    variants = [column for column in results.subject.columns if column != "torch"]
    for name in names:
        if not results.has("mteb", name):
            results.add("mteb", name, {variant: score(variant, name) for variant in variants})


def _vectors(column: Column, task: Task, instructions: Mapping[str, str]) -> dict[str, Float32]:
    return {role: column.vectors(instructions[role], texts, task.title) for role, texts in task.texts.items()}


def _summary(cosines: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "texts": len(cosines),
        "mean": float(cosines.mean()),
        "p1": float(np.percentile(cosines, 1)),
        "min": float(cosines.min()),
    }

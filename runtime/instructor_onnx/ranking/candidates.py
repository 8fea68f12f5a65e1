"""The instructions to be compared: none, ready-made ones, a bundle's, a user's own, those of the published scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL, Pair, mteb_instructions

LABEL_TASKS = ("Classification", "Clustering")  # in the name of an MTEB task; the others of one side compare pairs

SIDES = ("query", "document")  # the prompts of a search, as sentence-transformers names them


class Candidate(NamedTuple):
    """An instruction by its name; for one of a single side, query and document are the same."""

    name: str
    pair: Pair


def same(name: str, instruction: str) -> Candidate:
    """One instruction for every text."""
    return Candidate(name, Pair(instruction, instruction))


NONE = same("none", "")


def ready_made(kind: str) -> list[Candidate]:
    """The presets of `instructor_onnx.instructions` for a kind of sample."""
    if kind == "retrieval":
        return [Candidate(name, pair) for name, pair in RETRIEVAL.items()]
    return [same(name, instruction) for name, instruction in SAME_FOR_ALL.items()]


def of_bundle(prompts: Mapping[str, str], kind: str) -> list[Candidate]:
    """A model's own prompts: its query and document for retrieval, what others it has for texts of one kind."""
    if kind == "retrieval":
        pair = [prompts[side] for side in SIDES if side in prompts]
        return [Candidate("bundle's prompts", Pair(*pair))] if len(pair) == len(SIDES) else []
    return [same(f"prompt {name}", instruction) for name, instruction in prompts.items() if name not in SIDES]


def published(model: str, kind: str) -> list[Candidate]:
    """Those of the MTEB tasks of a kind, by the task's name.

    Raises:
        ValueError: no such model; names those there are.
    """
    found = []
    for task, wording in mteb_instructions(model).items():
        if isinstance(wording, dict):
            of_kind, candidate = "retrieval", Candidate(task, Pair(wording["query"], wording["corpus"]))
        else:
            of_kind = "labels" if any(part in task for part in LABEL_TASKS) else "pairs"
            candidate = same(task, wording)
        if of_kind == kind:
            found.append(candidate)
    return found


def distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of each wording."""
    first: dict[Pair, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.pair, candidate)
    return list(first.values())

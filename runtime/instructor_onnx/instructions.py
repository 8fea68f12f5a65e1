"""Which instruction? The template, pairs that fit common purposes, and the wordings of the published MTEB scores.

>>> from instructor_onnx.instructions import RETRIEVAL, SAME_FOR_ALL
>>> RETRIEVAL["Wikipedia"].query
'Represent the Wikipedia question for retrieving supporting documents: '
>>> SAME_FOR_ALL["clustering by topic"]
'Represent the text for clustering by topic: '
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

# One line a wording: the task, the models that use it, and "text", or "query" and "corpus".
_MTEB_FILE = Path(__file__).with_name("mteb_instructions.jsonl")


class Pair(NamedTuple):
    """The two sides of a retrieval: what is asked, and what is looked for.

    >>> RETRIEVAL["Science"].document
    'Represent the Science paper for retrieval: '
    """

    query: str
    document: str


def instruction(text_type: str, *, domain: str = "", task_objective: str = "") -> str:
    """An instruction in the form that INSTRUCTOR was trained on (Su et al. 2023, section 2.1).

    Args:
        text_type: what a text is: "sentence", "question", "document", "title", "comment", ...
        domain: what it is about: "Medicine", "Science", "Financial", "Wikipedia", ...; "": anything.
        task_objective: what its vector is for: "retrieval", "classifying its intent", "clustering by topic", ...;
            "": similarity of meaning.

    Returns:
        "Represent the {domain} {text_type} for {task_objective}: ", without the parts not given. The colon and the
        space at its end make the boundary to the text exact: keep both.

    Raises:
        ValueError: no text_type.

    >>> instruction("statement", domain="Medicine", task_objective="retrieving a duplicate sentence")
    'Represent the Medicine statement for retrieving a duplicate sentence: '
    """
    if not text_type.strip():
        raise ValueError("text_type: found nothing, expected what a text is, such as 'sentence' or 'document'.")
    described = " ".join(part.strip() for part in ("Represent the", domain, text_type) if part.strip())
    return f"{described} for {task_objective.strip()}: " if task_objective.strip() else f"{described}: "


def _retrieval(domain: str, query: str = "question", document: str = "document") -> Pair:
    return Pair(
        instruction(query, domain=domain, task_objective="retrieving supporting documents"),
        instruction(document, domain=domain, task_objective="retrieval"),
    )


# For search: embed queries under one, documents under the other. By what the documents are.
RETRIEVAL: dict[str, Pair] = {
    "general": _retrieval(""),
    "Wikipedia": _retrieval("Wikipedia"),
    "Science": _retrieval("Science", document="paper"),
    "Medicine": _retrieval("Medicine"),
    "Finance": _retrieval("Financial"),
    "News": _retrieval("News", query="query", document="article"),
    "claims": Pair(
        instruction("fact", task_objective="retrieving supporting evidence"),
        instruction("evidence", task_objective="retrieval"),
    ),
    "answers": Pair(
        instruction("question", task_objective="retrieving answers"),
        instruction("answer", task_objective="retrieval"),
    ),
    "duplicate questions": Pair(
        *[instruction("question", task_objective="retrieving duplicate questions")] * 2,
    ),
}

# Where all texts are of one kind, and have one instruction.
SAME_FOR_ALL: dict[str, str] = {
    "similarity": instruction("sentence"),
    "duplicates": instruction("sentence", task_objective="retrieving a duplicate sentence"),
    "clustering by topic": instruction("text", task_objective="clustering by topic"),
    "classification": instruction("sentence", task_objective="classification"),
    "sentiment": instruction("comment", task_objective="classifying its sentiment as positive or negative"),
    "intent": instruction("sentence", task_objective="classifying its intent"),
}


def mteb_instructions(model: str) -> dict[str, str | dict[str, str]]:
    """The instructions behind the published MTEB scores of one model, by the task's name.

    Wordings are as published, with their slips: they are what the scores were made with.

    Args:
        model: "instructor-base", "instructor-large" or "instructor-xl", with or without "hkunlp/".

    Returns:
        MTEB task -> its instruction, or {"query": ..., "corpus": ...} where it has two sides.

    Raises:
        ValueError: another model; names these.

    >>> mteb_instructions("instructor-large")["STS12"]
    'Represent the statement: '
    """
    size = model.removeprefix("hkunlp/").removeprefix("instructor-")
    found: dict[str, str | dict[str, str]] = {}
    models: set[str] = set()
    for line in _MTEB_FILE.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        models.update(entry["models"])
        if size in entry["models"]:
            found[entry["task"]] = entry.get("text") or {side: entry[side] for side in ("query", "corpus")}
    if not found:
        names = ", ".join(f"instructor-{name}" for name in sorted(models))
        raise ValueError(f"model={model!r}: MTEB instructions are published for {names}.")
    return found

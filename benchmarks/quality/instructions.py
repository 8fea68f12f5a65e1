"""Which instruction a text of a task gets. Knows nothing about texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Roles = dict[str, str]  # role of the task's texts -> instruction

PLAIN = "Represent the sentence: "  # fits any text, and says nothing of its role

# In the wording that instructor-mini was trained on, which is the published grammar, so that it serves any model
# whose own wording is not known. The two of Billboard are those of instructor-large.
DEFAULT: dict[str, Roles] = {
    "stsb": {"text": PLAIN},
    "scifact": {
        "query": "Represent the scientific claim for retrieving a supporting passage: ",
        "document": "Represent the scientific paragraph for retrieval: ",
    },
    "xquad": {
        "query": "Represent the Wikipedia question for retrieving supporting documents: ",
        "document": "Represent the document for retrieval: ",
    },
    "banking77": {"text": "Represent the banking question for classifying its intent: "},
    "clinc150": {"text": "Represent the utterance for intent classification: "},
    "stackoverflow": {"text": "Represent the StackOverflow title for clustering by topic: "},
    "mscoco": {"text": "Represent the caption: "},
    "cnndm": {"text": "Represent a comment: "},
}

# The MTEB task whose published instruction fits. XQuAD's questions are SQuAD's, on Wikipedia, as Natural
# Questions are; CLINC150 and Billboard have no MTEB task, and no other's wording fits them.
MTEB_NAMES = {
    "stsb": "STSBenchmark",
    "scifact": "SciFact",
    "xquad": "NQ",
    "banking77": "Banking77Classification",
    "stackoverflow": "StackExchangeClustering",
}
MTEB_ROLES = {"query": "query", "document": "corpus"}  # our role -> the key in mteb_instructions.json

# Readings of the same StackOverflow titles: their tag, and how they ask. The last wording is in no training data.
READINGS = {
    "by topic": "Represent the StackOverflow title for clustering by topic: ",
    "by form": "Represent the StackOverflow title for clustering by question type: ",
    "by form, in words not trained on": "Represent the title for grouping by the way the question is asked: ",
    "none": "",
}


def read_published(path: Path, model: str) -> dict[str, str | Roles]:
    """The instructions of one model in a file like mteb_instructions.json: MTEB task -> one, or query and corpus.

    Raises:
        ValueError: the file is of another form or has no such model; names what it has.
    """
    try:
        published: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        models = sorted(published)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: expected JSON {{model: {{task: instruction}}}} ({error}).") from None
    if model not in published:
        raise ValueError(f"{path}: has no instructions of {model!r}, only of {', '.join(models)}.")
    return dict(published[model])


def choose(published: Mapping[str, str | Roles]) -> dict[str, Roles]:
    """Instructions of every task: the published one where there is one, else DEFAULT."""
    chosen = {}
    for task, default in DEFAULT.items():
        found = published.get(MTEB_NAMES.get(task, task))
        if found is None:
            chosen[task] = default
        elif isinstance(found, str):
            chosen[task] = dict.fromkeys(default, found)
        else:
            chosen[task] = {role: found[MTEB_ROLES[role]] for role in default}
    return chosen

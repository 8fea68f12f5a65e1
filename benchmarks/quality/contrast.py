"""Whether instructions matter: the same texts under different ones, measured. Knows nothing about models.

Two questions. Is retrieval better under the query and document instructions than under none, or under one that
fits neither side? And do the same StackOverflow titles have other neighbours when the instruction asks for
another reading: their topic (the tag) or their form (how to, why, yes or no, ...)?
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

Float32 = npt.NDArray[np.float32]

NEIGHBOURS = 10
TITLES = 5000  # at most, evenly spread: every title is compared with every other

# The form of a title by its first words; first match wins, and a title that matches none has no form.
# Written for this measurement: training has rules of its own.
_FORMS = (
    ("how to", re.compile(r"how (to|do|does|can|could|should|would)\b|howto\b")),
    ("why", re.compile(r"why\b")),
    ("what", re.compile(r"what('s| is| are| does| do)?\b")),
    ("which", re.compile(r"which\b|best\b")),
    ("where", re.compile(r"where\b")),
    ("yes or no", re.compile(r"(is|are|does|do|can|could|should|will|has|have|did) .*\?$")),
    ("gerund", re.compile(r"(using|getting|creating|adding|setting|calling|converting|passing|finding|making)\b")),
    ("problem", re.compile(r".*(error|exception|\bfails?|\bfailed|\bnot working|doesn't work|problems?|issues?)\b")),
)


def form_of(title: str) -> str:
    """ "how to", "why", "yes or no", ..., or "" for a title whose form no rule names."""
    lowered = title.lower().strip()
    return next((form for form, pattern in _FORMS if pattern.match(lowered)), "")


def neighbours(vectors: Mapping[str, Float32], topics: list[str], forms: list[str]) -> dict[str, dict[str, float]]:
    """For each reading: how many of a title's ten nearest share its topic, and how many share its form.

    Args:
        vectors: reading -> [titles, embedding_dim].
        topics, forms: of each title.

    Returns:
        Shares of 1, and under "chance" those of neighbours drawn at random.
    """
    found = {}
    for reading, of_reading in vectors.items():
        near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(topics) - 1), metric="cosine", algorithm="brute")
        nearest = near.fit(of_reading).kneighbors(return_distance=False)  # [titles, 10]; a title is not its own
        found[reading] = {"same topic": _shared(topics, nearest), "same form": _shared(forms, nearest)}
    found["chance"] = {"same topic": _by_chance(topics), "same form": _by_chance(forms)}
    return found


def _shared(labels: list[str], nearest: npt.NDArray[np.int64]) -> float:
    """How many neighbours of a labelled title have its label; a title without one ("") is nobody's match."""
    known = np.array(labels)
    labelled = known != ""
    return float((known[nearest] == known[:, None])[labelled].mean())


def _by_chance(labels: list[str]) -> float:
    counts = np.unique(np.array([label for label in labels if label]), return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (counts.sum() * (len(labels) - 1)))

"""A ranking -> a table, what it says, and the winner ready to paste."""

from __future__ import annotations

import json
import textwrap

from instructor_onnx.ranking.candidates import NONE
from instructor_onnx.ranking.rank import Ranked, Ranking
from instructor_onnx.ranking.scores import Estimate

POINTS = 100  # a score of 1 is 100 points
LONGEST = 200  # characters of a wording; a published one has 1,009


def text(ranking: Ranking) -> str:
    """The report."""
    heading = f"{ranking.model} {ranking.variant}, {ranking.kind}: {ranking.sample}"
    return "\n\n".join(
        [heading, table(ranking), wordings(ranking), verdict(ranking), paste(ranking.best, ranking.kind)]
    )


def table(ranking: Ranking) -> str:
    """A line a candidate, in points, with 95 % intervals."""
    others = [metric for metric in ranking.best.scores if metric != ranking.by]
    lines = [["", ranking.by, "95 %", *others, "over none", "95 %", "to the best", "95 %"]]
    for candidate in ranking.candidates:
        lines.append(
            [
                candidate.name,
                *_cells(candidate.scores[ranking.by], ".1f"),
                *(f"{POINTS * candidate.scores[metric].value:.1f}" for metric in others),
                *(["", ""] if candidate.pair == NONE.pair else _cells(candidate.over_none, "+.1f")),
                *(["", ""] if candidate is ranking.best else _cells(candidate.over_best, "+.1f")),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    return "\n".join(aligned)


def _cells(found: Estimate, form: str) -> list[str]:
    return [f"{POINTS * found.value:{form}}", f"{POINTS * found.low:{form}} to {POINTS * found.high:{form}}"]


def wordings(ranking: Ranking) -> str:
    """What each candidate says."""
    lines = []
    for name, (query, document) in ((candidate.name, candidate.pair) for candidate in ranking.candidates):
        said = _quoted(query) if query == document else f"{_quoted(query)}, {_quoted(document)}"
        lines.append(f"{name}: {textwrap.shorten(said, LONGEST, placeholder=' …')}")
    return "\n".join(lines)


def verdict(ranking: Ranking) -> str:
    """What the intervals allow to say."""
    best = ranking.best
    if best.pair == NONE.pair:
        first = "None scores best: the texts as they are."
    elif best.over_none.is_not_zero:
        first = f"{best.name!r} is better than no instruction, by {_cells(best.over_none, '+.1f')[1]} points."
    else:
        first = (
            f"{best.name!r} scores best, but on these {ranking.units:,} {ranking.unit} no instruction may do as well."
        )
    names = ", ".join(candidate.name for candidate in ranking.as_good)
    second = f"As good as the best, as far as this sample tells: {names}." if names else "It beats every other."
    return (
        f"{first}\n{second}\nPoints, with 95 % bootstrap intervals ({ranking.resamples:,} resamples of the "
        f"{ranking.unit}, seed {ranking.seed}); differences are paired.\n"
        f"The best of {len(ranking.candidates)} is flattered by having been chosen here: judge it on other texts."
    )


def paste(best: Ranked, kind: str) -> str:
    """The winner as Python, and as `prompts` of config_sentence_transformers.json."""
    if best.pair == NONE.pair:
        return "Nothing to paste: embed the texts as they are."
    query, document = best.pair
    config: dict[str, object]
    if kind == "retrieval":
        python = f"MINE = Pair(query={_quoted(query)}, document={_quoted(document)})"
        config = {"prompts": {"query": query, "document": document}, "default_prompt_name": None}
    else:
        python = f"MINE = {_quoted(query)}"
        config = {"prompts": {"mine": query}, "default_prompt_name": "mine"}
    pasted = json.dumps(config, indent=2, ensure_ascii=False)
    return f"in Python:\n{python}\n\nin the checkpoint's config_sentence_transformers.json:\n{pasted}"


def _quoted(instruction: str) -> str:
    return json.dumps(instruction, ensure_ascii=False)

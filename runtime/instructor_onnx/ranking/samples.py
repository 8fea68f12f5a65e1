"""A labelled sample in JSON lines -> texts and gold labels of one of three kinds. Knows nothing about models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from instructor_onnx.files.records import Lines, open_lines, read_jsonl
from instructor_onnx.ranking import scores
from instructor_onnx.ranking.scores import Float64, Statistic

LEAST = 10  # queries, pairs or texts: an interval from fewer says nothing
MOST = 10_000  # lines: each text is embedded under every candidate, and 1,000 make the intervals narrow
NAMED = 200  # characters of a line's fields in an error


@dataclass(frozen=True)
class Retrieval:
    """Queries, and the documents that answer them among all documents of the sample."""

    kind: ClassVar[str] = "retrieval"
    unit: ClassVar[str] = "queries"
    metrics: ClassVar[tuple[str, ...]] = ("nDCG@10", "recall@10")

    queries: list[str]
    documents: list[str]
    relevant: list[list[int]]  # of each query, places in `documents`

    @property
    def sides(self) -> tuple[list[str], ...]:
        """The texts, by the instruction they get."""
        return self.queries, self.documents

    @property
    def gold(self) -> Sequence[object]:
        """What has to differ, for a score to tell anything."""
        return self.documents

    def measure(self, vectors: Sequence[Float64]) -> list[Statistic]:
        """The metrics of vectors of unit length, an array [texts, dim] a side."""
        queries, documents = vectors
        # A query that is among the documents, as a question among its duplicates, is not what it looks for.
        places = {text: place for place, text in enumerate(self.documents)}
        own = [
            [place] if (place := places.get(query)) is not None and place not in gold else []
            for query, gold in zip(self.queries, self.relevant, strict=True)
        ]
        return [scores.mean(values) for values in scores.retrieval(queries, documents, self.relevant, own)]

    @property
    def units(self) -> int:
        """How many queries, pairs or texts there are: what resamples draw from."""
        return len(self.queries)

    def __str__(self) -> str:
        return f"{len(self.queries):,} queries, {len(self.documents):,} documents"


@dataclass(frozen=True)
class Pairs:
    """Two texts each, and how alike people find them."""

    kind: ClassVar[str] = "pairs"
    unit: ClassVar[str] = "pairs"
    metrics: ClassVar[tuple[str, ...]] = ("Spearman",)

    first: list[str]
    second: list[str]
    gold: Sequence[float]

    @property
    def sides(self) -> tuple[list[str], ...]:
        return self.first, self.second

    def measure(self, vectors: Sequence[Float64]) -> list[Statistic]:
        first, second = vectors
        return [scores.spearman((first * second).sum(axis=1), np.array(self.gold))]

    @property
    def units(self) -> int:
        return len(self.gold)

    def __str__(self) -> str:
        return f"{len(self.gold):,} pairs"


@dataclass(frozen=True)
class Labelled:
    """Texts with a label each."""

    kind: ClassVar[str] = "labels"
    unit: ClassVar[str] = "texts"
    # Of clusters there is no score that needs neither a seed nor an algorithm, and none a text: v-measure moves by a
    # point with k-means' seed, as much as instructions differ. Average precision asks the same of the vectors.
    metrics: ClassVar[tuple[str, ...]] = ("mAP", "nearest")

    texts: list[str]
    labels: list[str]

    @property
    def sides(self) -> tuple[list[str], ...]:
        return (self.texts,)

    @property
    def gold(self) -> Sequence[object]:
        return self.labels

    def measure(self, vectors: Sequence[Float64]) -> list[Statistic]:
        (texts,) = vectors
        labels = np.unique(self.labels, return_inverse=True)[1]
        return [scores.mean(values) for values in scores.neighbours(texts, labels)]

    @property
    def units(self) -> int:
        return len(self.texts)

    @property
    def alone(self) -> int:
        """Texts whose label no other has: near others, and not scored themselves."""
        _, counts = np.unique(self.labels, return_counts=True)
        return int((counts == 1).sum())

    def __str__(self) -> str:
        note = f", {self.alone:,} of them of one text (not scored)" if self.alone else ""
        return f"{len(self.texts):,} texts, {len(set(self.labels)):,} labels{note}"


Sample: TypeAlias = Retrieval | Pairs | Labelled


def read(source: Path) -> Sample:
    """The sample of a file of JSON lines, one object a line; its kind is told by the fields.

    Raises:
        ValueError: names the line, the field and the fix.
    """
    with open_lines(source) as lines:
        rows: list[tuple[int, dict[str, Any]]] = []
        for line, value in read_jsonl(lines):
            if not isinstance(value, dict):
                raise lines.error(line, f"found {type(value).__name__}, expected an object.")
            if len(rows) == MOST:
                raise lines.error(line, f"more than {MOST:,} lines. Draw some: shuf -n 1000 {lines.name}.")
            rows.append((line, value))
        if not rows:
            raise ValueError(f"{lines.name}: empty, expected {EXPECTED}.")
        try:
            collect = _COLLECT[_kind(rows[0][1])]
        except ValueError as error:
            raise lines.error(rows[0][0], error) from None
        sample = collect(_Rows(lines, rows))
    _check(sample, lines.name)
    return sample


# The fields of each kind; the last one is the gold label, but for a document, which is both.
FIELDS = {
    "retrieval": ("query", "document"),
    "pairs": ("sentence1", "sentence2", "score"),
    "labels": ("text", "label"),
}
EXPECTED = (
    "on each line query and document (retrieval), sentence1, sentence2 and score (pairs), or text and label (labels)"
)


def _kind(fields: Mapping[str, Any]) -> str:
    found = [kind for kind, (first, second, *_) in FIELDS.items() if {first, second} & fields.keys()]
    if len(found) != 1:
        fit = f"fields of {' and '.join(found)}" if found else "fields of no kind"
        raise ValueError(f"{fit} ({_names(fields)}), expected {EXPECTED}.")
    return found[0]


@dataclass(frozen=True)
class _Rows:
    """The objects of a file, each error with its line."""

    lines: Lines
    rows: list[tuple[int, dict[str, Any]]]

    def each(self, take: Callable[[int, dict[str, Any]], None]) -> None:
        """Call `take` on every line and its object."""
        for line, fields in self.rows:
            try:
                take(line, fields)
            except ValueError as error:
                raise self.lines.error(line, error) from None


def _retrieval(rows: _Rows) -> Retrieval:
    relevant: dict[str, dict[int, None]] = {}  # a query of several lines has the documents of all
    places: dict[str, int] = {}

    def take(line: int, fields: dict[str, Any]) -> None:
        found = [places.setdefault(text, len(places)) for text in _documents(fields)]
        if "query" in fields:
            relevant.setdefault(_text(fields, "query"), {}).update(dict.fromkeys(found))

    rows.each(take)
    return Retrieval(list(relevant), list(places), [list(gold) for gold in relevant.values()])


def _pairs(rows: _Rows) -> Pairs:
    first, second, gold = [], [], []

    def take(line: int, fields: dict[str, Any]) -> None:
        first.append(_text(fields, "sentence1"))
        second.append(_text(fields, "sentence2"))
        gold.append(_score(fields))

    rows.each(take)
    return Pairs(first, second, gold)


def _labelled(rows: _Rows) -> Labelled:
    seen: dict[str, tuple[str, int]] = {}  # text -> its label and line; twice the same text would be its own neighbour

    def take(line: int, fields: dict[str, Any]) -> None:
        text, label = _text(fields, "text"), _label(fields)
        before, where = seen.setdefault(text, (label, line))
        if before != label:
            raise ValueError(f"label {label:.60} for the text that line {where} has as {before:.60}. Keep one of them.")

    rows.each(take)
    return Labelled(list(seen), [label for label, _ in seen.values()])


_COLLECT: dict[str, Callable[[_Rows], Sample]] = {"retrieval": _retrieval, "pairs": _pairs, "labels": _labelled}


def _check(sample: Sample, name: str) -> None:
    found, what = sample.units, sample.unit
    if isinstance(sample, Labelled):
        found, what = found - sample.alone, "texts that share a label with another"
    if found < LEAST:
        raise ValueError(f"{name}: found {found} {what}, expected {LEAST} or more, better 200.")
    if len(set(sample.gold)) == 1:
        field = FIELDS[sample.kind][-1]
        raise ValueError(f"{name}: {field!r} is the same on every line: every instruction would score the same.")


def _value(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise ValueError(f"no field {name!r} (it has {_names(fields)}).")
    return fields[name]


def _wrong(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"field {name!r} holds {type(value).__name__} ({value!r:.40}), expected {expected}.")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = _value(fields, name)
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, value, "a text")
    return value


def _documents(fields: Mapping[str, Any]) -> list[str]:
    value = _value(fields, "document")
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(text, str) and text.strip() for text in values):
        raise _wrong("document", value, "a text or a list of texts")
    return values


def _score(fields: Mapping[str, Any]) -> float:
    value = _value(fields, "score")
    if not isinstance(value, int | float):  # true and false are 1 and 0
        raise _wrong("score", value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"field 'score' holds a number of {len(str(value)):,} digits; expected one of a float"
        ) from None


def _label(fields: Mapping[str, Any]) -> str:
    value = _value(fields, "label")
    if not isinstance(value, str | int):
        raise _wrong("label", value, "a string or a whole number")
    return value if isinstance(value, str) else json.dumps(value)


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(map(str, fields))[:NAMED] or "none"

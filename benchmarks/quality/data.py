"""The evaluation sets in their published formats -> texts and gold labels. Knows nothing about models or scores.

The folder is laid out as `<data>/<set>/<file>`; every reader says which file it needs. With a `limit`, every
reader keeps an evenly spread part, so that a quick look sees all genres, intents and topics.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

DOCUMENTS_PER_QUERY = 10  # of a limited retrieval set: documents kept for every query kept


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs with a similarity judged by people."""

    first: list[str]
    second: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Retrieval:
    """Queries, documents, and which answer which."""

    queries: dict[str, str]  # id -> text
    documents: dict[str, str]
    relevant: dict[str, dict[str, int]]  # query id -> document id -> grade


@dataclass(frozen=True)
class Labelled:
    """Texts with a class each."""

    texts: list[str]
    labels: list[str]

    def spread(self, limit: int | None) -> Labelled:
        """An evenly spread part of it."""
        return Labelled(spread(self.texts, limit), spread(self.labels, limit))


@dataclass(frozen=True)
class Rated:
    """Machine-written texts, the references of each, and the score that people gave."""

    hypotheses: list[str]
    references: list[list[str]]
    scores: list[float]


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """`limit` of the items at even distances, in order; all of them where there are no more."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def stsb(data: Path, limit: int | None = None) -> Pairs:
    """STS Benchmark, test: tab separated and unquoted, score in column 4, sentences in 5 and 6."""
    with _file(data, "stsb/sts-test.csv").open(encoding="utf-8", newline="") as lines:
        rows = spread(list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)), limit)
    return Pairs([row[5] for row in rows], [row[6] for row in rows], [float(row[4]) for row in rows])


def scifact(data: Path, limit: int | None = None) -> Retrieval:
    """SciFact in BEIR form: claims to abstracts; a document is `title + " " + text`, as MTEB has it."""
    with _file(data, "scifact/qrels/test.tsv").open(encoding="utf-8") as lines:
        relevant: dict[str, dict[str, int]] = {}
        for row in csv.DictReader(lines, delimiter="\t"):
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    texts = {row["_id"]: row["text"] for row in _json_lines(_file(data, "scifact/queries.jsonl"))}
    documents = {
        row["_id"]: f"{row['title']} {row['text']}".strip()
        for row in _json_lines(_file(data, "scifact/corpus.jsonl.gz"))
    }
    return _limited(Retrieval({query: texts[query] for query in relevant}, documents, relevant), limit)


def xquad(data: Path, limit: int | None = None) -> Retrieval:
    """XQuAD English: questions to the paragraph that answers them."""
    articles = json.loads(_file(data, "xquad_en/xquad.en.json").read_text(encoding="utf-8"))["data"]
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        document = f"p{len(documents)}"
        documents[document] = paragraph["context"]
        for question in paragraph["qas"]:
            queries[question["id"]] = question["question"]
            relevant[question["id"]] = {document: 1}
    return _limited(Retrieval(queries, documents, relevant), limit)


def banking77(data: Path, limit: int | None = None) -> tuple[Labelled, Labelled]:
    """Banking77, train and test: questions to a bank, 77 intents."""

    def part(name: str) -> Labelled:
        with _file(data, f"banking77/{name}.csv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        return Labelled([row["text"] for row in rows], [row["category"] for row in rows]).spread(limit)

    return part("train"), part("test")


def clinc150(data: Path, limit: int | None = None) -> tuple[Labelled, Labelled]:
    """CLINC150, train and test: utterances to an assistant, 150 intents; those out of scope are left out."""
    splits = json.loads(_file(data, "clinc150/data_full.json").read_text(encoding="utf-8"))

    def part(name: str) -> Labelled:
        return Labelled([text for text, _ in splits[name]], [label for _, label in splits[name]]).spread(limit)

    return part("train"), part("test")


def stackoverflow(data: Path, limit: int | None = None) -> Labelled:
    """StackOverflow question titles, 20 tags of 1,000 each: line i of one file belongs to line i of the other."""
    titles, labels = (
        _file(data, f"stackoverflow_titles/{name}_StackOverflow.txt").read_text(encoding="utf-8").splitlines()
        for name in ("title", "label")
    )
    if len(titles) != len(labels):
        raise ValueError(f"{data / 'stackoverflow_titles'}: {len(titles)} titles and {len(labels)} labels.")
    return Labelled(titles, labels).spread(limit)


def billboard(data: Path, name: str, limit: int | None = None) -> Rated:
    """Billboard's `mscoco` (captions) or `cnndm` (summaries), with THumB's human scores."""
    references = {
        row["seg_id"]: row["refs"] for row in _json_lines(_file(data, f"billboard/{name}_references.jsonl.gz"))
    }
    rows = spread(list(_json_lines(_file(data, f"billboard/{name}_THumB-1.0.jsonl.gz"))), limit)
    return Rated(
        [row["hyp"] for row in rows], [references[row["seg_id"]] for row in rows], [row["human_score"] for row in rows]
    )


def _limited(whole: Retrieval, limit: int | None) -> Retrieval:
    """Fewer queries, and with all their answers so many other documents that finding them stays a task."""
    if limit is None or limit >= len(whole.queries):
        return whole
    queries = {query: whole.queries[query] for query in spread(list(whole.queries), limit)}
    relevant = {query: whole.relevant[query] for query in queries}
    kept = {document for grades in relevant.values() for document in grades}
    kept.update(spread(list(whole.documents), DOCUMENTS_PER_QUERY * limit))
    return Retrieval(queries, {key: text for key, text in whole.documents.items() if key in kept}, relevant)


def _file(data: Path, name: str) -> Path:
    path = data / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. --data names the folder of the evaluation sets.")
    return path


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    stream = (
        gzip.open(path, "rt", encoding="utf-8")  # noqa: SIM115 - closed by the `with` below
        if path.suffix == ".gz"
        else path.open(encoding="utf-8")
    )
    with stream as lines:
        for line in lines:
            yield json.loads(line)

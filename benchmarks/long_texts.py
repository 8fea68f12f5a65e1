"""What serves texts past max_seq_length: cut, run whole, the mean of windows, a vector a chunk, late chunks.

    python -m benchmarks.long_texts                                   # instructor-mini, which comes along
    python -m benchmarks.long_texts BUNDLE --page docs/benchmarks.md
    python -m benchmarks.long_texts benchmarks/results/long-texts-X.json --page docs/benchmarks.md    # only the table

XQuAD's English paragraphs, in their order, are joined to documents of about so many tokens; its questions have to find
the document that has their paragraph. A document of several vectors is as similar as the most similar of them. Each
length of documents is judged on three joinings, which begin at other paragraphs; the scores are their means.

Timed: `encode` of all documents of a joining, the fastest of the three. Not timed: loading, questions, search.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR
from instructor_onnx.inputs import Row
from instructor_onnx.long_texts import LongTexts
from ir_measures import R, nDCG

from benchmarks.common import PROJECT, commands, machine, results
from benchmarks.common.markdown import rewrite_block, table
from benchmarks.quality import data as sets
from benchmarks.quality.instructions import DEFAULT
from benchmarks.quality.tasks import ranking_scores

Float32 = npt.NDArray[np.float32]

LENGTHS = (600, 1500, 4000)  # tokens of a document, about
JOININGS = 3
MEASURES = {"ndcg_at_10": nDCG @ 10, "recall_at_1": R @ 1}
LONGEST = 8192  # tokens, past every document: "whole"


@dataclass(frozen=True)
class Way:
    """What `encode` is told of long texts."""

    title: str
    long_texts: LongTexts = "cut"
    tokens_per_chunk: int | None = None
    chunk_overlap: int = 0
    max_seq_length: int = 512

    def encode(self, model: INSTRUCTOR, rows: list[list[str]]) -> Any:
        model.max_seq_length = self.max_seq_length
        return model.encode(
            rows,
            long_texts=self.long_texts,
            tokens_per_chunk=self.tokens_per_chunk,
            chunk_overlap=self.chunk_overlap,
        )


WAYS = (
    Way("cut at 128", max_seq_length=128),
    Way("cut at 256", max_seq_length=256),
    Way("cut at 512"),
    Way("cut at 1,024", max_seq_length=1024),
    Way("whole, in one run", max_seq_length=LONGEST),
    Way("mean of windows of 512", "mean"),
    Way("mean of windows of 512, overlap 64", "mean", None, 64),
    Way("mean of windows of 128", "mean", 128),
    Way("chunks of 512", "chunks"),
    Way("chunks of 512, overlap 64", "chunks", None, 64),
    Way("chunks of 256", "chunks", 256),
    Way("chunks of 128", "chunks", 128),
    Way("chunks of 128, overlap 32", "chunks", 128, 32),
    Way("chunks of 64", "chunks", 64),
    Way("chunks of 64, overlap 16", "chunks", 64, 16),
    Way("chunks of 32", "chunks", 32),
    Way("late chunks of 256", "late_chunks", 256),
    Way("late chunks of 128", "late_chunks", 128),
    Way("late chunks of 128, overlap 64", "late_chunks", 128, 64),
    Way("late chunks of 128, whole in one run", "late_chunks", 128, max_seq_length=LONGEST),
    Way("late chunks of 64", "late_chunks", 64),
    Way("late chunks of 32", "late_chunks", 32),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = commands.parser("long_texts", __doc__)
    parser.add_argument("subject", nargs="?", default="instructor-mini", metavar="BUNDLE|RESULTS.json")
    parser.add_argument("--variant", default="int8")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared/data/eval", help="the evaluation sets")
    commands.add_threads(parser)
    commands.add_out(parser, "long-texts-<model>")
    commands.add_page(parser, "--page", "long-texts", "the table")
    return commands.run(parser, arguments, _run)


def _run(options: argparse.Namespace) -> int:
    path = Path(options.subject) if options.subject.endswith(".json") else judge(options)
    found = results.read(path, "subject", "documents")
    text = report(found)
    sys.stdout.write(text + "\n")
    if options.page:
        rewrite_block(options.page, text, "long-texts")
    return 0


def judge(options: argparse.Namespace) -> Path:
    """Measure every way on every length, and write the results file."""
    model = INSTRUCTOR(
        options.subject, variant=options.variant, device="cpu", engine=options.engine, num_threads=options.threads
    )
    out = results.own_file("long-texts", model.manifest.model.name, options.out)
    task, roles = sets.xquad(options.data), DEFAULT["xquad"]
    queries = model.encode([[roles["query"], text] for text in task.queries.values()])
    lengths = model.tokenizer([Row("", text) for text in task.documents.values()], LONGEST).lengths.tolist()
    content: dict[str, Any] = {
        "date": results.today(),
        "subject": {
            "model": model.manifest.model.name,
            "variant": model.variant,
            "engine": model.engine_name,
            "threads": model.engine.num_threads,
            "instructions": roles,
            "machine": machine.facts(),
            "versions": machine.versions(("instructor-onnx", "tokenizers", "numpy", "ir-measures")),
        },
        "documents": {},
    }
    for length in LENGTHS:
        joinings = [
            joined(task, lengths, length, place * len(lengths) // JOININGS + place) for place in range(JOININGS)
        ]
        ways = {}
        for way in WAYS:
            ways[way.title] = figures = judge_way(model, way, joinings, queries, roles["document"])
            sys.stderr.write(f"{length:>5} {way.title:<40} {figures}\n")
        content["documents"][str(length)] = {
            "count": [len(joining.documents) for joining in joinings],
            "tokens": round(sum(lengths) / statistics.mean(len(joining.documents) for joining in joinings)),
            "ways": ways,
        }
    results.write(out, content)
    return out


def joined(task: sets.Retrieval, lengths: Sequence[int], length: int, first: int) -> sets.Retrieval:
    """The documents, in their order from the one at `first` on, joined to ones of about `length` tokens.

    Args:
        lengths: tokens of each document.
    """
    names = list(task.documents)
    owners: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    before = 0
    for place in itertools.chain(range(first, len(names)), range(first)):
        owner = owners[names[place]] = f"d{before // length}"
        texts.setdefault(owner, []).append(task.documents[names[place]])
        before += lengths[place]
    relevant = {query: {owners[name]: grade for name, grade in found.items()} for query, found in task.relevant.items()}
    return dataclasses.replace(
        task, documents={name: "\n\n".join(parts) for name, parts in texts.items()}, relevant=relevant
    )


def judge_way(
    model: INSTRUCTOR, way: Way, joinings: Sequence[sets.Retrieval], queries: Float32, instruction: str
) -> dict[str, float]:
    """Scores, vectors a document and seconds; `queries` are the questions' vectors."""
    scores, seconds, vectors, documents = [], [], 0, 0
    for joining in joinings:
        rows = [[instruction, text] for text in joining.documents.values()]
        started = time.perf_counter()
        found = way.encode(model, rows)
        seconds.append(time.perf_counter() - started)
        similarity, count = best_of_each(queries, found)
        scores.append(ranking_scores(joining, similarity, MEASURES))
        vectors += count
        documents += len(rows)
    means = {name: round(statistics.mean(score[name] for score in scores), 5) for name in MEASURES}
    return {**means, "vectors": round(vectors / documents, 2), "seconds": round(min(seconds), 3)}


def best_of_each(queries: Float32, found: Any) -> tuple[Float32, int]:
    """The cosine of each query to each document's best vector, [queries, documents], and how many vectors there are.

    Args:
        found: what `encode` gave: an array [documents, dim], or a list of chunks for each document.
    """
    if isinstance(found, np.ndarray):
        return queries @ found.T, len(found)
    firsts = np.cumsum([0, *(len(chunks) for chunks in found[:-1])])
    vectors = np.stack([chunk.embedding for chunks in found for chunk in chunks])
    return np.maximum.reduceat(queries @ vectors.T, firsts, axis=1), len(vectors)


def report(found: dict[str, Any]) -> str:
    """The table, in Markdown."""
    subject, lengths = found["subject"], found["documents"]
    titles = [""]
    for each in lengths.values():
        titles += [f"{each['tokens']:,} tokens: nDCG@10", "first is right", "vectors", "s"]
    rows = []
    for way in next(iter(lengths.values()))["ways"]:
        row = [way]
        for each in lengths.values():
            figures = each["ways"][way]
            row += [f"{100 * figures[name]:.1f}" for name in MEASURES]
            row += [f"{figures['vectors']:.3g}", f"{figures['seconds']:.2f}"]
        rows.append(row)
    counts = ", ".join(str(each["count"][0]) for each in lengths.values())
    return (
        f"{subject['model']}, {subject['variant']} on {subject['engine']}, by `python -m benchmarks.long_texts` on "
        f"{found['date']} ({machine.line(subject)}). XQuAD's English paragraphs joined to {counts} documents, and its "
        "questions to find the one that has their paragraph; scores in points, vectors a document, seconds for all "
        "documents. A document of several vectors is as similar as the most similar of them.\n\n" + table(titles, rows)
    )


if __name__ == "__main__":
    logging.getLogger("instructor_onnx").setLevel(logging.ERROR)  # that texts are cut is what is measured
    sys.exit(main())

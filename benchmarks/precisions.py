"""Smaller vectors on real tasks: each precision and dimension, alone and with the best of them ranked again.

    python -m benchmarks.precisions                        # instructor-mini on STS-B, SciFact and XQuAD: a minute
    python -m benchmarks.precisions my-bundle --variant int8
    python -m benchmarks.precisions benchmarks/results/precisions-*.json --docs docs/smaller-vectors.md   # the table

nDCG@10 of retrieval, Spearman of pairs, times 100. "Again" ranks anew, by another similarity, the 40 documents (four
times the ten that count) that bits have found: by the query's floats and the same bits, or by its floats and the
documents' int8 codes, which then have to be kept, too, if not in memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR, Manifest
from instructor_onnx.engines.cpus import available_cpus
from instructor_onnx.vectors import Precision, comparable, pairwise_similarities, similarities
from ir_measures import nDCG
from scipy.stats import spearmanr

from benchmarks.common import commands, machine, results
from benchmarks.common.markdown import rewrite_block, table
from benchmarks.quality import data as sets
from benchmarks.quality.__main__ import CACHE, SHARED
from benchmarks.quality.embedders import BundleEmbedder, Column
from benchmarks.quality.instructions import DEFAULT
from benchmarks.quality.tasks import ranking_scores

Float32 = npt.NDArray[np.float32]
Similarity = Callable[[Float32, Float32], Float32]  # queries, documents -> [queries, documents]

RETRIEVAL = {"scifact": ("SciFact", sets.scifact), "xquad": ("XQuAD", sets.xquad)}
SHARES = (1, 2 / 3, 1 / 3, 1 / 6)  # of a vector's numbers
CANDIDATES = 40  # four times the ten that are judged
NOT_FOUND = -2.0  # below any cosine
ALONE: tuple[Precision, ...] = ("float32", "int8", "binary")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it is done, 1 after an error that was said on stderr."""
    return commands.run(_parser(), arguments, _run)


def _run(options: argparse.Namespace) -> int:
    finished = all(path.suffix == ".json" for path in options.subjects)
    paths = options.subjects if finished else [measure(options)]
    text = "\n\n".join(tables(results.read(path, "scores")) for path in paths)
    sys.stdout.write(text + "\n")
    if options.docs:
        rewrite_block(options.docs, text, "precisions")
    return 0


def measure(options: argparse.Namespace) -> Path:
    """Embed, score and write the results file."""
    (name,) = options.subjects
    model = INSTRUCTOR(name, variant=options.variant, device="cpu", engine=options.engine, num_threads=options.threads)
    manifest = Manifest.read(model.folder)
    embedder = BundleEmbedder(model.folder, model.variant, model.engine.name, options.threads or available_cpus())
    vectors = partial(_vectors, Column(model.variant, embedder, options.cache))
    out = results.own_file("precisions", manifest.model.name, options.out)
    found: dict[str, Any] = {
        "date": results.today(),
        "subject": {
            "model": manifest.model.name,
            "variant": model.variant,
            "engine": model.engine.name,
            "fingerprint": model.fingerprint,
            "int8_scale": manifest.int8_scale,
            "machine": machine.facts(),
        },
        "limit": options.limit,
        "scores": {},
    }
    pairs = sets.stsb(options.data, options.limit)
    first, second = (vectors("stsb", "text", texts) for texts in (pairs.first, pairs.second))
    retrieval = {key: read(options.data, options.limit) for key, (_, read) in RETRIEVAL.items()}
    sides = {
        key: (vectors(key, "query", list(r.queries.values())), vectors(key, "document", list(r.documents.values())))
        for key, r in retrieval.items()
    }
    for dim, how, size, compare in _ways(model):
        scores: dict[str, float] = {}
        for key, found_by in sides.items():
            scores |= ranking_scores(retrieval[key], compare(*found_by), {key: nDCG @ 10})
        if how in ALONE:
            form = model.form(how, dim)
            a, b = comparable(form(first), form(second), manifest.model.embedding_dim)
            scores["stsb"] = float(spearmanr(pairwise_similarities("cosine", a, b), pairs.scores).statistic)
        found["scores"].setdefault(str(dim), {})[how] = {"bytes": size, **scores}
        sys.stderr.write(f"{dim} {how}: {scores}\n")
        results.write(out, found)
    return Path(out)


def _vectors(column: Column, task: str, role: str, texts: list[str]) -> Float32:
    return column.vectors(DEFAULT[task][role], texts, task)


def _ways(model: INSTRUCTOR) -> Iterator[tuple[int, Any, int, Similarity]]:
    """Numbers kept, how they are compared, bytes of a document, and the similarity of whole float vectors that way."""
    whole = model.manifest.model.embedding_dim

    def compared(
        dim: int, of_query: Precision, of_document: Precision, queries: Float32, documents: Float32
    ) -> Float32:
        forms = model.form(of_query, dim), model.form(of_document, dim)
        return similarities("cosine", *comparable(forms[0](queries), forms[1](documents), whole))

    def again(dim: int, precision: Precision, queries: Float32, documents: Float32) -> Float32:
        found = compared(dim, "binary", "binary", queries, documents)
        best = np.argsort(-found, axis=1, kind="stable")[:, :CANDIDATES]
        ranked = compared(dim, "float32", precision, queries, documents)
        result = np.full_like(found, NOT_FOUND)
        np.put_along_axis(result, best, np.take_along_axis(ranked, best, axis=1), axis=1)
        return result

    for dim in (round(whole * share / 8) * 8 for share in SHARES):
        for precision in ALONE:
            form = model.form(precision, dim)
            yield dim, precision, form.columns * form.dtype.itemsize, partial(compared, dim, precision, precision)
        bits = model.form("binary", dim).columns
        yield dim, "binary, again by the query's floats", bits, partial(again, dim, "binary")
        yield dim, "binary, again by int8", bits + dim, partial(again, dim, "int8")


def tables(found: dict[str, Any]) -> str:
    """The table, in Markdown: what is lost to whole float vectors in brackets."""
    names = {"scifact": "SciFact, nDCG@10", "xquad": "XQuAD, nDCG@10", "stsb": "STS-B, Spearman"}
    scores = found["scores"]
    whole = next(iter(scores.values()))["float32"]
    rows = []
    for dim, ways in scores.items():
        for how, figures in ways.items():
            cells = (_cell(figures.get(key), whole[key]) for key in names)
            rows.append([dim, how, f"{figures['bytes']:,}", *cells])
    subject = found["subject"]
    heading = (
        f"{subject['model']} {subject['variant']} ({subject['engine']}), by `python -m benchmarks.precisions` on "
        f"{found['date']}; in brackets, what is lost to whole float vectors."
    )
    return f"{heading}\n\n{table(['numbers', 'precision', 'bytes a document', *names.values()], rows)}"


def _cell(score: float | None, whole: float) -> str:
    return "" if score is None else f"{100 * score:.2f} ({100 * (score - whole):+.2f})"


def _parser() -> argparse.ArgumentParser:
    parser = commands.parser("precisions", __doc__)
    parser.add_argument(
        "subjects", nargs="*", type=Path, default=[Path("instructor-mini")], metavar="BUNDLE|RESULTS.json"
    )
    parser.add_argument("--variant", default="int8", help="default: int8")
    parser.add_argument("--engine", help="native or onnxruntime; default: as the runtime chooses")
    parser.add_argument("--limit", type=int, help="texts (or queries) of each task, for a quick look")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "eval", help="folder of the evaluation sets")
    commands.add_threads(parser)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where vectors are kept; may be deleted at any time")
    commands.add_out(parser, "precisions-<model>")
    commands.add_page(parser, "--docs", "precisions", "the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())

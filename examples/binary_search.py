"""Search over binary vectors: 100,000 texts in a thirtieth of the memory, beside float32 and int8.

    pip install usearch
    python examples/binary_search.py                                  # instructor-mini and sentences of its own making
    python examples/binary_search.py --texts texts.txt --bundle my-bundle

Four indexes of usearch (HNSW), each asked the same questions: float32, int8, bits alone, and bits that find forty
candidates which are then ranked by the question's floats and the documents' int8 codes (kept in a file, not in
memory). Recall is of the ten that an exact search over float32 finds.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR, quantize_embeddings

try:
    from usearch.index import Index
except ImportError as error:
    raise SystemExit(f"usearch is not installed ({error}): pip install usearch") from error

Array = npt.NDArray[Any]

TEN, CANDIDATES = 10, 40
WHO = "the teacher|a nurse|an old farmer|the young pilot|my neighbour|the court|a small bank|the museum|our team|a poet"
DID = "sold|repaired|painted|lost|studied|described|opened|measured|forgot|praised|closed|rebuilt|moved|copied|hid"
WHAT = (
    "a red bicycle|the harbour|two letters|an engine|the archive|a loan|the north window|a rare plant|old maps|a violin"
)
WHEN = (
    "in spring|before dawn|after the war|on Monday|during the storm|last winter|at noon|in 1954|every year|by accident"
)
WHY = "for a friend|because of the rain|to save money|without permission|for science|out of boredom|for the city"


def main() -> int:
    options = parse()
    texts = read(options.texts, options.count)
    questions = texts[:: max(1, len(texts) // options.questions)][: options.questions]
    model = INSTRUCTOR(options.bundle, variant="int8")
    started = time.perf_counter()
    floats = model.encode_document(texts)
    say(f"{len(texts):,} texts embedded in {time.perf_counter() - started:.0f} s, {floats.shape[1]} numbers each")
    asked = model.encode_query(questions)
    exact = best(asked @ floats.T)

    codes = quantize_embeddings(floats, "int8", ranges=model.int8_ranges)
    bits = quantize_embeddings(floats, "ubinary")
    dim = floats.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "codes.npy", codes)
        kept = np.load(Path(folder) / "codes.npy", mmap_mode="r")  # on disk: forty rows are read for a question
        by_bits = build(bits, dim, "b1", "hamming")
        rows = [
            report("float32", build(floats, dim, "f32", "ip"), asked, exact),
            report(
                "int8", build(codes, dim, "i8", "cos"), quantize_embeddings(asked, "int8", model.int8_ranges), exact
            ),
            report("binary", by_bits, quantize_embeddings(asked, "ubinary"), exact),
            report(f"binary, {CANDIDATES} ranked by int8", by_bits, asked, exact, again(by_bits, asked, kept)),
        ]
        del kept
    width = max(len(row[0]) for row in rows)
    say(f"\n{'':{width}}  index, MB  vectors, MB  µs a question  recall@10")
    for name, size, vectors, taken, recall in rows:
        say(f"{name:{width}}  {size / 1e6:9.1f}  {vectors / 1e6:11.1f}  {taken * 1e6:13.0f}  {recall:9.3f}")
    return 0


def build(vectors: Array, dim: int, dtype: str, metric: str) -> Any:
    index = Index(ndim=dim, metric=metric, dtype=dtype)
    index.add(np.arange(len(vectors)), vectors)
    return index


def again(index: Any, asked: Array, codes: Array) -> Callable[[int], Array]:
    """The ten best of a question's candidates, by its floats and the documents' codes."""

    def search(question: int) -> Array:
        keys = index.search(quantize_embeddings(asked[question], "ubinary"), CANDIDATES).keys
        return np.asarray(keys[best(codes[keys].astype(np.float32) @ asked[question])])

    return search


def report(
    name: str, index: Any, asked: Array, exact: Array, search: Callable[[int], Array] | None = None
) -> tuple[str, int, int, float, float]:
    """Name, bytes of the index and of its vectors, seconds a question (median), recall."""
    search = search or (lambda question: np.asarray(index.search(asked[question], TEN).keys))
    times, shares = [], []
    for question in range(len(asked)):
        started = time.perf_counter()
        found = search(question)
        times.append(time.perf_counter() - started)
        shares.append(len(set(found.tolist()) & set(exact[question].tolist())) / TEN)
    vectors = index.ndim * {"f32": 32, "i8": 8, "b1": 1}[index.dtype.name.lower().replace("b1x8", "b1")] // 8
    return name, index.serialized_length, vectors * len(index), float(np.median(times)), float(np.mean(shares))


def best(similarities: Array) -> Array:
    return np.argsort(-similarities, axis=-1, kind="stable")[..., :TEN]


def read(path: Path | None, count: int) -> list[str]:
    """Lines of a file, or sentences of every combination of the words above, well mixed."""
    if path is not None:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()][:count]
    words = (part.split("|") for part in (WHO, DID, WHAT, WHEN, WHY))
    sentences = [" ".join(parts) + "." for parts in itertools.product(*words)]
    chosen = np.random.default_rng(0).permutation(len(sentences))[:count]
    return [sentences[place] for place in chosen]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="instructor-mini", help="a bundle with int8; default: instructor-mini")
    parser.add_argument("--texts", type=Path, help="a text a line; default: sentences made here")
    parser.add_argument("--count", type=int, default=100_000, help="texts; default: 100,000")
    parser.add_argument("--questions", type=int, default=200, help="default: 200")
    return parser.parse_args()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

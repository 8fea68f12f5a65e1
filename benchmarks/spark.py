"""Rows a second on Spark: one worker and two, against `encode()` in one process.

    python -m benchmarks.spark

A cluster of this machine (`local-cluster`): each executor is a process with one core, one Python worker and one model
of one thread. Timed: texts of a cached data frame, through the Arrow batches and the model, to a sink that drops them.
Not timed: starting Spark, making the texts, loading the models (a job before warms every worker), and the check that
the vectors of all rows are exactly those of `encode()`. One machine shows how workers add up, not a network.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.spark import InstructorEmbeddings, ship_bundle
from pyspark.sql import DataFrame, SparkSession

from benchmarks.common import commands, machine, results

INSTRUCTION = "Represent the sentence: "
WORDS = (
    "a the of in and with rain river bank loan rate lion leaf sugar light city road train song book code law war "
    "medicine cell heart court vote market price water energy school language museum island winter engine"
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = commands.parser("spark", __doc__)
    parser.add_argument("bundle", nargs="?", default="instructor-mini")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2, help="every number of workers once a round")
    commands.add_out(parser, "spark-<bundle>")
    return commands.run(parser, arguments, _run)


def _run(options: argparse.Namespace) -> int:
    name = Path(options.bundle).name
    out = results.own_file("spark", name, options.out)
    texts = make_texts(options.rows)
    seconds: dict[str, list[float]] = {}
    expected = np.zeros((0, 0), dtype=np.float32)
    for round_number in range(options.rounds):
        for threads in options.workers:
            expected, taken = run_alone(options.bundle, texts, threads)
            seconds.setdefault(f"encode(), {threads} thread(s)", []).append(taken)
        for workers in options.workers if round_number % 2 == 0 else reversed(options.workers):
            check = expected if round_number == 0 and workers == max(options.workers) else None
            seconds.setdefault(f"Spark, {workers} worker(s)", []).append(
                run_spark(options.bundle, texts, workers, check)
            )
    rates = {name: round(options.rows / statistics.median(taken)) for name, taken in seconds.items()}
    for subject, rate in rates.items():
        sys.stdout.write(f"{subject:<24} {rate:>8,} rows/s\n")
    found = {
        "bundle": name,
        "machine": machine.facts(),
        "rows": options.rows,
        "mean words of a text": round(statistics.mean(len(text.split()) for text in texts), 1),
        "rows/s": rates,
        "seconds": {subject: [round(value, 2) for value in taken] for subject, taken in seconds.items()},
        "rows exactly equal to encode()": options.rows,  # run_spark raises otherwise
        "versions": machine.versions(("pyspark", "instructor-onnx", "onnxruntime")),
    }
    results.write(out, found)
    return 0


def make_texts(rows: int) -> list[str]:
    """Short texts, 3 to 20 words, no two alike."""
    draw, words = random.Random(0), WORDS.split()
    return [f"{' '.join(draw.choices(words, k=draw.randint(2, 19)))} {number}" for number in range(rows)]


def run_alone(bundle: str, texts: list[str], threads: int) -> tuple[npt.NDArray[np.float32], float]:
    """The vectors, and the seconds that `encode()` took for them in this process."""
    model = INSTRUCTOR(bundle, device="cpu", num_threads=threads)
    model.encode(texts[:100])
    start = time.perf_counter()
    vectors = model.encode([(INSTRUCTION, text) for text in texts])
    return vectors, time.perf_counter() - start


def run_spark(bundle: str, texts: list[str], workers: int, expected: npt.NDArray[np.float32] | None) -> float:
    """The seconds of one job over all texts; where `expected` is given, its vectors are held against that first.

    Raises:
        RuntimeError: a vector is not the one of `encode()`.
    """
    with cluster(workers) as spark:
        frame = spark.createDataFrame(list(enumerate(texts)), "id long, text string")
        frame = frame.repartition(8 * workers).cache()
        frame.count()
        stage = InstructorEmbeddings(model=ship_bundle(spark, bundle), inputCols=["text"], outputCol="embedding")
        embedded = stage.setInstruction(INSTRUCTION).transform(frame)
        if expected is not None:
            check_equal(embedded, expected)
        drop(stage.transform(frame.limit(100 * workers).repartition(2 * workers)))
        start = time.perf_counter()
        drop(embedded)
        return time.perf_counter() - start


def drop(frame: DataFrame) -> None:
    """Compute every row and keep none."""
    frame.write.format("noop").mode("overwrite").save()


def check_equal(frame: DataFrame, expected: npt.NDArray[np.float32]) -> None:
    for row in frame.toLocalIterator(prefetchPartitions=True):
        if not np.array_equal(np.array(row["embedding"], dtype=np.float32), expected[row["id"]]):
            raise RuntimeError(f"row {row['id']}: its vector is not the one of encode().")


@contextmanager
def cluster(workers: int) -> Iterator[SparkSession]:
    """A session on that many executors of one core."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings: dict[str, Any] = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",  # begin when every executor is there
    }
    spark = SparkSession.builder.master(f"local-cluster[{workers},1,1024]").config(map=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(main())

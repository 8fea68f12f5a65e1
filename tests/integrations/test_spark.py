"""InstructorEmbeddings on a real cluster of two executors, each a process of its own with its own Python workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyspark")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("Spark needs Java 17", allow_module_level=True)

import pandas as pd
import pyspark
from instructor_onnx import INSTRUCTOR
from instructor_onnx.integrations.loading import ModelOptions
from instructor_onnx.integrations.spark import InstructorEmbeddings, ship_bundle, worker_model
from pyspark import TaskContext
from pyspark.errors import PythonException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.functions import col

from tests.integrations.conftest import DOCUMENT, QUERY
from tests.integrations.examples import output_of

pytestmark = pytest.mark.slow

ROWS = 1_000
PARTITIONS = 4


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A cluster of two workers on this machine, with one core each."""
    environment = pytest.MonkeyPatch()
    environment.setenv("PYSPARK_PYTHON", sys.executable)
    environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(PARTITIONS))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    work = Path(pyspark.__file__).parent / "work" / str(session.sparkContext.applicationId)
    yield session
    session.stop()
    shutil.rmtree(work, ignore_errors=True)
    environment.undo()


@pytest.fixture(scope="module")
def shipped(spark: SparkSession) -> str:
    return ship_bundle(spark, "instructor-mini")


@pytest.fixture(scope="module")
def embeddings(shipped: str) -> InstructorEmbeddings:
    """With a constant instruction; `copy()` it to change it."""
    stage = InstructorEmbeddings(model=shipped, inputCols=["text"], outputCol="embedding")
    return stage.setInstruction(DOCUMENT).setBatchSize(16)


@pytest.fixture(scope="module")
def texts(spark: SparkSession) -> DataFrame:
    """`id`, `text` of 2 to 30 words, `instruction`: one of two, or null."""
    words = ["rain", "river", "bank", "loan", "rate", "lion", "hippo", "leaf", "sugar", "city", "road", "train"]
    rows = [
        (i, " ".join(words[(i * 7 + k) % len(words)] for k in range(2 + i % 29)), (DOCUMENT, QUERY, None)[i % 3])
        for i in range(ROWS)
    ]
    return spark.createDataFrame(rows, "id long, text string, instruction string").repartition(PARTITIONS, "id").cache()


def in_order(frame: DataFrame) -> list[Row]:
    """The rows by `id`; sorted here, since Spark's sort would compute the embeddings twice, once to find its ranges."""
    return sorted(frame.collect(), key=lambda row: int(row.id))


def vectors_by_id(frame: DataFrame) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([row.embedding for row in in_order(frame)], dtype=np.float32)


def test_equal_to_one_machine(embeddings: InstructorEmbeddings, texts: DataFrame, mini: INSTRUCTOR) -> None:
    """Exactly: in int8 a text has the same vector in any batch, of any process."""
    local = in_order(texts)
    found = vectors_by_id(embeddings.transform(texts))
    assert np.array_equal(found, mini.encode([(DOCUMENT, row.text) for row in local]))

    by_row = embeddings.copy()
    by_row.clear(by_row.instruction)
    by_row.setInstructionCol("instruction")
    found = vectors_by_id(by_row.transform(texts))
    assert np.array_equal(found, mini.encode([(row.instruction or "", row.text) for row in local]))


def test_both_executors_work_with_one_model_a_process(texts: DataFrame, shipped: str) -> None:
    def ask(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for _ in batches:
            options = ModelOptions(shipped, device="cpu")
            threads = worker_model(options)._engine.num_threads
            loads = worker_model.cache_info().misses
            yield pd.DataFrame(
                {"executor": [os.getppid()], "pid": [os.getpid()], "loads": [loads], "threads": [threads]}
            )

    schema = "executor long, pid long, loads long, threads long"
    rows = texts.repartition(2 * PARTITIONS).mapInPandas(ask, schema).collect()
    assert len(rows) >= 2 * PARTITIONS
    assert len({row.executor for row in rows}) == 2  # the daemon of an executor is its workers' parent
    assert {row.loads for row in rows} == {1}
    assert {row.threads for row in rows} == {1}  # spark.task.cpus


def test_a_killed_task_is_retried(embeddings: InstructorEmbeddings, texts: DataFrame, mini: INSTRUCTOR) -> None:
    """The Python worker of one partition is killed after its first batch of vectors."""

    def killed_once(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        task = TaskContext.get()
        assert task is not None
        for batch in batches:
            if task.partitionId() == 1 and task.attemptNumber() == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch.assign(attempt=task.attemptNumber())

    stage = embeddings.transform(texts.select("id", "text"))
    rows = stage.mapInPandas(killed_once, "id long, text string, embedding array<float>, attempt long").collect()
    assert {row.attempt for row in rows} == {0, 1}
    rows.sort(key=lambda row: row.id)
    assert [row.id for row in rows] == list(range(ROWS))
    found = np.array([row.embedding for row in rows], dtype=np.float32)
    assert np.array_equal(found, mini.encode([(DOCUMENT, row.text) for row in rows]))


def test_a_null_text_has_a_null_vector(spark: SparkSession, embeddings: InstructorEmbeddings, mini: INSTRUCTOR) -> None:
    frame = spark.createDataFrame([(0, None), (1, "a text"), (2, ""), (3, None)], "id long, text string")
    found = [row.embedding for row in in_order(embeddings.transform(frame.coalesce(1)))]
    assert found[0] is None
    assert found[3] is None
    assert np.array_equal(np.array(found[1:3], dtype=np.float32), mini.encode([(DOCUMENT, "a text"), (DOCUMENT, "")]))
    nothing = embeddings.transform(frame.where(col("text").isNull()))
    assert [row.embedding for row in nothing.collect()] == [None, None]


def test_max_sentence_length(embeddings: InstructorEmbeddings, texts: DataFrame) -> None:
    few = texts.where("id < 50")
    short = INSTRUCTOR("instructor-mini")
    short.max_seq_length = 12
    found = vectors_by_id(embeddings.copy().setMaxSentenceLength(12).transform(few))
    assert np.array_equal(found, short.encode([(DOCUMENT, row.text) for row in in_order(few)]))


def test_saved_and_loaded(embeddings: InstructorEmbeddings, texts: DataFrame, tmp_path: Path) -> None:
    few = texts.where("id < 20")
    stage = embeddings.copy().setMaxSentenceLength(64).setVariant("int8").setNumThreads(1).setOutputAsVector(True)
    model = Pipeline(stages=[stage]).fit(few)
    model.save(str(tmp_path / "pipeline"))
    restored = PipelineModel.load(str(tmp_path / "pipeline"))
    loaded = restored.stages[0]
    assert isinstance(loaded, InstructorEmbeddings)
    assert loaded.uid == stage.uid
    values = {param.name: value for param, value in loaded.extractParamMap().items()}
    assert values == {param.name: value for param, value in stage.extractParamMap().items()}
    rows = in_order(restored.transform(few))
    assert np.array_equal(
        np.array([row.embedding.toArray() for row in rows], dtype=np.float32), vectors_by_id(embeddings.transform(few))
    )


def test_a_path_that_every_executor_can_read(
    embeddings: InstructorEmbeddings, texts: DataFrame, mini: INSTRUCTOR
) -> None:
    few = texts.where("id < 20")
    by_path = embeddings.copy().setModel(str(mini.folder))
    assert np.array_equal(vectors_by_id(by_path.transform(few)), vectors_by_id(embeddings.transform(few)))


def test_shipping(spark: SparkSession, shipped: str, bundle: Path, texts: DataFrame) -> None:
    assert ship_bundle(spark, "instructor-mini") == shipped
    both, one = ship_bundle(spark, bundle), ship_bundle(spark, bundle, variants=["int8"])
    assert len({shipped, both, one}) == 3
    stage = InstructorEmbeddings(model=one, inputCols=["text"], outputCol="embedding", instruction=DOCUMENT)
    few = texts.where("id < 20")
    local = INSTRUCTOR(bundle, variant="int8").encode([(DOCUMENT, row.text) for row in in_order(few)])
    assert np.array_equal(vectors_by_id(stage.transform(few)), local)
    with pytest.raises(ValueError, match=r"found \['fp64'\].*has fp32, int8"):
        ship_bundle(spark, bundle, variants=["fp64"])
    stage.setModel("spark-archive:gone-12345678")
    with pytest.raises(PythonException, match="shipped no bundle of that name"):
        stage.transform(few).collect()


def test_mistakes_are_named_before_a_job_starts(texts: DataFrame) -> None:
    good = InstructorEmbeddings(model="instructor-mini", inputCols=["text"], outputCol="embedding")
    for changed, message in [
        (InstructorEmbeddings(inputCols=["text"], outputCol="e"), r"model: not set. Call setModel"),
        (InstructorEmbeddings(model="m", outputCol="e"), r"inputCols: not set. Call setInputCols"),
        (good.copy().setInputCols(["text", "id"]), r"expected one column"),
        (good.copy().setInputCols(["txt"]), r"no column 'txt'; there are id, text, instruction"),
        (good.copy().setInputCols(["id"]), r"column 'id' is bigint, not string"),
        (good.copy().setInstructionCol("id"), r"instructionCol: column 'id' is bigint"),
        (good.copy().setInstruction("a").setInstructionCol("instruction"), r"set one of them"),
        (good.copy().setOutputCol("text"), r"'text' is there already"),
    ]:
        with pytest.raises(ValueError, match=message):
            changed.transform(texts)


def test_the_snippet_of_the_docs_on_a_path_without_this_python(tmp_path: Path) -> None:
    """As in an environment that was not activated: the python3 on PATH has no packages."""
    docs = (Path(__file__).parents[2] / "docs/integrations.md").read_text(encoding="utf-8")
    snippet = docs.partition("## Spark")[2].split("```python\n")[1].partition("```")[0]
    other = tmp_path / "python3"
    other.write_text(f'#!/bin/sh\nexec "{sys._base_executable}" -S "$@"\n')  # type: ignore[attr-defined]
    other.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_")}
    environment |= {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": "--master local[1] --conf spark.ui.enabled=false pyspark-shell",
    }
    code = snippet.replace("my-bundle", "instructor-mini") + "print(len(embedded.collect()[1].embedding))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["384"], done.stderr[-2000:]


@pytest.mark.usefixtures("spark")
def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [line.split("  ") for line in output_of("spark", capsys).splitlines()]
    bread = {group for group, text in groups if "bread" in text}
    python = {group for group, text in groups if "Python" in text}
    assert len(groups) == 6
    assert bread | python == {"0", "1"}
    assert bread & python == set()

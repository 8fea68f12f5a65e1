"""Spark: `InstructorEmbeddings`, a pyspark.ml Transformer with the setters of Spark NLP's annotator.

Rows reach Python as Arrow batches. Each Python worker of an executor loads one model and keeps it for all its tasks;
with the task's share of the cores for threads. The executors need this package, a bundle they can read, and nothing
else.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instructor_onnx.bundle import MANIFEST, Manifest, check_sizes
from instructor_onnx.extras import pip_install
from instructor_onnx.integrations.loading import ModelOptions, shared_model
from instructor_onnx.loading import embedded
from instructor_onnx.model import INSTRUCTOR

try:
    import pandas as pd
    from pyspark import SparkContext, SparkFiles, TaskContext, keyword_only
    from pyspark.ml import Transformer
    from pyspark.ml.functions import array_to_vector
    from pyspark.ml.param import Param, Params, TypeConverters
    from pyspark.ml.param.shared import HasInputCols, HasOutputCol
    from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.functions import lit
    from pyspark.sql.pandas.functions import pandas_udf
    from pyspark.sql.types import ArrayType, FloatType, StringType, StructType
except ImportError as error:
    raise ImportError(f"PySpark is not installed ({error}): {pip_install('spark')}") from error

SHIPPED = "spark-archive:"  # before the name of an archive, in the `model` that ship_bundle returns


class InstructorEmbeddings(
    Transformer,
    HasInputCols,
    HasOutputCol,
    DefaultParamsReadable["InstructorEmbeddings"],
    DefaultParamsWritable,
):
    """A column of texts -> a column of vectors, array<float> (or ML vectors); a null text has a null vector.

    Two defaults differ from Spark NLP's: `batchSize` is 32, as in `encode()`, and texts are cut where the model
    itself cuts them (512 tokens), not at 128.

    Args:
        model: a bundle folder that every executor can read, what `ship_bundle` returned, a Hugging Face id, or
            "instructor-mini".
        inputCols: [the column of texts].
        outputCol: the new column.
        instruction: one instruction for all rows.
        instructionCol: a column with the instruction of each row, instead; a null is no instruction.
        batchSize: most texts of one run.
        maxSentenceLength: tokens kept of instruction and text.
        variant: "fp32", "int8", ...
        numThreads: CPU threads of a worker; without it, the cores of its task (`spark.task.cpus`).
        truncateDim: numbers kept of every vector; without it, all.
        outputAsVector: pyspark.ml vectors, which other stages take as features, in place of arrays.

    >>> from instructor_onnx.integrations.spark import InstructorEmbeddings, ship_bundle
    >>> spark = SparkSession.builder.master("local[1]").getOrCreate()
    >>> embeddings = InstructorEmbeddings().setInputCols(["text"]).setOutputCol("embedding")
    >>> embeddings = embeddings.setModel(ship_bundle(spark, "my-bundle"))  # or a path that every executor can read
    >>> embeddings = embeddings.setInstruction("Represent the Medicine sentence for clustering: ")
    >>> row = embeddings.transform(spark.createDataFrame([("Aspirin thins the blood.",)], ["text"])).first()
    >>> len(row["embedding"])
    384
    >>> spark.stop()
    """

    model: Param[str] = Param(Params._dummy(), "model", "bundle folder, id or name", TypeConverters.toString)
    instruction: Param[str] = Param(Params._dummy(), "instruction", "instruction for all rows", TypeConverters.toString)
    instructionCol: Param[str] = Param(
        Params._dummy(), "instructionCol", "column with the instruction of each row", TypeConverters.toString
    )
    batchSize: Param[int] = Param(Params._dummy(), "batchSize", "most texts of one run", TypeConverters.toInt)
    maxSentenceLength: Param[int] = Param(
        Params._dummy(), "maxSentenceLength", "tokens kept of instruction and text", TypeConverters.toInt
    )
    variant: Param[str] = Param(Params._dummy(), "variant", "variant of the bundle", TypeConverters.toString)
    numThreads: Param[int] = Param(Params._dummy(), "numThreads", "CPU threads of a worker", TypeConverters.toInt)
    truncateDim: Param[int] = Param(Params._dummy(), "truncateDim", "numbers kept of a vector", TypeConverters.toInt)
    outputAsVector: Param[bool] = Param(
        Params._dummy(), "outputAsVector", "vectors in place of arrays", TypeConverters.toBoolean
    )

    @keyword_only
    def __init__(
        self,
        *,
        model: str | None = None,
        inputCols: list[str] | None = None,
        outputCol: str | None = None,
        instruction: str | None = None,
        instructionCol: str | None = None,
        batchSize: int | None = None,
        maxSentenceLength: int | None = None,
        variant: str | None = None,
        numThreads: int | None = None,
        truncateDim: int | None = None,
        outputAsVector: bool | None = None,
    ) -> None:
        super().__init__()
        self._setDefault(instruction="", batchSize=32, outputAsVector=False)
        self._set(**self._input_kwargs)  # type: ignore[attr-defined]  # what keyword_only noted

    def setModel(self, value: str) -> InstructorEmbeddings:
        """A bundle folder that every executor can read, what `ship_bundle` returned, an id, or "instructor-mini"."""
        return self._set(model=value)

    def setInputCols(self, value: list[str]) -> InstructorEmbeddings:
        """[the column of texts]."""
        return self._set(inputCols=value)

    def setOutputCol(self, value: str) -> InstructorEmbeddings:
        """The new column."""
        return self._set(outputCol=value)

    def setInstruction(self, value: str) -> InstructorEmbeddings:
        """One instruction for all rows."""
        return self._set(instruction=value)

    def setInstructionCol(self, value: str) -> InstructorEmbeddings:
        """A column with the instruction of each row."""
        return self._set(instructionCol=value)

    def setBatchSize(self, value: int) -> InstructorEmbeddings:
        """Most texts of one run."""
        return self._set(batchSize=value)

    def setMaxSentenceLength(self, value: int) -> InstructorEmbeddings:
        """Tokens kept of instruction and text."""
        return self._set(maxSentenceLength=value)

    def setVariant(self, value: str) -> InstructorEmbeddings:
        """The variant of the bundle: "fp32", "int8", ..."""
        return self._set(variant=value)

    def setNumThreads(self, value: int) -> InstructorEmbeddings:
        """CPU threads of a worker."""
        return self._set(numThreads=value)

    def setTruncateDim(self, value: int) -> InstructorEmbeddings:
        """Numbers kept of every vector."""
        return self._set(truncateDim=value)

    def setOutputAsVector(self, value: bool) -> InstructorEmbeddings:
        """pyspark.ml vectors in place of arrays."""
        return self._set(outputAsVector=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._check(dataset.schema)
        _run_this_python()
        options = ModelOptions(
            self.getOrDefault(self.model),
            variant=self._get_if_set(self.variant),
            device="cpu",
            num_threads=self._get_if_set(self.numThreads),
            max_seq_length=self._get_if_set(self.maxSentenceLength),
        )
        if self.isSet(self.instructionCol):
            instructions = dataset[self.getOrDefault(self.instructionCol)]
        else:
            instructions = lit(self.getOrDefault(self.instruction))
        embed = _embedding_udf(options, self.getOrDefault(self.batchSize), self._get_if_set(self.truncateDim))
        vectors: Column = embed(dataset[self.getInputCols()[0]], instructions)
        if self.getOrDefault(self.outputAsVector):
            vectors = array_to_vector(vectors)
        return dataset.withColumn(self.getOutputCol(), vectors)

    def _check(self, schema: StructType) -> None:
        """
        Raises:
            ValueError: names the parameter that is missing, or the column that does not fit it.
        """
        for param in (self.model, self.inputCols, self.outputCol):
            if not self.isDefined(param):
                raise ValueError(f"{param.name}: not set. Call set{param.name[0].upper()}{param.name[1:]}(...).")
        if len(self.getInputCols()) != 1:
            raise ValueError(f"inputCols: found {self.getInputCols()}, expected one column, of texts.")
        if self.isSet(self.instruction) and self.isSet(self.instructionCol):
            raise ValueError("instruction and instructionCol: set one of them, clear the other.")
        columns = {"inputCols": self.getInputCols()[0]}
        if self.isSet(self.instructionCol):
            columns["instructionCol"] = self.getOrDefault(self.instructionCol)
        for param_name, name in columns.items():
            if name not in schema.names:
                raise ValueError(f"{param_name}: no column {name!r}; there are {', '.join(schema.names)}.")
            if not isinstance(schema[name].dataType, StringType):
                raise ValueError(
                    f"{param_name}: column {name!r} is {schema[name].dataType.simpleString()}, not string."
                )
        if self.getOutputCol() in schema.names:
            raise ValueError(f"outputCol: a column {self.getOutputCol()!r} is there already.")

    def _get_if_set(self, param: Param[Any]) -> Any:
        return self.getOrDefault(param) if self.isDefined(param) else None


def ship_bundle(spark: SparkSession, bundle: str | Path, *, variants: list[str] | None = None) -> str:
    """Send a bundle of this machine to every executor (`SparkContext.addArchive`), once for the application.

    Args:
        bundle: a bundle folder, or the name of an embedded one.
        variants: those to send; None: all of them.

    Returns:
        What `setModel` takes. A saved pipeline keeps it; whoever loads that in a new application ships the same
        bundle there first.

    Raises:
        BundleError, ValueError: no bundle, or without that variant.

    >>> spark = SparkSession.builder.master("local[1]").getOrCreate()
    >>> ship_bundle(spark, "my-bundle", variants=["int8"])
    'spark-archive:...'
    >>> spark.stop()
    """
    folder = (embedded(bundle) or Path(bundle)).resolve()
    manifest = Manifest.read(folder)
    if unknown := set(variants or []) - set(manifest.variants):
        raise ValueError(f"variants: found {sorted(unknown)}; {folder} has {', '.join(manifest.variants)}.")
    sent = {name: manifest.variants[name] for name in variants or manifest.variants}
    manifest = dataclasses.replace(manifest, variants=sent)
    check_sizes(folder, manifest.files())
    # Named by its contents too: bundles of the same folder name do not meet, and one that changed is another one.
    digest = hashlib.sha256(repr(manifest).encode()).hexdigest()[:8]
    name = f"{re.sub('[^A-Za-z0-9._-]', '_', folder.name)}-{digest}"
    context = spark.sparkContext
    if not any(archive.endswith(f"#{name}") for archive in context.listArchives):
        # In the application's own temporary folder: there as long as an executor may ask for it, and no longer.
        staging = Path(SparkFiles.getRootDirectory()) / f"{name}.staging"
        staging.mkdir(exist_ok=True)
        manifest.write(staging)
        packed = staging / f"{name}.zip"  # Spark tells archives apart by this name too
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
            archive.write(staging / MANIFEST, MANIFEST)
            for path in dict.fromkeys(file.path for file in manifest.files()):
                archive.write(folder / path, path)
        context.addArchive(f"{packed}#{name}")
    return SHIPPED + name


def _run_this_python() -> None:
    """In a local session, have the workers run this Python: by itself Spark takes the python3 on PATH, without us."""
    context = SparkContext._active_spark_context
    if context is not None and str(context.master).startswith("local") and "PYSPARK_PYTHON" not in os.environ:
        context.pythonExec = sys.executable


def _embedding_udf(options: ModelOptions, batch_size: int, truncate_dim: int | None) -> Any:
    """The function that runs on the executors: columns of texts and instructions -> a column of vectors."""

    def embed(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
        model = worker_model(options)
        for texts, instructions in batches:
            yield embed_batch(model, texts, instructions, batch_size, truncate_dim)

    # PySpark takes the kind of function from its hints; its own types do not know that form.
    return pandas_udf(embed, ArrayType(FloatType(), containsNull=False))  # type: ignore[call-overload]


def embed_batch(
    model: INSTRUCTOR, texts: pd.Series, instructions: pd.Series, batch_size: int, truncate_dim: int | None = None
) -> pd.Series:
    """Vectors of one Arrow batch, float32 [embedding_dim or truncate_dim] each; None where the text is null."""
    present = texts.notna()
    rows = zip(instructions[present].fillna(""), texts[present], strict=True)
    vectors = iter(model.encode(rows, batch_size=batch_size, show_progress_bar=False, truncate_dim=truncate_dim))
    return pd.Series([next(vectors) if is_text else None for is_text in present], dtype=object)


@functools.lru_cache(maxsize=2)  # of this process, for all its tasks; two, for pipelines with two models
def worker_model(options: ModelOptions) -> INSTRUCTOR:
    """The model of a Python worker.

    Raises:
        FileNotFoundError: the bundle was shipped in another application; and as `INSTRUCTOR`.
    """
    if options.model_name.startswith(SHIPPED):
        name = options.model_name.removeprefix(SHIPPED)
        folder = Path(SparkFiles.get(name))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"model={options.model_name!r}: this application has shipped no bundle of that name. "
                f"Call ship_bundle(spark, ...) with the same bundle and variants before this stage runs."
            )
        options = options._replace(model_name=str(folder))
    if options.num_threads is None:
        task = TaskContext.get()
        options = options._replace(num_threads=task.cpus() if task else None)
    return shared_model(options)

"""Spark: embed a data frame and cluster it in one pyspark.ml pipeline, on the embedded model.

pip install 'instructor-onnx[spark]', and Java 17
"""

import sys

from instructor_onnx.integrations.spark import InstructorEmbeddings, ship_bundle
from pyspark.ml import Pipeline
from pyspark.ml.clustering import KMeans
from pyspark.sql import SparkSession

TEXTS = [
    "How do I sort a list in Python?",
    "What is a list in Python?",
    "How do I call a Python function from another file?",
    "How do I bake bread at home?",
    "What is sourdough bread?",
    "What is the best flour for bread?",
]


def main() -> None:
    spark = SparkSession.builder.getOrCreate()
    embeddings = (
        InstructorEmbeddings()
        .setModel(ship_bundle(spark, "instructor-mini"))
        .setInstruction("Represent the StackOverflow title for clustering by topic: ")
        .setInputCols(["text"])
        .setOutputCol("features")
        .setOutputAsVector(True)
    )
    pipeline = Pipeline(stages=[embeddings, KMeans(k=2, seed=1)])
    texts = spark.createDataFrame([(text,) for text in TEXTS], ["text"])
    for row in pipeline.fit(texts).transform(texts).orderBy("prediction", "text").collect():
        sys.stdout.write(f"{row.prediction}  {row.text}\n")


if __name__ == "__main__":
    main()
    SparkSession.builder.getOrCreate().stop()

"""Answer a table with a registered model as a function of Spark; needs nothing of this project but its store.

pip install -r requirements.txt -r requirements-spark.txt     # and Java 17 or 21
python examples/spark/spark_predict.py models:/imdb-conv1d@champion texts.parquet answers --id id --inputs text
spark-submit --master spark://host:7077 examples/spark/spark_predict.py …

Reads Parquet, and writes the columns ``id`` and ``answer`` as Parquet: the model's output, a number for each row. A
model with several outputs a row, such as the probabilities of more than two labels, needs ``--type 'array<double>'``.
"""

import argparse
import os

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # Spark has a process for each core


def predict(model: str, source: str, output: str, name: str, inputs: list[str], result_type: str = "double") -> None:
    """Answer a table.

    Args:
        model: the URI of a registered model.
        name: the column that identifies a row.
        inputs: the columns that the model takes.
        result_type: of an answer.
    """
    os.environ.update(ONE_THREAD)  # of a local Spark's processes, which get this environment

    import mlflow
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import col, struct

    builder = SparkSession.builder.appName("predict")
    # So many texts are in memory at once, in each of the processes.
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "4096")
    for variable, value in ONE_THREAD.items():
        builder = builder.config(f"spark.executorEnv.{variable}", value)  # of a cluster's processes
    spark = builder.getOrCreate()
    try:
        answer = mlflow.pyfunc.spark_udf(spark, model, result_type=result_type, env_manager="local")
        table = spark.read.parquet(source)
        answered = table.select(col(name).alias("id"), answer(struct(*inputs)).alias("answer"))
        answered.write.mode("overwrite").parquet(output)
    finally:
        spark.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("output")
    parser.add_argument("--id", required=True, help="the column that identifies a row")
    parser.add_argument("--inputs", required=True, nargs="+", help="the columns that the model takes")
    parser.add_argument("--type", default="double", help="the type of an answer")
    given = parser.parse_args()
    predict(given.model, given.source, given.output, given.id, given.inputs, given.type)

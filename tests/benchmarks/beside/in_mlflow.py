"""As many runs in MLflow, by its own interpreter: `python -m tests.benchmarks.beside.in_mlflow FOLDER fill 10000`.

`FOLDER ask 11` prints a line of JSON for each reading: rows, and the seconds of the processor and of
the clock of so many answers. MLflow's client reads its SQLite database itself: no server stands
between. Nothing of ours is imported.
"""

import argparse
import json
import random
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param

from tests.benchmarks.beside.answers import told

METRICS = (
    *("fd", "kd", "precision", "recall", "density", "coverage", "inception_score", "authenticity"),
    *("images_per_second", "device_seconds", "parameters", "nfe"),
)
PARAMETERS, POINTS, SEEDS = 16, 20, 5
MOST = 50_000  # that MLflow gives at once
CURVES = 200  # runs whose curves are asked for, one by one


def fill(runs: int) -> None:
    """Log so many runs: parameters, metrics, and a curve of losses, a batch for each run."""
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("Filled")
    chance = random.Random(0)  # noqa: S311  # makes up numbers, keeps no secret
    for number in range(runs):
        run = client.create_run(experiment, run_name=f"entry {number // SEEDS}").info.run_id
        values = [Metric(name, chance.lognormvariate(0, 1), 0, POINTS) for name in METRICS]
        values += [Metric("loss", 1 / step, step, step) for step in range(1, POINTS + 1)]
        given = [Param(f"option_{i}", str(number // SEEDS * i)) for i in range(PARAMETERS)]
        client.log_batch(run, metrics=values, params=[*given, Param("seed", str(number % SEEDS))])
        client.set_terminated(run)


def best() -> int:
    """Read the 50 runs with the lowest value of a metric."""
    found = mlflow.search_runs(
        experiment_names=["Filled"], order_by=["metrics.fd ASC"], max_results=50
    )
    return len(found)


def everything() -> int:
    """Read all runs with parameters and the last value of every metric."""
    return len(mlflow.search_runs(experiment_names=["Filled"], max_results=MOST))


def curves() -> int:
    """Read the losses of some runs, which MLflow's client gives of one run at a time."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("Filled").experiment_id
    runs = client.search_runs([experiment], max_results=CURVES)
    return sum(len(client.get_metric_history(run.info.run_id, "loss")) for run in runs)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("folder", type=Path)
    reader.add_argument("what", choices=["fill", "ask"])
    reader.add_argument("number", type=int, help="of runs, or of answers to each question")
    given = reader.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{given.folder.absolute()}/mlflow.db")
    if given.what == "fill":
        fill(given.number)
        return
    for read in (best, everything, curves):
        print(json.dumps(told(read.__name__, read, given.number)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

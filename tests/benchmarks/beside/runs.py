"""The same questions to us and to MLflow: `MLFLOW_PYTHON=… DATA_DIR=… python -m tests.benchmarks.beside.runs FOLDER`.

DATA_DIR is of a filled site (`tests.benchmarks.sites.filling 10000`); FOLDER is filled with as many runs
of MLflow where there is none. MLflow is no extra of ours, as pip finds no set of versions for both
in reasonable time: MLFLOW_PYTHON is the interpreter of an environment of its own (`pip install mlflow`).

Both read SQLite in their own process, without a server between. What they read is not the same:
MLflow gives runs by their last numbers, we rows of a board, the mean over seeds with interval and
rank, and files in which every value says what it is of.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import django
from django.db.models import Count
from django.test import Client

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ |= {"API_RATE_VISITOR": "", "LOG_LEVEL": "ERROR"}
    django.setup()

from catalog.models import Protocol  # needs the lines above
from experiments.models import Run
from tests.benchmarks.beside.answers import told

ROOT = Path(__file__).parents[3]
SCRIPT = "tests.benchmarks.beside.in_mlflow"
Reading = dict[str, Any]


def in_mlflow(folder: Path, what: str, number: int) -> list[Reading]:
    """Return what MLflow's own interpreter tells."""
    command = [os.environ["MLFLOW_PYTHON"], "-m", SCRIPT, str(folder), what, str(number)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(answers: int) -> Iterator[Reading]:
    """Yield what our answers cost, whole: with what a web server does but sending them."""
    boards = Protocol.objects.annotate(rows=Count("standings")).order_by("-rows", "pk")
    board = f"/api/v1/leaderboards/{boards[0].fingerprint}/"
    page = f"{board}?sort=fd&page=1&page_size=50"
    yield told("the best 50 of a board, JSON", partial(_asked, page), answers)
    yield told("the best 50 of a board, CSV", partial(_asked, f"{page}&format=csv"), answers)
    for name in ("runs", "evaluations", "losses"):
        for kind in ("csv", "jsonl"):
            read = partial(_asked, f"/api/v1/{name}/?format={kind}&ordering=id")
            yield told(f"all {name}, {kind}", read, max(1, answers // 3))


def _asked(address: str) -> int:
    """Return the bytes of an answer; a file is read in pieces, as it is sent."""
    answer = Client(SERVER_NAME="localhost").get(address)
    assert answer.status_code == 200, answer.content
    return sum(map(len, answer)) if answer.streaming else len(answer.content)


def line(found: Reading) -> str:
    """Return a reading as a line of a table: medians in milliseconds."""
    processor, clock = (f"{1000 * median(found[key]):,.0f}" for key in ("processor", "clock"))
    return f"| {found['reading']} | {found['rows']:,} | {processor} | {clock} |"


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("folder", type=Path)
    reader.add_argument("--answers", type=int, default=11, help="to each question")
    given = reader.parse_args()
    show: Callable[[str], None] = partial(print, flush=True)  # the result
    if not (given.folder / "mlflow.db").exists():
        in_mlflow(given.folder, "fill", Run.objects.count())
    show(f"load {os.getloadavg()[0]:.1f}, {Run.objects.count():,} runs of ours")
    show("| reading | rows (MLflow) or bytes | processor, ms | clock, ms |\n|---|---|---|---|")
    for found in in_mlflow(given.folder, "ask", given.answers):
        show(line({**found, "reading": f"MLflow: {found['reading']}"}))
    for found in ours(given.answers):
        show(line(found))
    show(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""How long boards take to judge: `DATA_DIR=… python -m tests.benchmarks.sites.judging`.

Prints a line of JSON for the largest board, once as if all its rows had changed and once when none
had, and for the largest experiment's own boards: rows, seconds of the processor. It writes.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ["LOG_LEVEL"] = "ERROR"
    django.setup()

from django.db.models import Count

from catalog.models import Protocol  # needs the lines above
from experiments.models import Experiment
from leaderboards.models import ExperimentJudging, Judgement, Standing
from leaderboards.scores import judging


def measure(name: str, rows: int, deed: Callable[[], object]) -> None:
    begin = time.process_time()
    deed()
    seconds = time.process_time() - begin
    print(json.dumps({"name": name, "rows": rows, "seconds": round(seconds, 2)}), flush=True)  # noqa: T201


def judge_board(protocol: Protocol, times: int) -> None:
    """Print what a board takes, all of whose rows are written, then none."""
    rows = Standing.objects.filter(protocol=protocol).count()
    for _ in range(times):
        Judgement.objects.filter(standing__protocol=protocol).delete()
        measure("board, all rows", rows, lambda: judging.judge(protocol))
        measure("board, no row", rows, lambda: judging.judge(protocol))


def judge_experiment(experiment: Experiment, times: int) -> None:
    """Print what an experiment's own boards take together."""
    rows = Standing.objects.filter(entry__experiment=experiment).count()

    def judge_all() -> None:
        for protocol in experiment.protocols.all():
            judging.judge_within(protocol, experiment)

    for _ in range(times):
        ExperimentJudging.objects.filter(experiment=experiment).delete()
        measure("own boards", rows, judge_all)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--times", type=int, default=3, help="that each is judged")
    times = reader.parse_args().times
    boards = Protocol.objects.alias(rows=Count("standings"))
    judge_board(boards.order_by("-rows")[0], times)
    experiments = Experiment.objects.alias(rows=Count("entries__standings"))
    judge_experiment(experiments.order_by("-rows")[0], times)


if __name__ == "__main__":
    main()

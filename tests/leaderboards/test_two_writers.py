"""Rows of boards when jobs of one entry end at the same moment, which needs PostgreSQL."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection, connections

from experiments import services
from experiments.models import Evaluation
from jobs import lifecycle
from leaderboards.models import Standing
from tests import factories
from tests.leaderboards.test_scores import FEW, assert_follows, make_protocols
from tests.servers import postgres_program, run_on_postgresql

SEEDS = 8
ROUNDS = 4
VALUES = {name: {"value": value} for name, value in FEW.items()}


def at_once(deeds: list[Callable[[], None]]) -> None:
    """Do all deeds in threads that begin together; raise what any of them raises."""
    start, errors = threading.Barrier(len(deeds)), []

    def work(deed: Callable[[], None]) -> None:
        try:
            start.wait()
            deed()
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[deed]) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_seeds_that_end_at_the_same_moment_are_all_counted() -> None:
    worker = factories.make_worker()
    for _ in range(ROUNDS):
        (protocol,) = make_protocols(1)
        experiment = factories.make_experiment(protocols=[protocol], seeds=range(SEEDS))
        (entry,) = factories.contenders_of(experiment)
        runs = [factories.make_run(entry=entry, seed=s, status="completed") for s in range(SEEDS)]
        found = [Evaluation(sample_set=factories.make_sample_set(run=run), protocol=protocol) for run in runs]  # fmt: skip
        waiting = Evaluation.objects.bulk_create(found)
        claimed = [lifecycle.claim(Evaluation, each.pk, worker) for each in waiting]

        at_once([partial(services.finish_evaluation, each, VALUES) for each in claimed if each])

        assert Standing.objects.get(protocol=protocol, entry=entry).seeds_scored == SEEDS
        assert_follows([experiment])


@pytest.mark.slow
@pytest.mark.skipif(postgres_program("postgres") is None, reason="needs PostgreSQL")
def test_postgresql_keeps_the_same_rows() -> None:
    files = [__file__, __file__.replace("two_writers", "scores")]
    files += [__file__.replace("two_writers", "queries")]
    told = run_on_postgresql(*files)

    assert " passed" in told

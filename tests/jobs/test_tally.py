"""Lines of timelines that are there now, most of them counted once."""

import random
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from experiments.lifetime.withdrawal import withdraw
from jobs import tally
from jobs.models import Job, JobEvent, Status, Tally
from tests import factories

pytestmark = pytest.mark.django_db
BEFORE = import_module("jobs.migrations.0007_lines_removed_before")
TYPES = ("run", "sampleset", "evaluation", "question", "viewing", "intake")


def add_lines(number: int, chance: random.Random) -> None:
    JobEvent.objects.bulk_create(
        JobEvent(
            job_type=chance.choice(TYPES),
            job_id=chance.randrange(5),
            kind=chance.choice(JobEvent.Kind.values),
            at=timezone.now() - timedelta(hours=chance.choice((0, 1))),
        )
        for _ in range(number)
    )


def assert_counts_are_the_lists() -> None:
    kept = [kind.type_name() for kind in Job.kinds() if kind.keeps_timeline]
    listed = JobEvent.objects.filter(job_type__in=kept)
    assert tally.number_there() == listed.count()
    for kind in JobEvent.Kind.values:
        assert tally.number_there(kind) == listed.filter(kind=kind).count()


@pytest.mark.parametrize("seed", range(3))
def test_lines_are_as_many_as_there_are_whatever_came_and_went(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)  # noqa: S311  # lines, not secrets
    monkeypatch.setattr(tally, "MANY", 3)
    monkeypatch.setattr(tally, "BATCH", 7)
    assert_counts_are_the_lists()

    for _ in range(12):
        add_lines(chance.randrange(12), chance)
        if chance.random() < 0.5:
            tally.settle()
        if chance.random() < 0.5:
            kept, job = chance.choice(TYPES[:3]), chance.randrange(5)
            tally.delete(JobEvent.objects.filter(job_type=kept, job_id=job))
        if chance.random() < 0.3:  # of a question, which is forgotten
            JobEvent.objects.filter(job_type="question", job_id=chance.randrange(5)).delete()
        assert_counts_are_the_lists()

    assert Tally.objects.get().up_to


def test_lines_that_are_counted_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(tally, "MANY", 0)
    add_lines(20, random.Random(0))  # noqa: S311  # lines, not secrets
    JobEvent.objects.update(at=timezone.now() - timedelta(hours=1))
    there = tally.number_there()
    tally.settle()
    JobEvent.objects.filter(job_type="run").delete()  # which nobody does but by `delete`

    with django_assert_num_queries(3):
        assert tally.number_there() == there


def test_what_a_withdrawn_experiment_said_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MANY", 0)
    run = factories.make_run(status=Status.CANCELLED)
    experiment = run.entry.experiment
    for drawn in factories.controls_of(experiment):
        factories.make_sample_set(entry=drawn)
    JobEvent.objects.update(at=timezone.now() - timedelta(hours=1))
    tally.settle()
    assert tally.number_there() > 0

    withdraw(experiment, user=factories.make_user())

    assert JobEvent.objects.count() == 0
    assert_counts_are_the_lists()


def test_lines_that_went_before_are_known_after_the_migration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tally, "MANY", 0)
    add_lines(30, random.Random(1))  # noqa: S311  # lines, not secrets
    JobEvent.objects.update(at=timezone.now() - timedelta(hours=1))
    tally.settle()
    JobEvent.objects.filter(job_type="run").delete()

    BEFORE.count_removed(apps, None)

    assert_counts_are_the_lists()

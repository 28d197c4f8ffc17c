"""Experiments by how they stand: the few jobs that decide it tell the same as all of them."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.pages.contenders import MOST, first_contenders
from experiments.progress import with_status
from jobs.models import ACTIVE, FINISHED, Job, Status, Worker
from jobs.numbers import by_status
from tests import factories
from web.templatetags.lists import chips

pytestmark = pytest.mark.django_db
STATUSES = [status for status in Status if status != Status.CANCELLING]


def facts(status: str, worker: Worker) -> dict[str, Any]:
    """Return what a job of this status has."""
    now = timezone.now()
    held = {"worker": worker, "lease_until": now + timedelta(hours=1), "attempt": 1}
    return {
        "status": status,
        **(held if status in ACTIVE else {}),
        **({"finished_at": now} if status in FINISHED else {}),
        **({"reason": "It broke."} if status == Status.FAILED else {}),
    }


def experiments_of_any_status(number: int, seed: int) -> list[Experiment]:
    """Return experiments with up to three jobs of each kind, in statuses by chance."""
    chance, worker = random.Random(seed), factories.make_worker()  # noqa: S311  # statuses, not secrets
    protocol = factories.make_protocol()

    def by_chance() -> dict[str, Any]:
        usual = [Status.COMPLETED] * chance.choice((0, 5, 40))
        return facts(chance.choice([*Status, *usual]), worker)

    found = []
    for index in range(number):
        experiment = Experiment.objects.create(
            name=f"Number {index}", dataset=protocol.dataset, budget_images=1, seeds=[0]
        )
        entry = Entry.objects.create(experiment=experiment, label="A", algorithm="gan.sngan")
        for place in range(chance.choice((0, 1, 3))):
            run = Run.objects.create(entry=entry, seed=place, **by_chance())
            if chance.random() < 0.5:
                drawn = SampleSet.objects.create(
                    entry=entry, run=run, count=1, sampler_label="one", **by_chance()
                )
                Evaluation.objects.create(sample_set=drawn, protocol=protocol, **by_chance())
        found.append(experiment)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_experiments_of_a_status_are_those_whose_jobs_say_so(
    seed: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    every = experiments_of_any_status(60, seed)
    stands = {experiment.pk: experiment.status for experiment in every}

    for status in STATUSES:
        with django_assert_max_num_queries(3):
            found = {each.pk for each in with_status(Experiment.objects.all(), status)}
        assert found == {pk for pk, mine in stands.items() if mine == status}
    assert len(set(stands.values())) > 3


def test_jobs_are_counted_by_status_in_one_statement(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    experiments_of_any_status(60, seed=3)
    every = [job for kind in Job.kinds() for job in kind._default_manager.all()]

    with django_assert_num_queries(1):
        found = by_status()

    assert +found == Counter((job.type_name(), job.status) for job in every)
    assert len({job.status for job in every}) == len(Status)


def test_no_experiment_stands_as_no_status_says() -> None:
    factories.make_experiment()

    assert not with_status(Experiment.objects.all(), "bogus").exists()


def test_experiments_of_a_status_are_of_those_that_are_asked_for() -> None:
    queued = factories.make_experiment()
    factories.make_experiment()

    mine = with_status(Experiment.objects.filter(dataset=queued.dataset), Status.QUEUED)

    assert list(mine) == [queued]


def test_a_list_names_the_first_contenders_in_their_order(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    long = factories.make_experiment(
        entries=[
            {"label": f"<{number}>", "algorithm": name}
            for number, name in enumerate(["gan.sngan", "vae.conv"] * 6)
        ]
    )
    short = factories.make_experiment(algorithms=["vae.conv"])

    with django_assert_num_queries(1):
        found = first_contenders([long, short])

    assert [each.label for each in found[long.pk]] == [f"<{n}>" for n in range(MOST + 1)]
    contenders = long.entries.exclude(kind=Entry.Kind.CONTROL).order_by("position")
    for named, entry in zip(found[long.pk], contenders[: MOST + 1], strict=True):
        assert named == (entry.label, entry.family, entry.family_label)
    assert [each.family for each in found[short.pk]] == ["vae"]
    assert chips(found[long.pk][:1]) == (
        '<span class="family family-gan" title="&lt;0&gt; (GAN)">&lt;0&gt;</span> '
    )

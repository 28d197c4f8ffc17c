"""Idle workers look into trainings before anybody asks: once, of one seed, and never before work."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Role
from experiments.answers import limits
from experiments.models import Evaluation, Run, SampleSet, Viewing
from experiments.viewings import ahead, asking
from jobs.models import Pause, Status
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.VIEWINGS_WHEN_IDLE = True


def trained(algorithm: str = "diffusion.ddpm", *, seeds: int = 1) -> list[Run]:
    """Return completed trainings of one entry, on a site where nothing else is to be done."""
    factories.make_experiment(algorithms=[algorithm], seeds=[*range(seeds)])
    runs = list(Run.objects.filter(entry__algorithm=algorithm).order_by("pk"))
    for run in runs:
        run.status, run.finished_at, run.attempt = Status.COMPLETED, timezone.now(), 1
        run.save()
        factories.make_checkpoint(run=run)
    Evaluation.objects.all().delete()
    SampleSet.objects.all().delete()
    return runs


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("diffusion.ddpm", "reverse"), ("gan.dcgan", "interpolation")]
)
def test_the_first_seed_of_an_entry_is_looked_into_once(algorithm: str, kind: str) -> None:
    first, _ = trained(algorithm, seeds=2)

    viewing = ahead.look()

    assert viewing and (viewing.run, viewing.kind, viewing.created_by) == (first, kind, None)
    assert viewing.status == Status.QUEUED
    assert ahead.look() is None  # it waits
    Viewing.objects.update(status=Status.FAILED, reason="x", finished_at=timezone.now())
    assert ahead.look() is None  # in vain is enough
    assert Viewing.objects.count() == 1


def test_whoever_asks_for_the_same_finds_it_and_nothing_was_counted() -> None:
    (run,) = trained()
    viewing, user = ahead.look(), factories.make_user()

    found, is_new = asking.ask(run, {"kind": "reverse"}, user=user)

    assert (found, is_new) == (viewing, False)
    assert limits.refusal(user, timezone.now()) == ""


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_no_work_of_any_kind_waits_for_it(status: str) -> None:
    trained()
    evaluation = factories.make_evaluation(status=status)

    assert ahead.look() is None

    for kind in (Evaluation, SampleSet, Run):
        kind._default_manager.exclude(status=Status.COMPLETED).update(
            status=Status.CANCELLED, finished_at=timezone.now(), worker=None, lease_until=None
        )
    assert ahead.look() is not None
    assert evaluation.pk


def test_nothing_is_drawn_where_it_is_off_paused_long_ago_or_looked_into(
    settings: Settings,
) -> None:
    (run,) = trained()
    pause = Pause.objects.create(pk=1, by="us")
    assert ahead.look() is None
    pause.delete()
    Run.objects.update(finished_at=timezone.now() - timedelta(days=2))
    assert ahead.look() is None
    Run.objects.update(finished_at=timezone.now())
    settings.VIEWINGS_WHEN_IDLE = False
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert ahead.look() is None
    assert len(asked) == 0
    settings.VIEWINGS_WHEN_IDLE = True
    factories.make_viewing(run=run, kind="noising", status=Status.COMPLETED)
    assert ahead.look() is None


def test_pages_show_a_viewing_that_nobody_asked_for(client: Client) -> None:
    trained()
    viewing = ahead.look()
    assert viewing
    factories.finish_viewing(viewing)

    assert client.get(viewing.get_absolute_url()).status_code == 200
    assert client.get(f"/api/v1/viewings/{viewing.pk}/").status_code == 200
    client.force_login(factories.make_user(role=Role.ADMIN))
    assert client.get(f"/admin/experiments/viewing/{viewing.pk}/change/").status_code == 200
    assert client.get("/admin/experiments/viewing/").status_code == 200

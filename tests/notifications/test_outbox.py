"""What is told, to whom, and in which transaction it is written."""

import json
from datetime import timedelta
from functools import partial
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Role, User
from experiments import services
from experiments.lifetime.withdrawal import withdraw
from experiments.models import Experiment
from experiments.submission.specification import SpecificationError
from jobs import lifecycle
from jobs.models import Job
from jobs.settled import settled
from notifications import receivers
from notifications.models import Delivery, Webhook
from tests import factories
from tests.leaderboards.test_two_writers import at_once

pytestmark = pytest.mark.django_db


def make_hook(user: User) -> Webhook:
    return Webhook.objects.create(user=user, url=f"https://example.org/{user.pk}")


@pytest.fixture
def author() -> User:
    """Return an account with a webhook that is told everything of its own experiments."""
    user = factories.make_user()
    make_hook(user)
    receivers.prefer(user, {"completed": True, "failed": True, "cancelled": True})
    return user


def end(experiment: Experiment, *, failing: bool = False) -> None:
    """Let each job complete, but one fail, as a worker does."""
    worker = factories.make_worker()
    jobs = experiment.jobs()
    for place, job in enumerate(jobs):
        claimed = lifecycle.claim(type(job), job.pk, worker)
        assert claimed
        if failing and place == 0:
            lifecycle.fail(claimed, "diverged")
        else:
            lifecycle.complete(claimed)


def events() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("event", flat=True))


def test_each_end_is_told_once_when_the_last_job_ends(author: User) -> None:
    experiment = factories.make_experiment(user=author)
    *others, last = experiment.jobs()
    assert others

    for job in others:
        services.cancel_job(job, user=author)
        assert events() == []
    services.cancel_job(last, user=author)
    assert events() == ["experiment.cancelled"]
    services.retry_job(last, user=author)
    services.cancel_job(last, user=author)
    assert events() == ["experiment.cancelled"] * 2
    services.retry_experiment(experiment, user=author)
    end(experiment, failing=True)
    assert events()[2:] == ["experiment.failed"]

    body = json.loads(Delivery.objects.latest("pk").body)
    assert body["type"] == "experiment.failed"
    said = body["data"]["experiment"]
    assert (said["name"], said["status"]) == (experiment.name, "failed")
    assert said["jobs"]["failed"] == 1
    assert (said["path"], said["url"]) == (experiment.get_absolute_url(), None)


def test_the_end_and_what_is_told_of_it_are_one_transaction(author: User) -> None:
    experiment = factories.make_experiment(user=author)

    @settled()
    def cancel_and_die() -> None:
        services.cancel_experiment(experiment, user=author)
        raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError):
        cancel_and_die()

    assert experiment.status == "queued"
    assert events() == []


def test_who_is_told_what(author: User, settings: Settings) -> None:
    settings.EMAIL_HOST = "mail.example.org"
    watcher, unwilling, gone, stranger = (factories.make_user() for _ in range(4))
    User.objects.filter(pk=watcher.pk).update(email="w@example.org")
    User.objects.filter(pk=gone.pk).update(is_active=False, email="g@example.org")
    receivers.prefer(author, {"cancelled": False})
    receivers.prefer(stranger, {"cancelled": True})
    for user in (unwilling, stranger):
        make_hook(user)
    experiment = factories.make_experiment(user=author)
    for user, wanted in ((watcher, True), (unwilling, False), (gone, True)):
        receivers.watch(user, experiment, wanted=wanted)

    services.cancel_experiment(experiment, user=None)
    told = [(delivery.user, delivery.to) for delivery in Delivery.objects.all()]
    receivers.prefer(watcher, {"email": False})
    other = factories.make_experiment(user=author)
    receivers.watch(watcher, other, wanted=True)
    end(other)

    assert told == [(watcher, "w@example.org")]
    (later,) = Delivery.objects.filter(experiment=other)
    assert (later.user, later.to, later.event) == (author, "example.org", "experiment.completed")


@pytest.mark.parametrize(("notify", "told"), [(None, 1), (True, 1), ("false", 0), (False, 0)])
def test_a_submission_says_whether_its_author_is_told(
    author: User, notify: object, told: int
) -> None:
    data = factories.experiment_data(protocol=factories.make_protocol(), notify=notify)

    experiment = services.submit_data(data, user=author)
    services.cancel_experiment(experiment, user=author)

    assert len(events()) == told
    with pytest.raises(SpecificationError, match="notify: expected true or false, got 'later'"):
        services.submit_data({**data, "name": "x", "notify": "later"}, user=author)


def test_a_message_outlives_its_experiment_and_goes_after_its_days(
    author: User, settings: Settings
) -> None:
    experiment = factories.make_experiment(user=author)
    services.cancel_experiment(experiment, user=author)
    withdraw(experiment, user=author)
    old = timezone.now() - timedelta(days=settings.DELIVERY_DAYS + 1)

    call_command("collect_garbage", stdout=StringIO())
    assert len(events()) == 1
    Delivery.objects.update(status="delivered", ended_at=old)
    call_command("collect_garbage", "--dry-run", stdout=StringIO())
    assert len(events()) == 1
    call_command("collect_garbage", stdout=StringIO())

    assert events() == []


def test_of_an_experiment_that_nobody_follows_one_question_is_asked() -> None:
    experiment = factories.make_experiment(user=factories.make_user(role=Role.ADMIN))
    job = experiment.jobs()[0]

    with CaptureQueriesContext(connection) as asked:
        services.cancel_job(job, user=None)

    ours = [each["sql"] for each in asked if "notifications_" in each["sql"]]
    assert len(ours) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_of_jobs_that_end_at_the_same_moment_the_last_one_tells() -> None:
    user = factories.make_user()
    make_hook(user)
    receivers.prefer(user, {"cancelled": True})
    for round_number in range(1, 6):
        experiment = factories.make_experiment(user=user, seeds=range(6))

        def cancel(job: Job) -> None:
            services.cancel_job(job, user=None)

        at_once([partial(cancel, job) for job in experiment.jobs()])

        assert len(events()) == round_number

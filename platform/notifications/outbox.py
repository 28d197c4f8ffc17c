"""Writes what is to be told in the transaction that makes it so; workers send it afterwards.

Both are there or neither: kill -9 loses no message, and the end of an experiment is told once. Each
message is sent at least once: whoever gets it twice knows it by its id.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from experiments.models import Experiment
from experiments.overview import EXPERIMENT_OF
from experiments.progress import Progress, progress
from experiments.submission.beginning import submitted
from jobs.models import FINISHED, Job
from jobs.settled import moved
from notifications.models import ENDS, Delivery, Preference, Watch, Webhook

AT_ONCE = 10_000  # keys in one question
TEST = "test"  # the event of a message that somebody sends to see whether it arrives


def connect() -> None:
    moved.connect(follow_jobs)
    submitted.connect(follow_submission)


def follow_submission(
    sender: type[Experiment],
    experiment: Experiment,
    user: User | None,
    notify: bool | None,
    **kwargs: Any,
) -> None:
    """Remember whether who submits an experiment wants to be told when it ends."""
    if user is not None and notify is not None:
        Watch.objects.create(user=user, experiment=experiment, wanted=notify)


def follow_jobs(sender: type[Job], jobs: list[Job], **kwargs: Any) -> None:
    """Write what is to be told of experiments that end with these jobs.

    1. Find experiments of which no job goes on that moved here, and whose end somebody wants to know.
    2. Lock them: of two transactions that end the last two jobs, the later one sees both ended.
    3. Write a message for each receiver of those that have ended.
    """
    keys = _at_rest(jobs)
    if not keys:
        return
    followed = Experiment.objects.filter(_is_followed(), pk__in=keys).order_by("pk")
    for pk in list(followed.values_list("pk", flat=True)):
        experiment = Experiment.objects.select_for_update(no_key=True).get(pk=pk)
        if not _goes_on(experiment):
            tell(experiment, progress([experiment])[pk])


def _at_rest(jobs: Iterable[Job]) -> set[int]:
    """Return the experiments of jobs that moved, of which none of these goes on."""
    ended: set[int] = set()
    going_on: set[int] = set()
    for kind, path in EXPERIMENT_OF.items():
        keys = [job.pk for job in jobs if type(job) is kind]
        for begin in range(0, len(keys), AT_ONCE):
            rows = kind._default_manager.filter(pk__in=keys[begin : begin + AT_ONCE])
            for pk, status in rows.values_list(path, "status"):
                (ended if status in FINISHED else going_on).add(pk)
    return ended - going_on


def _is_followed() -> Q:
    """Return of which experiments somebody may want to know the end."""
    watched = Watch.objects.filter(wanted=True).values("experiment")
    preferring = Preference.objects.filter(Q(completed=True) | Q(failed=True) | Q(cancelled=True))
    return Q(pk__in=watched) | Q(created_by__in=preferring.values("user"))


def _goes_on(experiment: Experiment) -> bool:
    return any(
        kind._default_manager.filter(**{path: experiment}).exclude(status__in=FINISHED).exists()
        for kind, path in EXPERIMENT_OF.items()
    )


def tell(experiment: Experiment, state: Progress) -> None:
    """Write that an experiment ended, for all who want to know."""
    event = f"experiment.{state.status}"
    body = _body(event, {"experiment": _said_of(experiment, state)})
    Delivery.objects.bulk_create(
        Delivery(user=user, event=event, body=body, experiment=experiment, **receiver)
        for user in sorted(_recipients(experiment, state.status), key=lambda user: user.pk)
        for receiver in _receivers(user)
    )


def tell_test(webhook: Webhook) -> bool:
    """Write a message that tells nothing; False while one is on its way there."""
    waiting = webhook.deliveries.filter(event=TEST, status=Delivery.State.WAITING)
    if waiting.exists():
        return False
    body = _body(TEST, {"message": "You would be told here when an experiment ends."})
    Delivery.objects.create(user=webhook.user, webhook=webhook, event=TEST, body=body)
    return True


def _recipients(experiment: Experiment, status: str) -> set[User]:
    """Return the active accounts that want to know of this end."""
    said = {watch.user: watch.wanted for watch in experiment.watches.select_related("user")}
    wanting = {user for user, wanted in said.items() if wanted}
    author = experiment.created_by
    if author is not None and author not in said and prefers(author, status):
        wanting.add(author)
    return {user for user in wanting if user.is_active}


def prefers(user: User, status: str) -> bool:
    """Return whether an account is told when an experiment of its own ends so."""
    assert status in ENDS, "an experiment that ended has one of these"
    return Preference.objects.filter(user=user, **{status: True}).exists()


def _receivers(user: User) -> Iterator[dict[str, Any]]:
    """Yield where an account's messages go."""
    yield from ({"webhook": webhook} for webhook in user.webhooks.all())
    if gets_mail(user):
        yield {"email": user.email}


def gets_mail(user: User) -> bool:
    """Return whether messages go to the account's mail, too."""
    unwilling = Preference.objects.filter(user=user, email=False).exists()
    return bool(settings.EMAIL_HOST and user.email) and not unwilling


def _said_of(experiment: Experiment, state: Progress) -> dict[str, Any]:
    path = experiment.get_absolute_url()
    return {
        "id": experiment.pk,
        "name": experiment.name,
        "dataset": experiment.dataset.slug,
        "status": state.status,
        "jobs": {"completed": state.completed, "failed": state.failed, "total": state.total},
        "path": path,
        "url": f"{settings.SITE_URL}{path}" if settings.SITE_URL else None,
    }


def _body(event: str, data: dict[str, Any]) -> str:
    said = {"type": event, "timestamp": timezone.now().isoformat(), "data": data}
    return json.dumps(said, ensure_ascii=False)


def forget_old() -> int:
    """Delete messages that ended DELIVERY_DAYS ago, and return how many."""
    before = timezone.now() - timedelta(days=settings.DELIVERY_DAYS)
    return Delivery.objects.filter(ended_at__lt=before).delete()[0]

"""Taking back what was submitted: an entry's jobs are cancelled, an experiment is deleted as a whole.

Never a seed or an entry of it alone is deleted: what failed is a result, too.
"""

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.audit import Actor
from accounts.models import AuditEvent
from experiments import services
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet, Viewing
from experiments.overview import EXPERIMENT_OF
from jobs import tally
from jobs.models import FINISHED, Job, JobEvent


def cancel_entry(entry: Entry, *, user: Actor) -> int:
    """Return how many jobs of an entry were cancelled or asked to stop.

    A run that completes meanwhile queues new jobs, so look again until none is left.
    """
    cancelled = 0
    while waiting := [job for job in _jobs(entry) if job.can_cancel]:
        cancelled += sum(services.cancel_job(job, user=user) for job in waiting)
    return cancelled


def retry_entry(entry: Entry, *, user: Actor) -> int:
    """Return how many failed or cancelled jobs of an entry were queued again."""
    waiting = [job for job in _jobs(entry) if job.can_retry]
    return sum(services.retry_job(job, user=user) for job in waiting)


def _jobs(entry: Entry) -> Iterator[Job]:
    yield from Run.objects.filter(entry=entry)  # as they are now, whatever the entry remembers
    yield from SampleSet.objects.filter(entry=entry)
    yield from Evaluation.objects.filter(sample_set__entry=entry)


class NotWithdrawn(Exception):
    """The experiment cannot be deleted as it is; the message says what to do first."""


@transaction.atomic
def withdraw(experiment: Experiment, *, user: Actor) -> None:
    """Delete an experiment with its jobs and values; `collect_garbage` then finds its files.

    1. Lock the row, so that nothing joins the experiment meanwhile.
    2. Refuse while a job waits or is at work: a worker would lose its row.
    3. Refuse while another experiment trains on an autoencoder of this one.
    4. Delete timelines and rows, and note in the audit trail who did it.

    Raises:
        NotWithdrawn: if it is refused.
    """
    Experiment.objects.select_for_update().get(pk=experiment.pk)
    if waiting := _unfinished(experiment):
        raise NotWithdrawn(
            f"{waiting} of its jobs are not finished, expected it to be cancelled first"
        )
    if user_of := _user_of_autoencoders(experiment):
        raise NotWithdrawn(f"an autoencoder of it is that of {user_of}, expected nobody to need it")
    for kind in (Run, SampleSet, Evaluation):
        jobs = kind._default_manager.filter(**{EXPERIMENT_OF[kind]: experiment})
        keys: Any = jobs.values("pk")
        tally.delete(JobEvent.objects.filter(job_type=kind.type_name(), job_id__in=keys))
    audit.record(user, AuditEvent.Action.DELETED, experiment)
    experiment.delete()


def _unfinished(experiment: Experiment) -> int:
    return (
        sum(
            kind._default_manager.filter(**{path: experiment}).exclude(status__in=FINISHED).count()
            for kind, path in EXPERIMENT_OF.items()
        )
        + experiment.questions.exclude(status__in=FINISHED).count()
        + Viewing.objects.filter(run__entry__experiment=experiment)
        .exclude(status__in=FINISHED)
        .count()
    )


def _user_of_autoencoders(experiment: Experiment) -> Entry | None:
    """Return an entry of another experiment that takes an autoencoder of this one, if there is one."""
    runs = Run.objects.filter(entry__experiment=experiment).values_list("pk", flat=True)
    folders = {f"runs/{pk}" for pk in runs}
    others = Entry.objects.exclude(experiment=experiment)
    for entry in others.filter(config__autoencoder__startswith="runs/"):
        if entry.config["autoencoder"].rpartition("/")[0] in folders:
            return entry
    return None

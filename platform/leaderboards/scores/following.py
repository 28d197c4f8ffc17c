"""Sees to it that rows of boards follow jobs, deletions, protocols and migrations."""

from typing import Any, TextIO

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_migrate

from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from jobs.models import Job
from jobs.settled import moved
from leaderboards.scores import anew, keeping


def follow_jobs(sender: type[Job], jobs: list[Job], **kwargs: Any) -> None:
    keeping.follow(jobs)


def follow_deletion(
    sender: type[Model], instance: Model, origin: Model | QuerySet[Model], **kwargs: Any
) -> None:
    """Write what is left of an entry when one of its jobs was deleted, alone or among others.

    What goes with an experiment or an entry leaves nothing, but what its autoencoder leaves stays.
    """
    deleted = origin.model if isinstance(origin, QuerySet) else type(origin)
    if not issubclass(sender, deleted):
        return
    if isinstance(instance, Job) and (pk := keeping.entry_of(instance)):
        keeping.follow_entries([pk])
    elif isinstance(instance, Entry):
        beside = Entry.objects.filter(experiment=instance.experiment_id, kind=Entry.Kind.CONTROL)
        keeping.follow_entries([each.pk for each in beside if each.source == instance.pk])


def follow_protocols(sender: Any, instance: Model, action: str, **kwargs: Any) -> None:
    """Write the rows of an experiment that is scored under other protocols from now on."""
    if isinstance(instance, Experiment) and action in ("post_add", "post_remove", "post_clear"):
        keeping.leave_others(instance)
        keeping.follow_entries(list(instance.entries.values_list("pk", flat=True)))


def ask(plan: Any = None, verbosity: int = 1, stdout: TextIO | None = None, **kwargs: Any) -> None:
    """Ask for the rows that a site of before has not, once its tables are those of now."""
    if not plan:
        return
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    number = anew.ask()
    if number and verbosity and stdout:
        stdout.write(
            f"Boards lack the rows of {number:,} entries: a worker writes them beside its jobs, "
            "`manage.py rescore` at once.\n"
        )


def connect(config: Any) -> None:
    moved.connect(follow_jobs)
    for model in (Run, SampleSet, Evaluation, Entry):
        post_delete.connect(follow_deletion, sender=model)
    m2m_changed.connect(follow_protocols, sender=Experiment.protocols.through)
    post_migrate.connect(ask, sender=config)

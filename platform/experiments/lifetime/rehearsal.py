"""A submission that is checked and counted to its end, and leaves nothing behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.models import User
from experiments import asked, services
from experiments.models import Run
from experiments.progress import progress
from experiments.submission.costs import Cost, costs_of, total_of
from experiments.submission.joining import is_joining
from experiments.submission.record import record_of
from experiments.submission.specification import read_experiment


@dataclass(frozen=True)
class Rehearsal:
    """What a submission would make."""

    spec: dict[str, Any]  # complete: nothing is left to presets and defaults
    runs: int
    jobs: int  # runs, sample sets and evaluations, those of controls among them
    warnings: list[str]
    costs: list[Cost]  # of each entry; of pipelines that join an experiment nothing is said
    total: Cost


def rehearse(data: Mapping[str, Any], *, user: User | None) -> Rehearsal:
    """Return what submitting plain data would make; it is submitted, looked at and rolled back.

    Raises:
        SpecificationError: exactly where `submit_data` raises it.
    """
    with transaction.atomic():
        costs = [] if is_joining(data) else costs_of(read_experiment(data))
        experiment = services.submit_data(data, user=user)
        found = Rehearsal(
            spec=record_of(experiment),
            runs=Run.objects.filter(entry__experiment=experiment).count(),
            jobs=progress([experiment])[experiment.pk].total,
            warnings=asked.warnings(experiment.dataset, experiment.entries.all()),
            costs=costs,
            total=total_of(costs),
        )
        transaction.set_rollback(True)
    return found

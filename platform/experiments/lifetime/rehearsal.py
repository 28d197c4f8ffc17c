"""A submission that is checked and counted to its end, and leaves nothing behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.models import User
from experiments import asked, services
from experiments.models import Run
from experiments.progress import progress
from experiments.submission.record import record_of


@dataclass(frozen=True)
class Rehearsal:
    """What a submission would make."""

    spec: dict[str, Any]  # complete: nothing is left to presets and defaults
    runs: int
    jobs: int  # runs, sample sets and evaluations, those of controls among them
    warnings: list[str]


def rehearse(data: Mapping[str, Any], *, user: User | None) -> Rehearsal:
    """Return what submitting plain data would make; it is submitted, looked at and rolled back.

    Raises:
        SpecificationError: exactly where `submit_data` raises it.
    """
    with transaction.atomic():
        experiment = services.submit_data(data, user=user)
        found = Rehearsal(
            spec=record_of(experiment),
            runs=Run.objects.filter(entry__experiment=experiment).count(),
            jobs=progress([experiment])[experiment.pk].total,
            warnings=asked.warnings(experiment.dataset, experiment.entries.all()),
        )
        transaction.set_rollback(True)
    return found

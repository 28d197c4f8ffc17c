"""Whose experiments and jobs are: who may cancel and retry them."""

from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet

from accounts.models import User
from accounts.permissions import is_admin, may_submit
from experiments.models import Experiment
from experiments.overview import EXPERIMENT_OF
from jobs.models import Job

R = TypeVar("R", Experiment, Any)
Account = User | AnonymousUser


def changeable(rows: QuerySet[R], user: Account) -> QuerySet[R]:
    """Return those of experiments or jobs that the account may cancel and retry."""
    if is_admin(user):
        return rows
    if not may_submit(user):
        return rows.none()
    paths: dict[Any, str] = {kind: f"{path}__" for kind, path in EXPERIMENT_OF.items()}
    return rows.filter(**{f"{paths.get(rows.model, '')}created_by": user.pk})


def may_change(user: Account, experiment: Experiment) -> bool:
    """Return whether the account may cancel and retry the experiment and its jobs."""
    own = may_submit(user) and experiment.created_by_id == user.pk
    return own or is_admin(user)


def require_change(user: Account, row: Experiment | Job) -> None:
    """Refuse an account that may not cancel and retry an experiment or a job.

    Raises:
        PermissionDenied: saying who may.
    """
    rows: QuerySet[Any] = type(row)._default_manager.filter(pk=row.pk)
    if not changeable(rows, user).exists():
        raise PermissionDenied(f"only who submitted it and admins may cancel or retry {row}")

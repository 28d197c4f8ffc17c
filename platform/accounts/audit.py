"""Remembers who did what; called in the transaction of the deed."""

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model

from accounts.models import AuditEvent, User

COMMAND_LINE = "command line"
Actor = User | AnonymousUser | None  # None: a command on the site's own machine


def name_of(actor: Actor) -> str:
    return COMMAND_LINE if actor is None else actor.get_username()


def record(actor: Actor, action: AuditEvent.Action, row: Model, detail: str = "") -> None:
    """Add a line to the audit trail."""
    AuditEvent.objects.create(
        actor=actor if isinstance(actor, User) else None,
        actor_name=name_of(actor),
        action=action,
        kind=str(row._meta.verbose_name),
        object_id=str(row.pk)[:50],
        object_name=str(row)[:200],
        detail=detail[:500],
    )

"""API tokens: made for an account, shown once, ended."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from knox.models import AuthToken

from accounts import audit
from accounts.audit import Actor
from accounts.models import AuditEvent, User

MOST_TOKENS = 20  # of an account that makes them on its own page


def of(user: User) -> QuerySet[AuthToken]:
    """Return the tokens of an account that have not ended, the newest first."""
    ahead = Q(expiry=None) | Q(expiry__gt=timezone.now())
    found: QuerySet[AuthToken] = AuthToken.objects.filter(ahead, user=user)
    return found.order_by("-created")


@transaction.atomic
def make(user: User, *, days: int, actor: Actor) -> tuple[AuthToken, str]:
    """Return a new token as it is kept, and the text that is known this once.

    `days`: after which it ends, 0 = never.
    """
    kept, text = AuthToken.objects.create(user, expiry=timedelta(days=days) if days else None)
    detail = f"API token {kept.token_key}, {ends_in_words(kept)}"
    audit.record(actor, AuditEvent.Action.ADDED, user, detail)
    return kept, text


def ends_in_words(kept: AuthToken) -> str:
    return f"ends {kept.expiry:%Y-%m-%d}" if kept.expiry else "does not end"


@transaction.atomic
def end(user: User, key: str, *, actor: Actor) -> bool:
    """End the account's token of this key (its first letters); return False if it has none."""
    found = AuthToken.objects.filter(user=user, token_key=key)
    is_there = bool(found.delete()[0])
    if is_there:
        audit.record(actor, AuditEvent.Action.DELETED, user, f"API token {key}")
    return is_there

"""All writing of an account's wishes: what it is told, and where to."""

import secrets
from collections.abc import Mapping

from django.db import transaction

from accounts import audit
from accounts.models import AuditEvent, User
from experiments.models import Experiment
from notifications import outbox, signing
from notifications.addresses import AddressRefused, look_up
from notifications.models import ENDS, Preference, Watch, Webhook

MOST_WEBHOOKS = 10  # of an account


class WishRefused(ValueError):
    """A wish that cannot be fulfilled; `errors` has a sentence for each wrong field."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(errors.values()))


def add_webhook(user: User, url: str) -> tuple[Webhook, str]:
    """Return a new webhook and its secret, which nobody is shown again.

    Raises:
        WishRefused: if the address cannot or may not be called, is there already, or is one too many.
    """
    url = url.strip()
    try:
        look_up(url)
    except AddressRefused as error:
        raise WishRefused({"url": str(error)}) from error
    except OSError as error:
        raise WishRefused({"url": f"its host was not found: {error.strerror or error}"}) from error
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if user.webhooks.count() >= MOST_WEBHOOKS:
            raise WishRefused({"url": f"an account has at most {MOST_WEBHOOKS} webhooks"})
        if user.webhooks.filter(url=url).exists():
            raise WishRefused({"url": "the account has a webhook to this address already"})
        webhook = Webhook(user=user, url=url)
        secret = _renew(webhook)
        audit.record(user, AuditEvent.Action.ADDED, webhook)
    return webhook, secret


@transaction.atomic
def renew_secret(webhook: Webhook, *, user: User) -> str:
    """Return a new secret, which nobody is shown again; the old one signs nothing from now on."""
    audit.record(user, AuditEvent.Action.CHANGED, webhook, "a new secret")
    return _renew(webhook)


def _renew(webhook: Webhook) -> str:
    webhook.salt = secrets.token_urlsafe(32)
    secret = signing.secret_of(webhook.salt)
    webhook.secret_digest = signing.digest_of(secret)
    webhook.save()
    return secret


@transaction.atomic
def remove_webhook(webhook: Webhook, *, user: User) -> None:
    """Delete a webhook with its messages, those on their way among them."""
    audit.record(user, AuditEvent.Action.DELETED, webhook)
    webhook.delete()


def preference_of(user: User) -> Preference:
    """Return what an account prefers, saved or not."""
    return Preference.objects.filter(user=user).first() or Preference(user=user)


def prefer(user: User, wishes: Mapping[str, bool]) -> Preference:
    """Write what an account is told of its own experiments; `wishes` by the names of fields."""
    known = {name: wishes[name] for name in (*ENDS, "email") if name in wishes}
    return Preference.objects.update_or_create(user=user, defaults=known)[0]


def watch(user: User, experiment: Experiment, *, wanted: bool) -> Watch:
    """Write that an account is told, or not told, when an experiment ends."""
    return Watch.objects.update_or_create(
        user=user, experiment=experiment, defaults={"wanted": wanted}
    )[0]


def is_told(user: User, experiment: Experiment) -> bool:
    """Return whether an account is told of at least one way in which an experiment may end."""
    said = Watch.objects.filter(user=user, experiment=experiment).first()
    if said is not None:
        return said.wanted
    is_author = experiment.created_by_id == user.pk
    return is_author and any(outbox.prefers(user, status) for status in ENDS)


def has_receiver(user: User) -> bool:
    """Return whether there is somewhere to tell it."""
    return user.webhooks.exists() or outbox.gets_mail(user)

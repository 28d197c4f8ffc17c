"""Sends what waits: workers do it beside their jobs, again and again with longer pauses."""

import json
import logging
import smtplib
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.db.models.functions import Now

from notifications import signing
from notifications.addresses import AddressRefused
from notifications.calling import NoAnswer, post
from notifications.models import Delivery

logger = logging.getLogger(__name__)
State = Delivery.State
AT_ONCE = 20  # of one beat
PAUSES = (10, 60, 300, 1800, 7200, 18_000, 36_000)  # seconds after an attempt that failed; 18 h
HELD = 30  # seconds for which an attempt has its row to itself
SOON = Now() + timedelta(milliseconds=10)  # SQLite's own clock has milliseconds, rows have more


class NotDelivered(Exception):
    """An attempt came to nothing; the message says why."""

    def __init__(self, message: str, *, code: int | None = None, is_final: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_final = is_final  # another attempt would end alike


def send_due() -> int:
    """Send what is due, the longest waiting first, and return how many attempts were made."""
    due = Delivery.objects.filter(status=State.WAITING, next_at__lt=SOON).order_by("next_at")
    keys = list(due.values_list("pk", flat=True)[:AT_ONCE])
    return sum(_attempt(pk) for pk in keys)


def _attempt(pk: int) -> bool:
    """Send one message, unless another worker does.

    1. Take it: UPDATE with one attempt more; nobody else tries it for HELD seconds. A worker that is
       killed here leaves it to the next.
    2. Send it. 3. Write what came of it, unless somebody has taken it since.
    """
    due = Delivery.objects.filter(pk=pk, status=State.WAITING, next_at__lt=SOON)
    held = Now() + timedelta(seconds=HELD)
    if not due.update(attempts=F("attempts") + 1, next_at=held):
        return False
    delivery = Delivery.objects.select_related("webhook").get(pk=pk)
    try:
        code = _send(delivery)
    except NotDelivered as problem:
        _write(delivery, code=problem.code, detail=str(problem)[:300], **_later(delivery, problem))
    else:
        _write(delivery, code=code, detail="", status=State.DELIVERED, ended_at=Now())
    return True


def _later(delivery: Delivery, problem: NotDelivered) -> dict[str, Any]:
    """Return when it is tried again, or that it is not."""
    logger.info("delivery %s: attempt %d: %s", delivery.message_id, delivery.attempts, problem)
    if problem.is_final or delivery.attempts > len(PAUSES):
        return {"status": State.FAILED, "ended_at": Now()}
    return {"next_at": Now() + timedelta(seconds=PAUSES[delivery.attempts - 1])}


def _write(delivery: Delivery, **fields: Any) -> None:
    mine = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=State.WAITING)
    mine.update(**fields)


def _send(delivery: Delivery) -> int | None:
    """Send it and return the status of the answer; None for mail.

    Raises:
        NotDelivered: if it did not arrive.
    """
    if delivery.webhook:
        return _call(delivery)
    _mail(delivery)
    return None


def _call(delivery: Delivery) -> int:
    webhook = delivery.webhook
    assert webhook is not None, "asked above"
    secret = signing.secret_of(webhook.salt)
    if signing.digest_of(secret) != webhook.secret_digest:
        message = "the site's SECRET_KEY is another than when the secret was shown: make a new one"
        raise NotDelivered(message, is_final=True)
    body = delivery.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Trilemma/{settings.VERSION}",
        **signing.headers(
            secret, message_id=str(delivery.message_id), timestamp=int(time.time()), body=body
        ),
    }
    try:
        code = post(webhook.url, body, headers)
    except AddressRefused as error:
        raise NotDelivered(str(error), is_final=True) from error
    except NoAnswer as error:
        raise NotDelivered(str(error)) from error
    if not 200 <= code < 300:
        where = "; redirects are not followed" if 300 <= code < 400 else ""
        raise NotDelivered(f"it answered {code}, expected 2xx{where}", code=code)
    return code


def _mail(delivery: Delivery) -> None:
    subject, text = mail_of(json.loads(delivery.body)["data"]["experiment"])
    known_by = {"Message-ID": f"<{delivery.message_id}@trilemma>"}  # the same at every attempt
    try:
        EmailMessage(subject, text, None, [delivery.email], headers=known_by).send()
    except smtplib.SMTPRecipientsRefused as error:
        raise NotDelivered("the mail server refuses the address") from error
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"the mail server took nothing: {type(error).__name__}") from error


def mail_of(said: dict[str, Any]) -> tuple[str, str]:
    """Return subject and text of a mail that says how an experiment ended."""
    name, jobs = " ".join(said["name"].split()), said["jobs"]
    lines = [
        f"The experiment {name} on {said['dataset']} is {said['status']}: "
        f"{jobs['completed']} of {jobs['total']} jobs completed, {jobs['failed']} failed.",
        said["url"] or f"Its page on the site: {said['path']}",
        "You asked for this on your account's page or on the experiment's.",
    ]
    return f"Trilemma: {name} {said['status']}", "\n\n".join(lines) + "\n"

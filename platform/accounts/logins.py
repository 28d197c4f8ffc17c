"""How often somebody may try to sign in: counted in the database, over all web processes."""

import math
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.models import LoginAttempt

ONE_HOUSEHOLD = 64  # bits of an IPv6 address that one customer has for himself: the rest varies
KNOWN_DEVICE = "known device"  # in the place of an address


class TooManyLogins(Exception):
    """Too many attempts for one name, or from one address."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"too many attempts to sign in, wait {wait_seconds} s")
        self.wait_seconds = wait_seconds


def address_of(request: HttpRequest) -> str:
    """Return where a request comes from; with TRUST_PROXY, what the proxy says of it."""
    text = request.META.get("REMOTE_ADDR", "")
    if settings.TRUST_PROXY:  # earlier parts of the list are the visitor's own words
        text = request.META.get("HTTP_X_FORWARDED_FOR", text).rpartition(",")[2].strip()
    try:
        address = ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, ONE_HOUSEHOLD), strict=False))
    return str(address)


def begin(username: str, address: str, device: str = "") -> None:
    """Count an attempt before the password is looked at, so that attempts at once count too.

    On a device where the name has signed in before, by its key, only its own attempts count.

    Raises:
        TooManyLogins: if there were too many; one that is refused does not count.
    """
    LoginAttempt.objects.filter(at__lt=timezone.now() - _window()).delete()
    digest = _digest(username, device)
    attempt = LoginAttempt.objects.create(
        name_digest=digest, address=KNOWN_DEVICE if device else address
    )
    wait_seconds = _wait(LoginAttempt.objects.filter(name_digest=digest), settings.LOGIN_LIMIT)
    if not device:
        of_address = LoginAttempt.objects.filter(address=address)
        wait_seconds = max(wait_seconds, _wait(of_address, settings.LOGIN_LIMIT_ADDRESS))
    if wait_seconds:
        attempt.delete()
        raise TooManyLogins(wait_seconds)


def succeed(username: str, device: str = "") -> None:
    """Forget the attempts for a name whose password was right, of a known device its own."""
    LoginAttempt.objects.filter(name_digest=_digest(username, device)).delete()


def _window() -> timedelta:
    return timedelta(seconds=settings.LOGIN_WINDOW_SECONDS)


def _wait(attempts: QuerySet[LoginAttempt], limit: int) -> int:
    """Return the seconds until another attempt is within the limit, 0 if this one is."""
    latest: list[datetime] = list(
        attempts.order_by("-at").values_list("at", flat=True)[: limit + 1]
    )
    if len(latest) <= limit:
        return 0
    return max(1, math.ceil((latest[limit] + _window() - timezone.now()).total_seconds()))


def _digest(username: str, device: str) -> str:
    # Not the name itself: people type their password into the wrong field.
    told = f"{device}\0{username}" if device else username  # no name holds a NUL
    return salted_hmac("accounts.logins", told, algorithm="sha256").hexdigest()

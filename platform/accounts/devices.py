"""Devices on which somebody has signed in before: strangers cannot lock their owners out there.

A signed cookie says with which names a device has signed in. Attempts with such a name are counted
for the device alone, so that wrong passwords from elsewhere do not make it wait, and within the same
limit, so that who has stolen a cookie gains no more guesses than a stranger has.

OWASP, "Slow down online guessing attacks with device cookies".
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

COOKIE = "known_device"
SIGNED_IN = "accounts.signed_in"  # in the META of a request: the name that signed in with it
MOST_NAMES = 5  # of a device, the latest
KEPT_SECONDS = 180 * 24 * 3600
SALT = "accounts.devices"
View = Callable[[HttpRequest], HttpResponseBase]


@dataclass(frozen=True)
class Device:
    """A device by a number that nobody else knows, and who has signed in on it."""

    key: str
    names: tuple[str, ...] = ()  # digests

    @classmethod
    def of(cls, request: HttpRequest) -> "Device | None":
        """Return the device of a request, None if it is unknown or its cookie is not ours."""
        try:
            signer = TimestampSigner(salt=SALT)
            text = signer.unsign(request.COOKIES.get(COOKIE, ""), max_age=KEPT_SECONDS)
        except BadSignature:
            return None
        key, *names = text.split(".")
        return cls(key, tuple(names))

    @property
    def cookie(self) -> str:
        return TimestampSigner(salt=SALT).sign(".".join([self.key, *self.names]))

    def knows(self, username: str) -> bool:
        return _digest(username) in self.names

    def after(self, username: str) -> "Device":
        """Return the device once somebody has signed in on it."""
        name = _digest(username)
        others = [each for each in self.names if each != name]
        return replace(self, names=(name, *others)[:MOST_NAMES])


def known(request: HttpRequest, username: str) -> str:
    """Return the key of the request's device if this name has signed in on it, else ""."""
    device = Device.of(request)
    return device.key if device and device.knows(username) else ""


def remember(get_response: View) -> View:
    """Give a device on which somebody has just signed in the cookie that says so."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if username := request.META.get(SIGNED_IN):
            device = Device.of(request) or Device(secrets.token_hex(16))
            response.set_cookie(
                COOKIE,
                device.after(username).cookie,
                max_age=KEPT_SECONDS,
                path=settings.SESSION_COOKIE_PATH,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response

    return middleware


def _digest(username: str) -> str:
    return salted_hmac(SALT, username, algorithm="sha256").hexdigest()[:32]

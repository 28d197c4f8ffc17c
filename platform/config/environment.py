"""How settings are read from the environment; a value that is none stops the start."""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured


def envbool(name: str, default: bool) -> bool:
    text = os.environ.get(name, str(default)).strip().lower()
    if text in {"true", "1", "yes"}:
        return True
    if text in {"false", "0", "no"}:
        return False
    raise ImproperlyConfigured(f"Unexpected value {name}={os.environ[name]}, use True or False")


def envint(name: str, default: int, *, at_least: int = 0) -> int:
    text = os.environ.get(name, str(default))
    if not text.strip().isdecimal() or int(text) < at_least:
        raise ImproperlyConfigured(
            f"Unexpected value {name}={text}, use a whole number of at least {at_least}"
        )
    return int(text)


def envlist(name: str, default: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def envrate(name: str, default: str) -> str:
    text = os.environ.get(name, default).strip()
    if text and not re.fullmatch(r"[1-9]\d*/(second|minute|hour|day)", text):
        raise ImproperlyConfigured(
            f"Unexpected value {name}={text}, use a number per second, minute, hour or day such as "
            f"{default}, or nothing for no limit"
        )
    return text


def envprefix(name: str, default: str) -> str:
    text = os.environ.get(name, default).strip()
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]*[A-Za-z0-9_~-])+", text):
        raise ImproperlyConfigured(
            f"Unexpected value {name}={text}, use the beginning of the site's addresses such as "
            "/trilemma, or nothing"
        )
    return text


def envsecret(name: str, default: str) -> str:
    """Return NAME, or what the file named by NAME_FILE holds; errors never show the value."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name) or default
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE={path} cannot be read") from error
    if not text:
        raise ImproperlyConfigured(f"{name}_FILE={path} is empty")
    return text


def envaddress(name: str, default: str) -> str:
    """Return the address of a server, which may hold a password and so is never shown."""
    text = envsecret(name, default)
    if not all(is_address(part) for part in text.split(";")):  # of several brokers
        raise ImproperlyConfigured(
            f"Unexpected value of {name}, use scheme://user:password@host:port/name with special "
            "characters of the password percent-encoded"
        )
    return text


def is_address(text: str) -> bool:
    """Whether the address ends where it seems to: no part of a password is taken for a name."""
    try:
        parts = urlsplit(text)
        is_local = parts.port is None and not parts.hostname
    except ValueError:
        return False
    return bool(parts.scheme) and (is_local or "@" not in parts.path + parts.query + parts.fragment)


def envnetworks(name: str, default: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(text) for text in envlist(name, default)]
    except ValueError as error:
        raise ImproperlyConfigured(
            f"Unexpected value {name}={os.environ.get(name)}, use networks such as 10.0.0.0/8, "
            "separated by commas"
        ) from error


def envchoice(name: str, default: str, *others: str) -> str:
    text = os.environ.get(name, default)
    if text not in (default, *others):
        known = ", ".join((default, *others[:-1]))
        raise ImproperlyConfigured(f"Unexpected value {name}={text}, use {known} or {others[-1]}")
    return text


def envsite(name: str, default: str) -> str:
    text = os.environ.get(name, default).strip().rstrip("/")
    if text and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", text):
        raise ImproperlyConfigured(
            f"Unexpected value {name}={text}, use scheme and host such as https://example.org, or nothing"
        )
    return text

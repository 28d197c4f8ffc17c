"""Which addresses may be called: those of the public internet, and those that the admin allows.

A name is looked up once; what is called is the address that was looked at here, so that a name which
leads elsewhere a moment later (DNS rebinding) leads nowhere.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

MOST_CHARACTERS = 500
PORTS = {"http": 80, "https": 443}
UNICAST = ip_network("2000::/3")  # what of IPv6 is routed
NAT64 = ip_network("64:ff9b::/96")  # holds an address of IPv4


class AddressRefused(ValueError):
    """An address that may not be called; the message says why."""


@dataclass(frozen=True)
class Target:
    """Where a call goes."""

    scheme: str
    host: str  # ASCII
    port: int
    path: str  # with its query
    addresses: tuple[str, ...]  # looked up and allowed, in the resolver's order

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def look_up(url: str) -> Target:
    """Return where an address leads now.

    Raises:
        AddressRefused: if it is none of http or https, or leads to what may not be called.
        OSError: if its name cannot be looked up.
    """
    parts = _read(url)
    port = parts.port or PORTS[parts.scheme]
    host = _ascii(parts.hostname or "")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not is_allowed(address):
            raise AddressRefused(
                f"{host} leads to {address}, which is not of the public internet; the site's "
                "administrator may allow it (WEBHOOK_NETWORKS)"
            )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, addresses)


def _read(url: str) -> SplitResult:
    if len(url) > MOST_CHARACTERS or not all("!" <= character <= "~" for character in url):
        raise AddressRefused(
            f"expected an address of at most {MOST_CHARACTERS} visible characters of ASCII"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused("expected an address such as https://example.org/hook") from error
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise AddressRefused("expected an address such as https://example.org/hook")
    if "@" in parts.netloc:
        raise AddressRefused("expected no name and no password in the address")
    return parts


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() if ":" not in host else host
    except UnicodeError as error:
        raise AddressRefused(f"{host[:100]} is no name of a host") from error


def is_allowed(text: str) -> bool:
    """Return whether an address may be called."""
    return all(map(_may_be_called, _meant(ip_address(text.partition("%")[0]))))


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the address, or those of IPv4 that it holds: they are where its packets go."""
    inner: list[IPv4Address] = []
    if isinstance(address, IPv6Address):
        nat64 = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None
        found = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()), nat64)
        inner = [each for each in found if each is not None]
    if not inner:
        yield address
    yield from inner


def _may_be_called(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in settings.WEBHOOK_NETWORKS):
        return True
    is_routed = address.version == 4 or address in UNICAST
    return is_routed and address.is_global and not address.is_multicast

"""A POST to a stranger's server: to the address that was checked, within a time, no redirect followed."""

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

from notifications.addresses import Target, look_up

SECONDS = 10  # from the first packet to the status of the answer
FIRST = 2  # addresses of a host that are tried


class NoAnswer(Exception):
    """Nobody answered; the message says what happened instead."""


class Connection(HTTPConnection):
    """A connection to a host's checked address that ends when its time is up."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.host, target.port)
        self.target = target
        self.deadline = time.monotonic() + SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.01, self.deadline - time.monotonic())

    def connect(self) -> None:
        """Connect to one of the addresses; certificates are those of the host's name."""
        plain = self._reach()
        plain.settimeout(self.seconds_left)
        self.sock = plain
        if self.target.scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(
                plain, server_hostname=self.target.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()

    def _reach(self) -> socket.socket:
        *others, last = self.target.addresses[:FIRST]
        for address in others:
            try:
                return socket.create_connection(
                    (address, self.target.port), timeout=self.seconds_left / 2
                )
            except OSError:
                pass
        return socket.create_connection((last, self.target.port), timeout=self.seconds_left)

    def cut(self) -> None:
        """End it from outside: who answers a byte a second would hold it for ever."""
        try:
            if self.sock:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Return the status of the answer; what else it says is not read.

    Raises:
        AddressRefused: if the address may not be called.
        NoAnswer: if there is none in time.
    """
    try:
        target = look_up(url)
    except OSError as error:
        raise NoAnswer(f"its host was not found: {error.strerror or error}") from error
    connection = Connection(target)
    watchdog = threading.Timer(SECONDS, connection.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        known = {"Host": target.host_header, "Connection": "close", **headers}
        connection.request("POST", target.path, body, known)
        return int(connection.getresponse().status)
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer(_why(error, connection)) from error
    finally:
        watchdog.cancel()
        connection.close()


def _why(error: Exception, connection: Connection) -> str:
    if isinstance(error, TimeoutError) or time.monotonic() >= connection.deadline:
        return f"no answer within {SECONDS} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or error}"
    return f"no answer of HTTP: {type(error).__name__}"

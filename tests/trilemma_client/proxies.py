"""What stands between a client and a site, and fails."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import urllib3

Fate = Literal["pass", "lose", "busy"]  # answered; the answer is lost on its way; never arrived


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a site, each with the next of its fates, the later ones unharmed."""

    def __init__(self, site: str, fates: Sequence[Fate]) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.site, self.fates = site, list(fates)
        self.seen: list[tuple[str, Fate]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Passing(BaseHTTPRequestHandler):
    server: Proxy

    def pass_on(self) -> None:
        fate: Fate = self.server.fates.pop(0) if self.server.fates else "pass"
        self.server.seen.append((self.command, fate))
        if fate == "busy":
            self.send_response(503)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with urllib3.PoolManager() as pool:  # its connection ends with the request
            address, headers = self.server.site + self.path, dict(self.headers)
            answer = pool.request(self.command, address, body=body, headers=headers)
        if fate == "lose":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name in ("Content-Type", "Location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        self.wfile.write(answer.data)

    do_GET = do_POST = do_DELETE = pass_on  # noqa: N815  # as http.server calls them

    def log_message(self, format: str, *args: object) -> None:  # its name there
        pass


@contextmanager
def proxy(site: str, *fates: Fate) -> Iterator[Proxy]:
    """Yield a proxy of a site, whose first requests have these fates."""
    with Proxy(site, fates) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def all_are_answered() -> None:
    """Wait until no thread of a server has a connection open: the database goes with the test."""
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(10)

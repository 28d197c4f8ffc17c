"""Receivers of messages: a real HTTP server and a real mail server on loopback ports."""

import base64
import hashlib
import hmac
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Call:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came to a server, and what it answers: a status for each call, the last one for ever."""

    calls: list[Call] = field(default_factory=list)
    codes: list[int] = field(default_factory=lambda: [204])
    before: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=lab"

    @property
    def ids(self) -> list[str]:
        return [call.headers["webhook-id"] for call in self.calls]


@contextmanager
def http_receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls.append(Call(self.path, named, body))
            receiver.before(self)
            self.send_response(receiver.codes[min(len(receiver.calls), len(receiver.codes)) - 1])
            self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield receiver
        server.shutdown()


@contextmanager
def mail_receiver() -> Iterator[tuple[int, list[str]]]:
    """Yield a port that speaks SMTP, and the mails that came there."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.say("354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    mails.append(b"".join(lines).decode())
                self.say("221 bye" if word == b"QUIT" else "250 fine")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server.server_address[1], mails
        server.shutdown()


def is_signed(call: Call, secret: str) -> bool:
    """Whether a call is signed as Standard Webhooks says, by code of the test's own."""
    message_id, at = call.headers["webhook-id"], call.headers["webhook-timestamp"]
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join([message_id.encode(), at.encode(), call.body])
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return call.headers["webhook-signature"] == f"v1,{expected}"

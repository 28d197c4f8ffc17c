"""A real worker trains, tells it, and is killed while it does."""

import json
import os
import shutil
import signal
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.notifications.receivers import http_receiver, is_signed, mail_receiver
from tests.servers import wait_until
from tests.site import Site

ACCOUNT = """
from accounts.models import User
from notifications import receivers
user = User.objects.create(username="ada", email="ada@example.org", role="submitter")
print(receivers.add_webhook(user, "{url}")[1])
"""
MESSAGES = """
import json
from notifications.models import Delivery
rows = Delivery.objects.order_by("pk").values_list("event", "status", "attempts", "message_id")
print(json.dumps([[str(value) for value in row] for row in rows]))
"""
SUBMISSION = {
    "name": "told",
    "dataset": "digits",
    "budget": {"images": 64},
    "entries": [{"algorithm": "vae.conv"}],
    "notify": True,
}


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_tells_loses_nothing_and_doubles_no_event(
    prepared_data: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(prepared_data, tmp_path / "site")
    with http_receiver() as receiver, mail_receiver() as (port, mails):
        mail = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "EMAIL_SECURITY": "none"}
        with closing(Site(data, WEBHOOK_NETWORKS="127.0.0.1/32", **mail)) as site:
            secret = site.manage("shell", "-v0", "-c", ACCOUNT.format(url=receiver.url)).stdout
            protocol = site.manage(
                "shell", "-v0", "-c",
                "from catalog.models import Protocol; print(Protocol.objects.get().fingerprint)",
            ).stdout.strip()  # fmt: skip
            (data / "told.json").write_text(json.dumps({**SUBMISSION, "protocols": [protocol]}))
            site.manage("submit", str(data / "told.json"), "--user", "ada")
            first = site.start_worker("one")

            def kill(handler: BaseHTTPRequestHandler) -> None:
                if len(receiver.calls) == 1:
                    os.killpg(first.pid, signal.SIGKILL)
                    first.wait()
                    site.start_worker("two")

            receiver.before = kill
            wait_until(lambda: len(receiver.calls) == 2 and mails, seconds=400, what="two calls")

            def messages() -> list[list[str]]:
                shown: list[list[str]] = json.loads(
                    site.manage("shell", "-v0", "-c", MESSAGES).stdout
                )
                return shown

            wait_until(
                lambda: {row[1] for row in messages()} == {"delivered"},
                seconds=120,
                what="both delivered",
            )

    assert [row[0] for row in messages()] == ["experiment.completed"] * 2
    assert [row[2] for row in messages()] == ["2", "1"]  # the webhook's, the mail's
    assert receiver.ids == [messages()[0][3]] * 2
    assert all(is_signed(call, secret.strip()) for call in receiver.calls)
    assert len(mails) == 1
    assert "Subject: Trilemma: told completed" in mails[0]

"""Messages on their way, to real servers: signed, tried again, bounded in time, shown with what came."""

import json
import shutil
import ssl
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from accounts.models import AuditEvent, User
from experiments import services
from notifications import calling, outbox, receivers, sending
from notifications.calling import post
from notifications.models import Delivery, Webhook
from tests import factories
from tests.notifications.receivers import Receiver, http_receiver, is_signed, mail_receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return factories.make_user()


@pytest.fixture
def hook(user: User, receiver: Receiver) -> Webhook:
    return receivers.add_webhook(user, receiver.url)[0]


def make_due() -> None:
    Delivery.objects.filter(status="waiting").update(next_at=Now())


def one() -> Delivery:
    return Delivery.objects.get()


def test_a_message_is_signed_and_arrives_once(user: User, receiver: Receiver) -> None:
    hook, secret = receivers.add_webhook(user, f" {receiver.url}\n")
    experiment = factories.make_experiment(user=user)
    receivers.watch(user, experiment, wanted=True)
    services.cancel_experiment(experiment, user=user)

    assert sending.send_due() == 1
    assert sending.send_due() == 0

    (call,) = receiver.calls
    assert is_signed(call, secret)
    assert not is_signed(call, receivers.renew_secret(hook, user=user))
    assert call.path == "/hook?to=lab"
    assert call.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    assert json.loads(call.body)["data"]["experiment"]["id"] == experiment.pk
    delivery = one()
    assert receiver.ids == [str(delivery.message_id)]
    assert (delivery.status, delivery.attempts, delivery.code) == ("delivered", 1, 204)


def test_what_is_refused_is_sent_again_later_and_later_under_its_id(
    hook: Webhook, receiver: Receiver
) -> None:
    receiver.codes = [500, 302, 200]
    outbox.tell_test(hook)

    waits = []
    for _ in range(2):
        sending.send_due()
        assert sending.send_due() == 0  # not yet
        delivery = one()
        waits.append(round((delivery.next_at - delivery.created_at).total_seconds()))
        assert delivery.status == "waiting"
        make_due()
    assert one().detail == "it answered 302, expected 2xx; redirects are not followed"
    sending.send_due()

    assert [call.path for call in receiver.calls] == ["/hook?to=lab"] * 3
    assert len(set(receiver.ids)) == 1
    assert waits == pytest.approx(sending.PAUSES[:2], abs=3)
    assert (one().status, one().attempts, one().code, one().detail) == ("delivered", 3, 200, "")


def test_after_the_last_attempt_it_has_failed(hook: Webhook, receiver: Receiver) -> None:
    receiver.codes = [410]
    outbox.tell_test(hook)

    for _ in range(len(sending.PAUSES) + 3):
        sending.send_due()
        make_due()

    assert len(receiver.calls) == len(sending.PAUSES) + 1
    assert (one().status, one().code) == ("failed", 410)
    assert one().ended_at is not None


def test_while_one_worker_sends_it_another_does_not(
    hook: Webhook, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.tell_test(hook)
    others = []

    def post_meanwhile(*call: Any) -> int:
        others.append(sending.send_due())
        return post(*call)

    monkeypatch.setattr(sending, "post", post_meanwhile)
    sending.send_due()

    assert others == [0]
    assert len(receiver.calls) == 1
    assert (one().status, one().attempts) == ("delivered", 1)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, for ever."""
    try:
        while True:
            handler.wfile.write(b"H")
            time.sleep(0.05)
    except OSError:
        pass


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Answer more than anybody reads."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000_000)
    except OSError:
        pass


@pytest.mark.parametrize(("answer", "said"), [(drip, "no answer within"), (flood, "LineTooLong")])
def test_no_answer_takes_or_holds_more_than_its_share(
    hook: Webhook, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str
) -> None:
    monkeypatch.setattr(calling, "SECONDS", 0.3)
    receiver.before = answer
    outbox.tell_test(hook)

    begun = time.monotonic()
    sending.send_due()

    assert time.monotonic() - begun < 2
    assert said in one().detail
    assert (one().status, one().code) == ("waiting", None)


def test_nobody_there_is_said(hook: Webhook, user: User) -> None:
    with http_receiver() as gone:
        other, _ = receivers.add_webhook(user, gone.url)
    outbox.tell_test(other)

    sending.send_due()

    assert one().detail == "no connection: Connection refused"


def test_where_a_name_leads_is_asked_again_when_it_is_called(
    hook: Webhook, receiver: Receiver, settings: Settings
) -> None:
    outbox.tell_test(hook)
    settings.WEBHOOK_NETWORKS = []

    sending.send_due()

    assert receiver.calls == []
    assert one().status == "failed"
    assert "127.0.0.1, which is not of the public internet" in one().detail


def test_another_key_of_the_site_signs_nothing_in_silence(
    hook: Webhook, receiver: Receiver, settings: Settings
) -> None:
    outbox.tell_test(hook)
    settings.SECRET_KEY = "another one"  # noqa: S105  # of a test

    sending.send_due()

    assert receiver.calls == []
    assert (one().status, one().detail[:26]) == ("failed", "the site's SECRET_KEY is a")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_must_be_trusted_and_of_the_host(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http_receiver(context) as receiver:
        url = f"https://localhost:{receiver.port}/"
        settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.1/32"), ip_network("::1/128")]
        hook, _ = receivers.add_webhook(user, url)
        outbox.tell_test(hook)

        sending.send_due()
        assert one().detail == "its certificate is not trusted: self-signed certificate"
        assert receiver.calls == []
        make_due()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        sending.send_due()

        assert (one().status, len(receiver.calls)) == ("delivered", 1)
        numbered, _ = receivers.add_webhook(user, f"https://127.0.0.1:{receiver.port}/")
        outbox.tell_test(numbered)
        sending.send_due()
        assert "not trusted: IP address mismatch" in Delivery.objects.latest("pk").detail


def test_mail_goes_through_the_mail_server(user: User, settings: Settings) -> None:
    with mail_receiver() as (port, mails):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        settings.EMAIL_USE_TLS = False
        settings.SITE_URL = "https://trilemma.example.org"
        User.objects.filter(pk=user.pk).update(email="ada@example.org")
        experiment = factories.make_experiment(user=user, name="Grüße an alle")
        receivers.watch(user, experiment, wanted=True)
        services.cancel_experiment(experiment, user=user)
        sending.send_due()

        (mail,) = mails
        assert "To: ada@example.org" in mail
        assert f"Message-ID: <{one().message_id}@trilemma>" in mail
        assert f"https://trilemma.example.org/experiments/{experiment.pk}/" in mail
        assert (one().status, one().code) == ("delivered", None)
    services.retry_experiment(experiment, user=user)
    services.cancel_experiment(experiment, user=user)
    sending.send_due()
    later = Delivery.objects.latest("pk")
    assert (later.status, later.detail) == (
        "waiting",
        "the mail server took nothing: ConnectionRefusedError",
    )


def test_secrets_are_neither_kept_nor_logged_nor_in_the_audit(
    user: User, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    hook, secret = receivers.add_webhook(user, receiver.url)
    second = receivers.renew_secret(hook, user=user)
    receiver.codes = [500]
    outbox.tell_test(hook)
    sending.send_due()
    kept = [*Webhook.objects.values(), *AuditEvent.objects.values(), *Delivery.objects.values()]

    assert secret != second
    for text in (secret, second, secret.removeprefix("whsec_")):
        assert text not in repr(kept)
        assert text not in caplog.text
    trail = " ".join(str(event) for event in AuditEvent.objects.all())
    assert "to 127.0.0.1" in trail
    assert "hook?to=lab" not in trail + caplog.text

"""The probes of an orchestrator: does the process live, can the site work."""

import json
import logging
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from tests.factories import make_worker
from tests.servers import free_port, redis_server
from tests.site import Site

OK = {"status": "ok"}
ASK = """
import json, os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.test import Client
response = Client().get("/readyz")
print(json.dumps([response.status_code, response.json()["checks"]]))
"""


@pytest.fixture
def message_folder(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder of messages the broker, whatever BROKER_URL says."""
    folder = data_dir / "queue"
    folder.mkdir()
    broker(monkeypatch, "filesystem://localhost")
    options = {"data_folder_out": str(folder)}
    monkeypatch.setitem(current_app.conf, "broker_transport_options", options)
    return folder


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Yield the port of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def broker(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(current_app.conf, "broker_url", url)


def test_a_living_process_says_ok_and_asks_nothing(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, db: None
) -> None:
    with django_assert_num_queries(0):
        response = client.get("/healthz")

    assert (response.status_code, response.content) == (200, b"ok")
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_needs_no_account_and_no_host_name(
    client: Client, settings: Settings, message_folder: Path, path: str, db: None
) -> None:
    settings.PUBLIC_READ, settings.SECURE_SSL_REDIRECT = False, True
    make_worker()

    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405
    assert client.get("/", headers={"host": "10.1.2.3:8000"}).status_code != 200


def test_a_site_with_everything_is_ready(
    client: Client, message_folder: Path, data_dir: Path, db: None
) -> None:
    make_worker()
    make_worker(alive=False)
    before = sorted(data_dir.rglob("*"))

    response = client.get("/readyz")

    checks = {"database": OK, "broker": OK, "storage": OK, "workers": OK}
    assert (response.status_code, response.json()) == (200, {"status": "ok", "checks": checks})
    assert sorted(data_dir.rglob("*")) == before


def test_without_a_living_worker_the_site_is_not_ready(
    client: Client, message_folder: Path, db: None
) -> None:
    make_worker(alive=False)

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {
        "status": "failed",
        "checks": {
            "database": OK,
            "broker": OK,
            "storage": OK,
            "workers": {"status": "failed", "reason": "no worker is online"},
        },
    }


def test_a_data_folder_that_is_gone_is_named(
    client: Client, message_folder: Path, data_dir: Path, db: None
) -> None:
    make_worker()
    shutil.rmtree(data_dir)

    response = client.get("/readyz")

    checks = response.json()["checks"]
    assert response.status_code == 503
    assert checks["storage"]["reason"] == "the data folder cannot be written"
    assert checks["broker"]["reason"] == "no answer"
    assert str(data_dir) not in response.text


def test_a_database_without_this_versions_tables_is_not_ready(
    client: Client, message_folder: Path, db: None
) -> None:
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("jobs")
    MigrationRecorder(connection).record_unapplied(*newest)

    checks = client.get("/readyz").json()["checks"]

    assert checks["database"] == {"status": "failed", "reason": "migrations are not applied"}


def test_a_database_that_does_not_answer_is_named_without_its_address(data_dir: Path) -> None:
    site = Site(data_dir, DATABASE_URL="postgres://trilemma:hunter2@127.0.0.1:1/trilemma")

    answer = site.run("-c", ASK)

    status, checks = json.loads(answer.stdout)
    assert status == 503
    assert checks["database"] == {"status": "failed", "reason": "no answer"}
    assert checks["workers"] == {"status": "failed", "reason": "not known"}
    assert (checks["storage"], checks["broker"]) == (OK, OK)
    assert "hunter2" not in answer.stdout + answer.stderr


def test_a_broker_that_is_not_there_is_named_without_its_address(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    make_worker()
    broker(monkeypatch, f"redis://:hunter2@127.0.0.1:{free_port()}/0")

    with caplog.at_level(logging.DEBUG):
        response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["checks"]["broker"] == {"status": "failed", "reason": "no answer"}
    assert "hunter2" not in response.text + caplog.text
    assert "127.0.0.1" not in response.text + caplog.text


def test_a_broker_that_never_answers_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, silent_server: int, db: None
) -> None:
    broker(monkeypatch, f"redis://127.0.0.1:{silent_server}/0")

    begun = time.monotonic()
    checks = client.get("/readyz").json()["checks"]

    assert checks["broker"]["reason"] == "no answer"
    assert time.monotonic() - begun < 10  # kombu's own connection would take 2 s, four times


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_a_real_redis_is_ready(client: Client, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    make_worker()
    with redis_server() as address:
        broker(monkeypatch, address)

        assert client.get("/readyz").json()["checks"]["broker"] == OK

"""Log lines name the job that is being worked on, in its heartbeat's thread as well."""

import json
import logging
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from experiments.models import Run
from jobs import lifecycle, logs
from jobs.execution import Heartbeat, execute
from tests.factories import make_run
from tests.site import Site

logger = logging.getLogger("some.library")


@pytest.fixture
def handler(caplog: pytest.LogCaptureFixture) -> Iterator[logging.StreamHandler[StringIO]]:
    """Yield a handler of all lines with the site's filter."""
    made = logging.StreamHandler(StringIO())
    made.addFilter(logs.AddJob())
    logging.getLogger().addHandler(made)
    with caplog.at_level(logging.INFO):
        yield made
    logging.getLogger().removeHandler(made)


def lines(handler: logging.StreamHandler[StringIO]) -> list[str]:
    return handler.stream.getvalue().splitlines()


def objects(handler: logging.StreamHandler[StringIO]) -> dict[str, dict[str, Any]]:
    """Return the JSON objects that were written, by their message."""
    return {record["message"]: record for record in map(json.loads, lines(handler))}


def work(run: Run, heartbeat: Heartbeat) -> None:
    logger.info("deep inside")
    lifecycle.complete(run)


@pytest.mark.django_db
def test_lines_of_a_job_name_it_and_others_do_not(
    handler: logging.StreamHandler[StringIO],
) -> None:
    formats: Any = settings.LOGGING["formatters"]
    handler.setFormatter(logging.Formatter(formats["line"]["format"]))
    run = make_run()

    logger.info("before")
    execute(Run, run.pk, {Run: work})
    logger.info("after")

    found = {line.rpartition(": ")[2]: line for line in lines(handler)}
    assert f" INFO some.library [run {run.pk}, attempt 1]: deep inside" in found["deep inside"]
    assert " INFO some.library: before" in found["before"]
    assert " INFO some.library: after" in found["after"]


@pytest.mark.django_db
def test_json_lines_carry_kind_id_and_attempt(handler: logging.StreamHandler[StringIO]) -> None:
    handler.setFormatter(logs.JsonFormatter())
    run = make_run()
    Run.objects.filter(pk=run.pk).update(attempt=2)

    execute(Run, run.pk, {Run: work})
    logger.info("after")

    found = objects(handler)
    assert found["deep inside"].items() >= {"kind": "run", "id": run.pk, "attempt": 3}.items()
    assert found["deep inside"]["level"] == "INFO"
    assert found["deep inside"]["time"].endswith("+00:00")
    assert "kind" not in found["after"]


@pytest.mark.django_db
def test_a_job_that_fails_is_named_with_its_traceback_in_one_line(
    handler: logging.StreamHandler[StringIO],
) -> None:
    handler.setFormatter(logs.JsonFormatter())
    run = make_run()

    def fail(run: Run, heartbeat: Heartbeat) -> None:
        try:
            raise RuntimeError("two\nlines")
        except RuntimeError:
            logger.exception("it broke")
            raise

    execute(Run, run.pk, {Run: fail})

    found = objects(handler)
    assert "RuntimeError: two\nlines" in found["it broke"]["exception"]
    assert found["it broke"]["id"] == run.pk
    failed = next(record for message, record in found.items() if "failed" in message)
    assert failed["id"] == run.pk


def test_the_thread_of_a_heartbeat_is_about_its_job(
    handler: logging.StreamHandler[StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler.setFormatter(logs.JsonFormatter())
    monkeypatch.setattr(settings, "BEAT_SECONDS", 0.01)
    beaten = threading.Event()

    def write(job: Run, **progress: Any) -> bool:
        logger.info("from the thread")
        beaten.set()
        return True

    with logs.about("run", 7, 2):
        heartbeat = Heartbeat(Run(pk=7))
        heartbeat.write = write
        with heartbeat:
            assert beaten.wait(10)

    found = objects(handler)["from the thread"]
    assert (found["kind"], found["id"], found["attempt"]) == ("run", 7, 2)


@pytest.mark.parametrize(("given", "begins"), [("json", '{"time": '), ("line", "20")])
def test_the_site_writes_in_the_format_it_is_told(data_dir: Path, given: str, begins: str) -> None:
    site = Site(data_dir, LOG_FORMAT=given)
    code = "import django; django.setup(); import logging; logging.warning('x')"
    site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"

    assert site.run("-c", code).stderr.startswith(begins)


def test_another_format_stops_the_start(data_dir: Path) -> None:
    answer = Site(data_dir, LOG_FORMAT="xml").manage("check", check=False)

    assert answer.returncode == 1
    assert "Unexpected value LOG_FORMAT=xml, use line or json" in answer.stderr

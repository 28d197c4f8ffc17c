"""What is logged about an attempt is in its own file, bounded, plain, and without secrets."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from experiments import work_logs
from experiments.models import Run
from jobs import execution, kept_log, lifecycle
from jobs.execution import Heartbeat, execute
from jobs.kept_log import LOG_BYTES, KeptLog, plain, without_secrets
from jobs.logs import Doing, about
from jobs.models import Status
from tests.factories import make_run, make_viewing

logger = logging.getLogger("some.library")


@pytest.fixture(autouse=True)
def _all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def log(data_dir: Path) -> Iterator[KeptLog]:
    """Yield the log of attempt 2 of run 7 while it is at work."""
    made = KeptLog(Doing("run", 7, 2))
    logger.addHandler(made)
    with about("run", 7, 2):
        yield made
    logger.removeHandler(made)


def text(log: KeptLog) -> str:
    return log.path.read_text()


def do(run: Run, work: Any) -> str:
    """Do a run's work with a kept log; return the newest attempt's."""
    execute(Run, run.pk, {Run: work}, keep_log=work_logs.kept)
    run.refresh_from_db()
    return work_logs.attempts(run)[0].text()


@pytest.mark.django_db
def test_a_job_leaves_what_was_logged_about_it_and_nothing_else(data_dir: Path) -> None:
    run = make_run()

    def work(run: Run, heartbeat: Heartbeat) -> None:
        logger.warning("a library warns of %s", "this")
        thread = threading.Thread(target=logger.warning, args=["of somebody else's job"])
        thread.start()
        thread.join()
        lifecycle.complete(run)

    logger.warning("before")
    found = do(run, work)
    logger.warning("after")

    lines = found.splitlines()
    assert [line.partition("Z ")[2] for line in lines] == [
        f"INFO jobs.execution: run {run.pk}: attempt 1 on {run.worker}",
        "WARNING some.library: a library warns of this",
        f"INFO jobs.execution: run {run.pk}: ended",
    ]
    assert work_logs.attempts(run)[0].text() == found


@pytest.mark.django_db
def test_each_attempt_has_its_own_log_with_its_failure(data_dir: Path) -> None:
    run = make_run()

    def fail(run: Run, heartbeat: Heartbeat) -> None:
        raise RuntimeError("once")

    first = do(run, fail)
    assert run.status == Status.FAILED
    lifecycle.retry(run, by="us")
    second = do(run, lambda run, heartbeat: lifecycle.complete(run))

    assert "RuntimeError: once" in first and "    Traceback (most recent" in first
    assert "once" not in second and "attempt 2" in second
    assert [each.text() for each in work_logs.attempts(run)] == [second, first]


@pytest.mark.django_db
def test_jobs_that_are_no_part_of_a_run_keep_none(data_dir: Path) -> None:
    viewing = make_viewing()

    with work_logs.kept(viewing), about("viewing", viewing.pk, 0):
        logger.warning("seen by nobody")

    assert not (data_dir / "logs").exists()


def test_every_line_is_in_the_file_as_soon_as_it_was_logged(log: KeptLog) -> None:
    for number in range(3):
        logger.warning("line %d", number)
        assert text(log).endswith(f"line {number}\n")  # before anything was closed


def test_a_log_keeps_its_newest_lines_and_says_that_older_ones_went(log: KeptLog) -> None:
    sizes = []
    for number in range(9000):
        logger.warning("line %d of many that are about as long as this", number)
        if number % 500 == 0:
            sizes.append(log.path.stat().st_size)

    lines = text(log).splitlines()
    assert max(sizes) <= LOG_BYTES and log.path.stat().st_size > LOG_BYTES // 2
    assert lines[0] == kept_log.DROPPED.rstrip("\n")
    numbers = [int(line.partition("line ")[2].split()[0]) for line in lines[1:]]
    assert numbers == list(range(numbers[0], 9000))


def test_a_record_without_end_is_cut_in_its_middle(log: KeptLog) -> None:
    logger.warning("begin %s end", "x" * 1_000_000)

    found = text(log)
    assert len(found) < 21_000
    assert "begin" in found and found.endswith("x end\n") and "characters left out" in found


def test_nothing_in_a_record_passes_for_another_or_for_more_than_text(log: KeptLog) -> None:
    logger.warning("one\n2026-01-01 00:00:00Z ERROR root: forged\x1b[2J\u202egnp.exe\r50 %\x00é")

    first, *others = text(log).splitlines()
    assert first.endswith("WARNING some.library: one")
    assert others == [
        "    2026-01-01 00:00:00Z ERROR root: forged\\x1b[2J\\u202egnp.exe",
        "    50 %\\x00é",
    ]


def test_plain_text_and_other_scripts_stay_as_they_are() -> None:
    assert plain("a\tb\nσ = 0.5 漢字 █▌") == "a\tb\nσ = 0.5 漢字 █▌"
    assert plain("\u2066\u200b\ud800") == "\\u2066\\u200b\\ud800"


def test_secrets_are_hidden(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SECRET_KEY = "the-sites-own-key"  # noqa: S105  # made up
    settings.STORAGES = {"files": {"OPTIONS": {"secret_key": "of the bucket"}}}
    monkeypatch.setenv("HF_TOKEN", "hf_somebodys")
    monkeypatch.setenv("DATABASE_URL", "postgres://us:pa/ss@db/site")
    kept_log._secrets.cache_clear()
    said = [
        "the-sites-own-key, of the bucket, hf_somebodys",
        "at postgres://us:pa/ss@db/site and redis://:word@redis:6379/0",
        "Authorization: Token 0123456789abcdef0123",
        "https://store/x?X-Amz-Signature=abcdef&y=1",
        "16 tokens of 8 words; a token: yes",
    ]

    try:
        found = [without_secrets(line) for line in said]
    finally:
        monkeypatch.undo()
        kept_log._secrets.cache_clear()

    assert found == [
        "[hidden], [hidden], [hidden]",
        "at [hidden] and redis://[hidden]@redis:6379/0",
        "Authorization: Token [hidden]",
        "https://store/x?X-Amz-Signature=[hidden]&y=1",
        said[-1],
    ]


@pytest.mark.django_db
def test_a_log_that_cannot_be_written_stops_no_job(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data_dir / "logs").write_text("a file where the folder should be")
    run = make_run()

    execute(Run, run.pk, {Run: lambda run, _: lifecycle.complete(run)}, keep_log=work_logs.kept)

    run.refresh_from_db()
    assert run.status == Status.COMPLETED
    assert f"logs/run/{run.pk}-1.txt: the log is not whole: " in caplog.text


def test_a_heartbeat_says_now_and_then_how_far_the_work_is(
    log: KeptLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BEAT_SECONDS = 0.01
    monkeypatch.setattr(execution, "SAY_SECONDS", 0.05)
    monkeypatch.setattr(execution, "logger", logger)
    said = threading.Event()
    heartbeat = Heartbeat(Run(pk=7))

    def write(job: Run, **progress: Any) -> bool:
        said.set()
        return True

    heartbeat.write = write
    monkeypatch.setattr(lifecycle, "told_to_stop", lambda job: False)
    heartbeat.report(images_seen=512, losses={"g": 0.123456}, points=((1, 2.0, {}),))

    with heartbeat:
        assert said.wait(10)
        while not log.path.exists():
            said.wait(0.01)

    assert (
        text(log)
        .splitlines()[0]
        .endswith("INFO some.library: run 7: images seen 512, losses (g 0.1235)")
    )

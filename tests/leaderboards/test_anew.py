"""Boards of a site of before: a worker writes the rows that they lack, and until then they say so."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from catalog.models import Protocol
from experiments.models import Experiment
from leaderboards.board import Writing
from leaderboards.claims import verdicts
from leaderboards.models import Judging, Standing
from leaderboards.ranking import rank
from leaderboards.scores import anew, bell, judging, reading
from tests import factories
from tests.leaderboards.test_scores import FEW, facts, make_experiment, make_protocols
from tests.servers import wait_until
from tests.site import Site

pytestmark = pytest.mark.django_db


@pytest.fixture
def before(db: None) -> tuple[Protocol, Experiment]:
    """Return a board whose rows are forgotten, and its one experiment."""
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])
    for entry in factories.contenders_of(experiment):
        factories.make_scores(entry=entry, protocol=protocol, values=[FEW, FEW])
    Standing.objects.all().delete()
    assert anew.ask() == entries_of(protocol) > 1
    return protocol, experiment


def entries_of(protocol: Protocol) -> int:
    """Return how many entries have rows on a board: contenders, and the controls that are drawn."""
    return len({row.entry.pk for row in rank(protocol).rows})


@pytest.fixture
def large(before: tuple[Protocol, Experiment], monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """Return a board with more rows to write than a request writes."""
    monkeypatch.setattr(anew, "FEW", 0)
    monkeypatch.setattr(anew, "PART", 1)
    monkeypatch.setattr(anew, "PAUSE", 0.0)
    return before[0]


def test_a_small_board_lacks_no_row_to_whoever_looks(before: tuple[Protocol, Experiment]) -> None:
    protocol, _ = before

    found = reading.board(protocol)

    assert found.writing is None
    assert facts(found) == facts(rank(protocol))
    assert Judging.objects.get(protocol=protocol).to_write == 0


def test_a_large_board_says_how_far_it_is_and_ranks_nobody(large: Protocol, client: Client) -> None:
    total = entries_of(large)
    anew.write_part(large)
    bell.ring(large.pk)

    found = reading.board(large)
    page = client.get(f"/leaderboards/{large.fingerprint}/").content.decode()
    cards = client.get("/leaderboards/").content.decode()
    budgets = client.get(f"/leaderboards/{large.fingerprint}/budgets/").content.decode()
    answers = [
        APIClient().get(f"/api/v1/leaderboards/{large.fingerprint}/{query}")
        for query in ("", "?format=csv", "?page=1")
    ]

    assert (found.writing, len(found.rows)) == (Writing(1, total), 1)
    assert all(cell.rank is None for row in found.rows for cell in row.cells.values())
    assert judging.judge_asked() == 0
    assert f"those of 1 of {total} entries so far" in page
    assert f"those of 1 of {total} entries so far" in budgets
    assert f"rows are being written anew, of 1 of {total} entries so far" in cards
    for answer in answers:
        assert (answer.status_code, answer["Retry-After"]) == (503, "10")
        assert f"those of 1 of {total} entries so far" in answer.json()["detail"]
    assert verdicts.current().found_at is None
    assert not verdicts.find_anew()


def test_advice_of_a_large_board_waits_for_its_rows(large: Protocol, client: Client) -> None:
    answer = APIClient().get(f"/api/v1/advice/?protocol={large.fingerprint}")
    page = client.get(f"/advice/?protocol={large.fingerprint}").content.decode()

    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert "those of 0 of" in page


def test_an_experiment_has_its_rows_though_its_board_waits(
    before: tuple[Protocol, Experiment], large: Protocol
) -> None:
    protocol, experiment = before

    found = reading.board(protocol, experiment=experiment)

    assert facts(found) == facts(rank(protocol, experiment=experiment))
    assert found.rows


def test_entries_are_compared_though_their_boards_wait(
    before: tuple[Protocol, Experiment], large: Protocol, client: Client
) -> None:
    one, other = factories.contenders_of(before[1])

    page = client.get(f"/compare/?entries={one.pk},{other.pk}").content.decode()

    assert large.fingerprint in page


def test_who_goes_on_writes_what_is_left(large: Protocol) -> None:
    anew.write_part(large)
    anew.write_part(large)
    Judging.objects.update(writer_seen=None)  # whoever wrote these is lost since
    bell.ring(large.pk)
    kept = set(Standing.objects.values_list("pk", flat=True))

    assert anew.write_asked() == 1
    assert kept < set(Standing.objects.values_list("pk", flat=True))
    assert judging.judge_asked() == 1
    assert facts(reading.board(large)) == facts(rank(large))


def test_a_board_is_written_by_one_worker_until_that_is_lost(
    large: Protocol, settings: Any
) -> None:
    board = Judging.objects.filter(protocol=large)
    board.update(writer_seen=timezone.now())
    assert anew.write_asked() == 0

    board.update(writer_seen=timezone.now() - timedelta(seconds=settings.LEASE_SECONDS + 1))
    assert anew.write_asked() == 1
    assert board.get().to_write == 0


def test_rescoring_writes_all_at_once(large: Protocol) -> None:
    call_command("rescore")

    assert reading.board(large).writing is None
    assert facts(reading.board(large)) == facts(rank(large))


def far(site: Site) -> tuple[int, int]:
    """Return how many entries are to be written, and of these are."""
    with closing(sqlite3.connect(f"file:{site.data}/db.sqlite3?mode=ro", uri=True)) as database:
        asked = "SELECT sum(to_write), sum(written) FROM leaderboards_judging WHERE to_write > 0"
        total, done = database.execute(asked).fetchone()
    return total or 0, done or 0


def judged(site: Site) -> int:
    with closing(sqlite3.connect(f"file:{site.data}/db.sqlite3?mode=ro", uri=True)) as database:
        asked = "SELECT count(*) FROM leaderboards_judging WHERE judged_at IS NOT NULL"
        return int(database.execute(asked).fetchone()[0])


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_the_rest_to_the_next(
    prepared_data: Path, tmp_path: Path
) -> None:
    with closing(Site(shutil.copytree(prepared_data, tmp_path / "site"))) as site:
        site.run("-m", "tests.benchmarks.sites.filling", "1000")
        site.manage("rescore")
        site.manage("migrate", "leaderboards", "0001")
        told = site.manage("migrate").stdout
        total, _ = far(site)
        worker = site.start_worker("one")
        wait_until(lambda: far(site)[1] > 0, seconds=60, what="the first rows")
        site.kill(worker)
        left = far(site)
        site.start_worker("two")
        wait_until(lambda: far(site) == (0, 0), seconds=120, what="all rows")

        assert total > 300 and f"Boards lack the rows of {total:,} entries" in told
        wait_until(lambda: judged(site) == 3, seconds=60, what="judgements")
        assert 0 < left[1] < total
        assert site.manage("rescore").stdout == "0 rows added, 0 mended, 0 removed\n"

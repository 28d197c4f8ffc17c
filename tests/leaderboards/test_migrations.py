"""Migrations of boards' rows."""

from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps

from catalog.models import Protocol
from leaderboards.models import Judgement, Judging, Score, Standing
from leaderboards.scores import anew, judging
from tests import factories
from tests.servers import postgres_program, postgres_server
from tests.site import Site

pytestmark = pytest.mark.django_db
ANEW = import_module("leaderboards.migrations.0002_anew")


def test_rows_are_forgotten_part_by_part_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = factories.make_protocol(metrics=["fd"], num_images=20)
    experiment = factories.make_experiment(protocols=[protocol], seeds=(0, 1))
    for entry in factories.contenders_of(experiment):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 1.0}, {"fd": 2.0}])
    judging.judge(protocol)
    before = _rows(protocol)
    monkeypatch.setattr(ANEW, "PART", 1)

    ANEW.forget(apps, None)

    assert not any(kind.objects.exists() for kind in (Standing, Score, Judgement))
    assert Judging.objects.get(protocol=protocol).judged_at is None
    assert anew.ask() > 1
    assert anew.write_asked() == 1
    assert _rows(protocol) == before != []


def _rows(protocol: Protocol) -> list[tuple[int, str, int]]:
    rows = Standing.objects.filter(protocol=protocol).order_by("entry_id", "sampler_label")
    return list(rows.values_list("entry_id", "sampler_label", "seeds_scored"))


WRITE = "from leaderboards.scores import anew; print(anew.write_asked())"
ROUTES = [("leaderboards", "0001"), ("leaderboards", "0004"), ("experiments", "0016")]


@pytest.mark.slow
@pytest.mark.skipif(postgres_program("postgres") is None, reason="needs PostgreSQL")
def test_a_filled_postgresql_goes_back_and_forth(tmp_path: Path) -> None:
    with postgres_server() as address, closing(Site(tmp_path, DATABASE_URL=address)) as site:
        site.manage("migrate", "-v0")
        site.run("-m", "tests.benchmarks.sites.filling", "100")
        added = site.manage("rescore").stdout

        for app, name in ROUTES:
            site.manage("migrate", "-v0", app, name)
            site.manage("migrate", "-v0")
            site.manage("shell", "-v0", "-c", WRITE)

            said = site.manage("rescore").stdout
            assert said == "0 rows added, 0 mended, 0 removed\n", (app, name)
        assert added.startswith("84 rows added")

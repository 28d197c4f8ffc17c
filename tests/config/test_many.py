"""A site with many of everything: bounded queries and HTML of each list and page, an index behind its order."""

import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken
from pytest_django.fixtures import Settings

from accounts.models import AuditEvent, Role, User
from api.urls import router
from catalog.models import Protocol, StoredFile
from experiments.models import Entry, Experiment, Run, Tag
from jobs.models import Status, Worker
from leaderboards.scores import judging, keeping
from tests import factories
from tests.benchmarks.sites.filling import Filling
from tests.static import static_root

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db
MOST_QUERIES = 30
MOST_BYTES = 300_000  # of HTML
GROWING = (  # tables that no list may read whole to put it in order
    *("experiments_experiment", "experiments_entry", "experiments_run", "experiments_sampleset"),
    *("experiments_evaluation", "jobs_jobevent", "accounts_auditevent", "leaderboards_score"),
    "experiments_tag",
)
_numbers = count()


def copies(row: models.Model, number: int, **changed: Callable[[str], Any]) -> None:
    """Add so many rows like this one; `changed` gives fields of theirs from a name of each."""
    kind = type(row)
    fields = {f.attname: getattr(row, f.attname) for f in kind._meta.concrete_fields}
    del fields[kind._meta.pk.attname]
    names = [f"{next(_numbers)}" for _ in range(number)]
    found = [kind(**fields) for _ in names]
    for each, name in zip(found, names, strict=True):
        for field, make in changed.items():
            setattr(each, field, make(name))
    kind._default_manager.bulk_create(found)


def crowd(number: int) -> Experiment:
    """Fill the site with so many rows of every kind, and return an experiment of many entries."""
    Filling(curve_points=1, entries=1, seeds=1).fill(number)
    experiment = Experiment.objects.latest("pk")
    entry = experiment.entries.filter(kind=Entry.Kind.GENERATOR).latest("pk")
    copies(entry, number, label="entry {}".format)
    for each in experiment.entries.filter(runs=None, kind=Entry.Kind.GENERATOR):
        copies(Run(entry=each, seed=0), 1)
    protocol = Protocol.objects.get(name="small")
    copies(protocol, number, fingerprint=factories.sha256, name="protocol {}".format)
    used = Experiment.protocols.through
    others = Protocol.objects.filter(experiments=None)[: number // 2]
    used.objects.bulk_create(
        used(experiment=Experiment.objects.all()[1], protocol=p) for p in others
    )
    tags = (Tag(experiment=each, word="all") for each in Experiment.objects.all())
    Tag.objects.bulk_create(tags)
    copies(protocol.dataset, number, slug="many-datasets-{}".format, digest=factories.sha256)
    copies(factories.make_prompts(), number, slug="many-prompts-{}".format, digest=factories.sha256)
    user = factories.make_user()
    copies(user, number, username="somebody-{}".format)
    AuthToken.objects.create(user)
    copies(
        AuthToken.objects.get(), number, digest=factories.sha256, created=lambda _: timezone.now()
    )
    copies(factories.make_worker(), number, name="celery@many-{}".format)
    copies(AuditEvent(actor=user, actor_name="x", action="changed"), number)
    copies(StoredFile(kind="checkpoint", bytes=9), number, path="runs/{}".format)
    copies(factories.make_intake(), number)
    _hold(Worker.objects.latest("pk"))
    keeping.follow_entries(list(Entry.objects.values_list("pk", flat=True)))
    for board in Protocol.objects.filter(standings__isnull=False).distinct():
        judging.judge(board)
    return experiment


def _hold(worker: Worker) -> None:
    """Let a worker have a job, as all do that are at work."""
    job = Run.objects.filter(status=Status.QUEUED).latest("pk")
    factories.make_run(entry=job.entry, seed=job.seed, status=Status.RUNNING, worker=worker)


def pages(experiment: Experiment) -> Iterator[str]:
    """Yield every list and page that grows with the site, in its own order."""
    run = experiment.entries.filter(kind=Entry.Kind.GENERATOR).latest("pk").runs.get()
    protocol = Protocol.objects.get(name="small")
    yield from (
        "/",
        "/live/activity/",
        "/experiments/",
        "/leaderboards/",
        "/datasets/",
        "/workers/",
    )
    yield from (f"/experiments/?status={status}" for status in ("running", "failed", "completed"))
    yield from (f"/experiments/{experiment.pk}/", f"/experiments/{experiment.pk}/?page=2")
    yield from ("/experiments/?tag=all", f"/leaderboards/{protocol.fingerprint}/?tag=all")
    yield from (f"/runs/{run.pk}/", f"/datasets/{protocol.dataset.slug}/", "/health/", "/metrics")
    yield from (f"/leaderboards/{protocol.fingerprint}/", f"/protocols/{protocol.fingerprint}/")
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        if model not in (User, AuthToken):  # forms of a single row, nothing else
            row = model._default_manager.order_by("pk").last()
            yield from [reverse(f"{name}_change", args=[row.pk])] if row else []
    yield reverse("admin:experiments_experiment_change", args=[experiment.pk])


def lists() -> Iterator[str]:
    """Yield every list of REST in each of its orders."""
    views: list[tuple[str, Any, str]] = router.registry
    for name, view, _ in views:
        orders = [sign + field for field in view.orderings for sign in ("", "-")]
        yield from (
            f"/api/v1/{name}/?ordering={order}" for order in orders if view.pagination_class
        )
    yield from (f"/api/v1/events/?kind={kind}" for kind in ("lost", "completed"))
    yield from (f"/api/v1/{kind}/?tag=all" for kind in ("runs", "evaluations", "experiments"))
    yield from (f"/api/v1/{kind}/?status=queued" for kind in ("runs", "samplesets", "experiments"))


def wrong(client: Client, address: str) -> Iterator[str]:
    """Yield what is wrong with a list or page."""
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(address)
        size = len(answer.getvalue())
    if answer.status_code != 200:
        yield f"{address}: answered with {answer.status_code}"
    if len(asked) > MOST_QUERIES:
        repeated = max(asked, key=lambda q: sum(q["sql"][:80] == o["sql"][:80] for o in asked))
        yield f"{address}: {len(asked)} queries, such as {repeated['sql'][:200]}"
    if size > MOST_BYTES and answer["Content-Type"].startswith("text/html"):
        yield f"{address}: {size:,} bytes of HTML"
    for query in asked:
        yield from (f"{address}: {part}" for part in whole_tables(query["sql"]))


def whole_tables(sql: str) -> Iterator[str]:
    """Yield what the database would read whole and sort to answer with a part of it."""
    if connection.vendor != "sqlite" or not re.search(r"ORDER BY .* LIMIT \d+", sql):
        return
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")
        plan = [line for _, parent, _, line in cursor.fetchall() if parent == 0]
    sorts = any(line == "USE TEMP B-TREE FOR ORDER BY" for line in plan)
    for line in plan:
        if sorts and line.startswith("SCAN") and line.split()[1] in GROWING:
            yield f"{'; '.join(plan)}: {sql[:300]}"


def walk(settings: Settings, number: int) -> list[str]:
    """Return everything that is wrong with a site of so many rows of each kind."""
    experiment = crowd(number)
    client = Client(raise_request_exception=False)
    client.force_login(factories.make_user(role=Role.ADMIN))
    for _ in range(2):
        client.get("/")  # fills what processes keep
        client.get("/metrics")  # counts for good what timelines hold
    return [each for address in (*pages(experiment), *lists()) for each in wrong(client, address)]


def test_many_rows_make_no_list_long_and_no_page_slow(settings: Settings) -> None:
    assert "\n".join(walk(settings, 30)) == ""


@pytest.mark.slow
def test_thousands_of_rows_make_no_list_long_and_no_page_slow(settings: Settings) -> None:
    assert "\n".join(walk(settings, 2000)) == ""

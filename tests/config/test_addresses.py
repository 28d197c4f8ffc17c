"""Every route of the site, whatever stands in its address: no answer is an error of ours."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.db import transaction
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from knox.models import AuthToken
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from accounts.models import Role
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from jobs.models import JobEvent, Status, Worker
from tests import factories
from tests.static import static_root
from tests.web import scenes

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db
SUFFIXES = [".json", ".csv", ".api", ".html", ".x/", ".json/"]
MADE_UP = [
    *("0", "-1", "x", "%00", "%ff", "%ed%a0%80", "%2e%2e", "a" * 2000),
    *("9" * 18, "9" * 19, "9" * 5000, "0" * 64, "٣"),
]
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
Keys = dict[str, str]  # of real rows, by the first word of an address that they fit and by name


def routes(resolver: URLResolver | None = None, beginning: str = "/") -> Iterator[str]:
    """Yield every route as an address with its parameters in angle brackets: `/runs/<pk>/`."""
    for pattern in (resolver or get_resolver()).url_patterns:
        text = str(pattern.pattern)
        found = beginning + (simplify_regex(text)[1:] if text[:1] == "^" else text)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, found)
        elif isinstance(pattern, URLPattern):
            yield PARAMETER.sub(r"<\1>", found)


ROUTES = list(routes())


@pytest.fixture(scope="module")
def standing(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Path, Keys]]:
    """Make a site's rows and files once for a module; each test's own changes are undone."""
    folder = tmp_path_factory.mktemp("standing")
    with (
        django_db_blocker.unblock(),
        override_settings(DATA_DIR=folder),
        transaction.atomic(),
    ):
        yield folder, make_rows()
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, standing: tuple[Path, Keys]) -> Path:
    """Point the site at the folder of the module's rows."""
    settings.DATA_DIR = standing[0]
    return standing[0]


@pytest.fixture
def keys(standing: tuple[Path, Keys]) -> Keys:
    """Return the keys of rows that exist."""
    return standing[1]


def make_rows() -> Keys:
    """Make a row of each kind, and return their keys."""
    asked = factories.make_asked_experiment()
    question = factories.make_question(status=Status.COMPLETED)
    guided = question.experiment.protocols.get()
    done, live = scenes.finished_comparison(seeds=1, failing=True), scenes.running_comparison()
    AuthToken.objects.create(factories.make_user())
    checkpoint = scenes.add_preview(live.run, images_seen=500)
    first = {m: str(m._default_manager.latest("pk").pk) for m in (Experiment, Run, Entry)}
    for kind in (Run, SampleSet, Evaluation):
        factories.make_log(kind.objects.latest("pk"))
    return {
        "fingerprint": done.protocol.fingerprint,
        "other": live.protocol.fingerprint,
        "slug": done.experiment.dataset.slug,
        "kind": "run",
        "experiments": first[Experiment],
        "runs": first[Run],
        "jobs": first[Run],
        "entries": first[Entry],
        "samplesets": str(SampleSet.objects.latest("pk").pk),
        "samples": str(SampleSet.objects.latest("pk").pk),
        "evaluations": str(Evaluation.objects.latest("pk").pk),
        "checkpoints": str(checkpoint.pk),
        "asked": str(asked.pk),
        "guided": guided.fingerprint,
        "questions": str(question.pk),
        "answers": str(question.pk),
        "viewings": str(factories.make_viewing(status=Status.COMPLETED).pk),
        "workers": str(Worker.objects.latest("pk").pk),
        "events": str(JobEvent.objects.latest("pk").pk),
        "intakes": str(factories.make_intake().pk),
        "uploads": str(factories.make_upload().pk),
        "promptsets": str(asked.protocols.get().prompt_set),
    }


@pytest.fixture(params=["a stranger", "an admin"])
def client(request: pytest.FixtureRequest) -> Client:
    client = Client(raise_request_exception=False)
    if request.param == "an admin":
        client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def filled(route: str, keys: Keys) -> str:
    """Return the address of a row that exists, where the route has one."""
    subject = route.removeprefix("/api/v1").split("/")[1]
    if "<object_id>" in route:
        return PARAMETER.sub(admin_key(route), route)
    real = {**dict.fromkeys(["pk", "content_type_id"], keys.get(subject, "1")), **keys}
    if subject == "promptsets":
        real["slug"] = keys["promptsets"]
    if route.endswith("/prompts/"):
        real["pk"] = keys["asked"]
    if route.endswith("/guidance/"):
        real["fingerprint"] = keys["guided"]
    real["name"] = "results" if subject == "runs" else "standing"
    return PARAMETER.sub(lambda found: real.get(found[1], "x"), route)


def admin_key(route: str) -> str:
    """Return the key of a row that the admin's route shows, or one that nothing has."""
    app, model = route.split("/")[2:4]
    if app == "r":  # the way from a row to its page
        return "1"
    row = apps.get_model(app, model)._default_manager.first()
    return str(row.pk) if row else "1"


def status(client: Client, address: str, method: str = "get") -> int:
    """Return the status of an answer that was read to its end, as files have to be."""
    response = getattr(client, method)(address)
    if response.streaming:
        response.getvalue()
    return int(response.status_code)


def errors(client: Client, addresses: Iterator[str], method: str = "get") -> list[str]:
    """Return the addresses that are answered with an error of ours."""
    found = []
    for address in addresses:
        with transaction.atomic():  # PostgreSQL: an error spoils only its own request
            is_wrong = status(client, address, method) == 500
            transaction.set_rollback(is_wrong)
        if is_wrong:
            found.append(f"{method} {address[:120]}")
    return found


def test_the_routes_are_all_of_them(keys: Keys, client: Client) -> None:
    assert {"/", "/runs/<pk>/", "/api/v1/runs/<pk>/", "/admin/experiments/run/"} <= set(ROUTES)
    assert len(ROUTES) > 100
    own = re.compile("/(webhooks|deliveries|watches)/<")  # another account's are not there
    for route in filter(lambda route: not own.search(route), ROUTES):
        if route.startswith(("/api/", "/experiments/", "/runs/", "/leaderboards/")):
            assert status(client, filled(route, keys)) != 404, route


RARE = [pytest.param(method, marks=pytest.mark.slow) for method in ("put", "options")]


@pytest.mark.parametrize("method", ["get", "post", *RARE])
def test_no_route_is_an_error(client: Client, keys: Keys, method: str) -> None:
    addresses = (filled(route, keys) for route in sorted(ROUTES, key=signs_out))

    assert errors(client, addresses, method) == []


def signs_out(route: str) -> bool:
    return route.endswith("/logout/")


EVERY = [
    4,
    pytest.param(1, marks=pytest.mark.slow),
]  # of what is made up, others for the next route


@pytest.mark.parametrize("every", EVERY)
def test_no_suffix_is_an_error(client: Client, keys: Keys, every: int) -> None:
    addresses = (
        filled(route, keys).rstrip("/") + suffix
        for place, route in enumerate(ROUTES)
        for suffix in SUFFIXES[place % every :: every]
        if not route.startswith("/admin/")
    )

    assert errors(client, addresses) == []


def test_the_rest_interface_has_no_addresses_with_suffixes(client: Client, keys: Keys) -> None:
    addresses = [filled(route, keys) for route in ROUTES if route.startswith("/api/")]

    assert not [route for route in ROUTES if "format" in route]
    for address in addresses:
        for suffix in (".json", ".csv"):
            assert client.get(address.rstrip("/") + suffix).status_code == 404


@pytest.mark.parametrize("every", EVERY)
def test_no_made_up_key_is_an_error(client: Client, keys: Keys, every: int) -> None:
    addresses = (
        PARAMETER.sub(key, route)
        for place, route in enumerate(filter(PARAMETER.search, ROUTES))
        for key in MADE_UP[place % every :: every]
    )

    assert errors(client, addresses) == []


@pytest.mark.parametrize("every", EVERY)
def test_one_made_up_key_beside_a_real_one_is_no_error(
    client: Client, keys: Keys, every: int
) -> None:
    addresses = (
        filled(route.replace(f"<{name}>", key), keys)
        for route in ROUTES
        for name in PARAMETER.findall(route)[1:]
        for key in MADE_UP[::every]
    )

    assert errors(client, addresses) == []

"""Every list, page and file of the site, whatever is asked of it: no answer is an error of ours."""

import itertools
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from api.urls import router
from experiments.models import Run
from tests import factories
from tests.config.test_addresses import ROUTES, Keys, data_dir, errors, filled, keys, standing
from tests.servers import postgres_program, run_on_postgresql
from tests.static import static_root

__all__ = ["data_dir", "keys", "standing", "static_root"]

pytestmark = pytest.mark.django_db
NUMBERS = ["1,100000000000000000000", "9" * 19, "-" + "9" * 30, "9" * 5000, "1e30", "1e400", "1.5"]
NUMBERS += ["1e99999999", "nan", "-1", "٣", "²"]
TEXTS = ["", "\0", "a\0b", "\ud800", "\ufffe", "[", "%", "\\", "'\"", "a" * 60_000, "a " * 2000]
DATES = ["2024-13-45", "99999-01-01", "2024-01-01T00:00:00+99:99"]
VALUES = [*NUMBERS, *TEXTS, *DATES]
QUERY = ["page", "family", "algorithm", "submitter", "budget", "text", "since", "until", "fd_min"]
QUERY += ["tag"]
PAGES = {  # what they read
    "/experiments/": ["page", "status", "dataset", "tag"],
    "/experiments/<pk>/": ["seed", "sort", "columns", "page", "protocol"],
    "/experiments/<pk>/prompts/": ["seed", "following", "group", "image", "page", "columns"],
    "/compare/": ["entries", "baseline", "loss", "x", "seed", "image", "step", "config", "pixels"],
    "/experiments/<pk>/live/<name>/": ["seed", "sort", "columns", "protocol", "seen"],
    "/leaderboards/": ["page"],
    "/leaderboards/<fingerprint>/": ["sort", "columns", *QUERY],
    "/leaderboards/<fingerprint>/budgets/": ["by"],
    "/protocols/<fingerprint>/": ["with"],
    "/samples/<pk>.png": ["v"],
    "/login/": ["next"],
    "/submit/experiment/": [
        *("from", "spec", "dataset", "protocol", "entry", "sampler", "experiment"),
        *("images", "device_seconds", "seeds", "name"),
    ],
    "/submit/samples/": ["protocol", "experiment"],
    "/submit/protocol/": ["dataset"],
    "/intakes/<pk>/live/": ["seen"],
    "/account/": ["page"],
    "/api/v1/docs/": ["script"],
    "/api/v1/schema/": ["format", "lang"],
    "/api/v1/leaderboards/<fingerprint>/": ["experiment", "sort", "format", "page_size", *QUERY],
    "/api/v1/leaderboards/<fingerprint>/guidance/": ["experiment", "following"],
    "/api/v1/leaderboards/<fingerprint>/budgets/": ["by"],
    "/api/v1/compare/": ["entries", "baseline"],
    "/api/v1/compare/curves/": ["entries", "baseline", "loss", "x", "scale", "smooth"],
    "/admin/login/": ["next"],
    "/admin/experiments/run/<object_id>/change/": ["_to_field", "_popup", "_changelist_filters"],
    "/admin/experiments/run/<object_id>/history/": ["p", "_to_field"],
    "/admin/experiments/run/<object_id>/delete/": ["_to_field"],
    "/admin/accounts/user/add/": ["username", "role", "last_login", "is_active"],
    "/admin/autocomplete/": ["term", "page", "app_label", "model_name", "field_name"],
}


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"))


def asked(address: str, names: Iterable[str], values: Iterable[str] = VALUES) -> Iterator[str]:
    return (f"{address}?{name}={encoded(value)}" for name in names for value in values)


EVERY = [8, pytest.param(1, marks=pytest.mark.slow)]  # of the values, others for the next page


@pytest.mark.parametrize("every", EVERY)
def test_no_question_to_a_page_is_an_error(client: Client, keys: Keys, every: int) -> None:
    assert set(PAGES) < set(ROUTES)
    for place, (route, names) in enumerate(PAGES.items()):
        few = VALUES[place % every :: every]
        assert errors(client, asked(filled(route, keys), names, few)) == [], route


def test_a_question_that_no_page_reads_is_no_error(client: Client, keys: Keys) -> None:
    values = itertools.cycle(VALUES)
    for route in ROUTES:
        address = filled(route, keys)
        assert errors(client, asked(address, [f"x{encoded(next(values))}"], [next(values)])) == []


@pytest.mark.parametrize("every", EVERY)
def test_no_question_to_the_rest_interface_is_an_error(
    client: Client, keys: Keys, every: int
) -> None:
    for place, (name, view, _) in enumerate(router.registry):
        filters = getattr(view, "filterset_class", None)
        names = [*(filters.base_filters if filters else getattr(view, "filterset_fields", []))]
        names += ["page_size", "ordering", "cursor", "format"]
        few = VALUES[place % every :: every]
        assert errors(client, asked(f"/api/v1/{name}/", names, few)) == []
        assert errors(client, asked(f"/api/{name}/", ["page"], few)) == []


LISTS = [
    reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for model in admin.site._registry
]


@pytest.mark.parametrize("every", EVERY)
def test_no_question_to_a_list_of_the_admin_is_an_error(
    client: Client, keys: Keys, every: int
) -> None:
    names = ["pk__in", "q", "o", "p", "_to_field", "pk__nothing"]
    for place, address in enumerate(LISTS):
        few = VALUES[place % every :: every]
        assert errors(client, asked(address, names, few)) == [], address


def lookups() -> Iterator[tuple[str, str]]:
    """Yield a list of the admin and a lookup in it: every one of a field of each kind."""
    kinds = {
        field.get_internal_type(): (reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist"), field)
        for model in admin.site._registry
        for field in model._meta.concrete_fields
    }  # fmt: skip
    for address, field in kinds.values():
        yield from ((address, f"{field.name}__{lookup}") for lookup in field.get_lookups())


def test_no_lookup_in_the_admin_is_an_error(client: Client, keys: Keys) -> None:
    values = itertools.cycle(VALUES)
    found = list(lookups())
    assert len(found) > 200
    for address, name in found:
        some = [next(values) for _ in range(2)]
        assert errors(client, asked(address, [name], some)) == []


def test_what_the_database_cannot_answer_shows_the_whole_list(client: Client) -> None:
    run = factories.make_run()
    address = "/admin/experiments/run/"

    page = client.get(f"{address}?pk__in={run.pk},100000000000000000000", follow=True)

    assert page.status_code == 200
    assert str(run) in page.content.decode()


@pytest.mark.parametrize("key", NUMBERS + TEXTS)
def test_what_is_no_key_is_refused_by_an_action(client: Client, key: str) -> None:
    run = factories.make_run()
    form = {"action": "cancel_jobs", "_selected_action": [str(run.pk), key]}

    response = client.post(
        "/admin/experiments/run/", urlencode(form, doseq=True, errors="surrogatepass"),
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip

    assert response.status_code in (302, 400)
    if response.status_code == 400:
        assert Run.objects.get(pk=run.pk).status == "queued"


BUTTONS = ["add_algorithm", "copy_entry", "remove_entry", "add_sampler", "remove_sampler"]


@pytest.mark.parametrize("field", [*BUTTONS, "experiment", "entries.0.algorithm"])
def test_no_button_of_the_form_is_an_error(client: Client, field: str) -> None:
    for value in VALUES:
        form = {"entries.0.algorithm": "vae.conv", "refresh": "1"}
        sent = urlencode(form | {field: value}, errors="surrogatepass")
        kind = "application/x-www-form-urlencoded"
        response = client.post("/submit/experiment/", sent, content_type=kind)
        assert response.status_code in (200, 400), value[:100]


def test_no_cookie_is_an_error(keys: Keys) -> None:
    for name in ("sessionid", "csrftoken", "messages"):
        for value in (r'"\000aaaaaaaaaa"', r'"aaaaaaaaaa\000"', "é", "x" * 4000, r'"\377"'):
            headers = {"cookie": f"{name}={value}"}
            assert Client(headers=headers).get("/workers/").status_code < 500, (name, value[:20])


@pytest.mark.slow
@pytest.mark.skipif(postgres_program("postgres") is None, reason="needs PostgreSQL")
def test_postgresql_answers_alike() -> None:
    files = [__file__, *(__file__.replace("queries", name) for name in ("addresses", "forms"))]
    run_on_postgresql("-vv", *files)

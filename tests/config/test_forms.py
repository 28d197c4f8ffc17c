"""Each field of each form, with what nobody types: no answer is an error of ours.

`test_queries.test_postgresql_answers_alike` runs this on PostgreSQL, which keeps no NUL.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import Role
from tests import factories
from tests.config.test_addresses import ROUTES, Keys, data_dir, filled, keys, standing
from tests.config.test_queries import VALUES
from tests.static import static_root

__all__ = ["data_dir", "keys", "standing", "static_root"]

pytestmark = pytest.mark.django_db
URLENCODED = "application/x-www-form-urlencoded"


@dataclass
class Form:
    """What a page's form sends, but its token against forgery; and each of its buttons."""

    action: str
    values: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class Forms(HTMLParser):
    """Collects the forms of a page that change something."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.found: list[Form] = []
        self.is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.is_inside = (given.get("method") or "").lower() == "post"
            if self.is_inside:
                self.found.append(Form(given.get("action") or self.address))
        name = given.get("name")
        if not self.is_inside or not name or name == "csrfmiddlewaretoken":
            return
        if tag == "button" or given.get("type") == "submit":
            self.found[-1].buttons.append(name)
        elif tag in ("input", "select", "textarea") and given.get("type") != "file":
            self.found[-1].values.setdefault(name, given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.is_inside = False


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def forms(client: Client, keys: Keys, routes: list[str]) -> Iterator[Form]:
    """Yield each form of these pages, those alike once."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for route in routes:
        address = filled(route, keys)
        response = client.get(address)
        page = response.getvalue().decode(errors="replace")  # files are read to their end
        if response.status_code != 200 or "text/html" not in response["Content-Type"]:
            continue
        reader = Forms(address)
        reader.feed(page)
        for form in reader.found:
            alike = form.action.partition("?")[0], (*form.values, *form.buttons)
            if alike not in seen and "logout" not in form.action:
                seen.add(alike)
                yield form


def sent(form: Form, values: list[str]) -> Iterator[dict[str, str]]:
    """Yield what the form sends with each value in each of its fields and buttons."""
    pressed = dict.fromkeys(form.buttons[:1], "1")
    for name in (*form.values, *form.buttons):
        yield from ({**form.values, **pressed, name: value} for value in values)


def is_error(client: Client, form: Form, data: dict[str, str]) -> bool:
    """Return whether the answer is an error of ours; nothing that it changed is kept."""
    with transaction.atomic():
        body = urlencode(data, errors="surrogatepass")
        response = client.post(form.action, body, content_type=URLENCODED)
        transaction.set_rollback(True)
    return response.status_code >= 500


def errors(client: Client, found: list[Form], values: list[str]) -> set[tuple[str, str, str]]:
    return {
        (form.action, next(name for name in data if data[name] in values), ascii(data)[:200])
        for form in found
        for data in sent(form, values)
        if is_error(client, form, data)
    }


def test_no_field_of_a_form_is_an_error(client: Client, keys: Keys) -> None:
    pages = [route for route in ROUTES if not route.startswith(("/admin/", "/api/"))]
    found = list(forms(client, keys, pages))

    assert errors(client, found, ["a\0b"]) == set()
    assert {"/submit/experiment/", "/account/webhooks/"} <= {form.action for form in found}


@pytest.mark.slow
def test_no_value_in_any_form_is_an_error(client: Client, keys: Keys) -> None:
    assert errors(client, list(forms(client, keys, ROUTES)), VALUES) == set()

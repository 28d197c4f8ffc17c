"""The site under a prefix: every link, file, form and export stays there and answers."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import Client
from django.urls import set_script_prefix
from pytest_django import Settings

from accounts.models import Role
from config.static_files import hashed_name
from config.wsgi import under
from tests import factories
from tests.web import scenes
from tests.web.forms import ADD
from tests.web.links import Answer, crawl, links, look

pytestmark = pytest.mark.django_db
HOST = "http://127.0.0.1"
ADMIN = ["/admin/", "/admin/experiments/experiment/", ADD, "/admin/login/"]
REST = [
    "/api/",
    "/api/v1/",
    "/api/docs/",
    "/api/docs/?script=",
    "/api/leaderboards/",
    "/api/experiments/",
]
REST += ["/api/samplesets/", "/api/evaluations/", "/api/protocols/", "/api/datasets/", "/api/runs/"]


@dataclass
class Visitor:
    """A browser's requests as a server hands them to the site, mounted under a prefix."""

    prefix: str
    application: Any
    strips: bool = True  # the server tells the prefix from the rest
    cookie: str = ""
    host: str = HOST
    seen: dict[str, Answer] = field(default_factory=dict)

    def get(self, address: str, method: str = "GET", **environ: Any) -> Answer:
        """Return the answer at a full address, the prefix in it."""
        parts = urlsplit(address)
        path = unquote(parts.path).encode().decode("latin-1")
        script = self.prefix if self.strips else ""
        assert path.startswith(self.prefix + "/"), f"{address} is outside {self.prefix}"
        environ |= {"REQUEST_METHOD": method, "SCRIPT_NAME": script, "HTTP_COOKIE": self.cookie}
        environ |= {"PATH_INFO": path.removeprefix(script), "QUERY_STRING": parts.query}
        setup_testing_defaults(environ)
        started: list[Any] = []
        body = self.application(environ, lambda *given: started.extend(given))
        content = b"".join(body)
        body.close()
        text = content.decode(errors="replace")
        return Answer(int(started[0].split()[0]), dict(started[1]), text)


PREFIXES = ["", "/trilemma", "/lab/site-2", "/runs", "/static"]


@pytest.fixture(params=PREFIXES, ids=lambda prefix: prefix or "none")
def visitor(request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Yield a visitor of a site whose server names the prefix with each request."""
    yield Visitor(request.param, get_wsgi_application())
    set_script_prefix("/")


@pytest.fixture(params=PREFIXES, ids=lambda prefix: prefix or "none")
def mounted(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Visitor]:
    """Yield a visitor of a site that is told its prefix, behind a proxy that passes addresses on."""
    settings.FORCE_SCRIPT_NAME = request.param or None
    application = under(request.param, get_wsgi_application())
    yield Visitor(request.param, application, strips=False)
    set_script_prefix("/")


def sign_in(visitor: Visitor, role: Role = Role.ADMIN) -> None:
    client = Client()
    client.force_login(factories.make_user(role=role))
    visitor.cookie = "; ".join(f"{name}={m.value}" for name, m in client.cookies.items())


def check_everything(visitor: Visitor) -> None:
    done, live = scenes.finished_comparison(seeds=1, failing=True), scenes.running_comparison()
    board = f"/api/v1/leaderboards/{done.protocol.fingerprint}/"
    pages = [*scenes.addresses(done, live), "/login/", *REST, board, f"{board}?format=csv"]

    crawl(visitor, [*pages, "/admin/login/"])
    sign_in(visitor)
    visitor.seen.clear()
    crawl(visitor, [*pages, *ADMIN, f"/admin/experiments/run/{live.run.pk}/change/"])

    visited = {address.removeprefix(HOST + visitor.prefix) for address in visitor.seen}
    files = ("web/page.css", "unfold/fonts/inter/Inter-Regular.woff2")
    assert {f"/static/{hashed_name(name)}" for name in files} <= visited
    assert f"{board}?format=csv&sort=fd" in visited


@pytest.mark.slow  # the other way of being told the prefix is below
@pytest.mark.parametrize("visitor", ["/lab/site-2"], indirect=True)
def test_every_link_of_a_mounted_site_stays_under_its_prefix(visitor: Visitor) -> None:
    check_everything(visitor)


@pytest.mark.parametrize("mounted", ["/trilemma"], indirect=True)
def test_every_link_of_a_site_that_is_told_its_prefix_stays_there(mounted: Visitor) -> None:
    check_everything(mounted)


def test_an_empty_site_under_a_prefix_leads_nowhere_else(visitor: Visitor) -> None:
    sign_in(visitor)

    crawl(
        visitor,
        ["/", "/experiments/", "/leaderboards/", "/datasets/", "/workers/", "/help/", *REST, ADD],
    )


def test_pages_that_are_not_there_lead_back_to_the_site(visitor: Visitor) -> None:
    page = f"{HOST}{visitor.prefix}/nothing/"

    answer = visitor.get(page)

    assert answer.status == 404
    for link in {urldefrag(urljoin(page, link))[0] for link in links(answer)[0]} - {page}:
        look(visitor, link, page)


def test_the_page_of_an_error_leads_back_to_the_site(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.front.steps.own", lambda user: 1 / 0)

    answer = visitor.get(f"{HOST}{visitor.prefix}/")

    assert answer.status == 500
    assert links(answer)[0] == [f"{visitor.prefix}/"]


def test_a_site_that_is_closed_leads_to_its_login_and_from_there_to_the_page(
    visitor: Visitor, settings: Settings
) -> None:
    settings.PUBLIC_READ = False
    page = f"{visitor.prefix}/experiments/?status=failed"

    answer = visitor.get(HOST + page)

    assert answer.status == 302
    login = answer.headers["Location"]
    assert login == f"{visitor.prefix}/login/?next={visitor.prefix}/experiments/%3Fstatus%3Dfailed"
    assert visitor.get(HOST + login).status == 200
    assert visitor.get(f"{HOST}{visitor.prefix}/static/web/page.css").status == 200
    assert visitor.get(f"{HOST}{visitor.prefix}/api/runs/").status == 401
    sign_in(visitor)
    assert visitor.get(HOST + page).status == 200


def test_the_login_says_where_it_leads_only_where_that_is_a_page_of_its_own(
    visitor: Visitor,
) -> None:
    home, runs = (
        visitor.get(f"{HOST}{visitor.prefix}/login/?next={visitor.prefix}{path}").text
        for path in ("/", "/workers/")
    )

    assert "To go on to" not in home
    assert f"To go on to {visitor.prefix}/workers/" in runs


def test_the_description_of_the_interface_says_where_it_is(visitor: Visitor) -> None:
    docs = visitor.get(f"{HOST}{visitor.prefix}/api/docs/?script=").text.replace(r"\u002D", "-")
    address = f"{visitor.prefix}/api/v1/schema/"
    schema = json.loads(visitor.get(f"{HOST}{address}?format=json").text)

    assert address in docs
    expected = [{"url": visitor.prefix}] if visitor.prefix else None
    assert schema.get("servers") == expected
    assert "/api/v1/runs/" in schema["paths"]


def test_policies_and_probes_are_the_same_under_a_prefix(visitor: Visitor) -> None:
    admin = visitor.get(f"{HOST}{visitor.prefix}/admin/login/")

    assert "'unsafe-eval'" in admin.headers["Content-Security-Policy"]
    assert visitor.get(f"{HOST}{visitor.prefix}/healthz").status == 200


def test_a_site_that_is_told_its_prefix_answers_probes_that_do_not_know_it(
    mounted: Visitor,
) -> None:
    mounted.prefix = ""

    assert mounted.get(f"{HOST}/healthz").status == 200
    assert mounted.get(f"{HOST}/health/").status == 200


def test_what_only_begins_like_the_prefix_is_not_under_it(settings: Settings) -> None:
    settings.FORCE_SCRIPT_NAME = "/run"
    visitor = Visitor("", under("/run", get_wsgi_application()), strips=False)

    assert visitor.get(f"{HOST}/runs/999999/").status == 404
    assert visitor.get(f"{HOST}/run/").status == 200
    assert visitor.get(f"{HOST}/run/experiments/").status == 200
    assert visitor.get(f"{HOST}/run/run/").status == 404
    set_script_prefix("/")


def test_signing_in_and_out_stays_under_the_prefix(visitor: Visitor) -> None:
    user = factories.make_user()
    login = f"{HOST}{visitor.prefix}/login/"
    page = visitor.get(login)
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[0]
    visitor.cookie = page.headers["Set-Cookie"].partition(";")[0]
    sent = f"csrfmiddlewaretoken={token}&username={user.username}&password={factories.PASSWORD}"
    form = {
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(sent)),
        "wsgi.input": io.BytesIO(sent.encode()),
    }

    answer = visitor.get(login, "POST", **form)

    assert (answer.status, answer.headers["Location"]) == (302, f"{visitor.prefix}/")

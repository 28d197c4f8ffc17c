"""The site under a prefix behind nginx: the help's configuration, and one that needs no setting."""

import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest

from tests import factories
from tests.servers import free_port, listens, wait_until
from tests.site import ROOT, Site
from tests.test_docker import command, with_our_python
from tests.web.forms import ADD
from tests.web.links import Answer, crawl

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
PREFIX = "/trilemma"
SCENE = (
    "import django; django.setup(); from tests import factories; from tests.web import scenes; "
    "scene = scenes.finished_comparison(seeds=1); factories.make_user(username='ada', role='admin'); "
    "print(*scenes.addresses(scene), f'/api/leaderboards/{scene.protocol.fingerprint}/')"
)
NAMED = """
location /trilemma/ {
    proxy_pass http://127.0.0.1:8000;
    proxy_set_header Host $http_host;
    proxy_set_header SCRIPT_NAME /trilemma;
}
"""
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")


@dataclass
class Browser:
    """Somebody with cookies, behind whose requests is a real server."""

    host: str
    prefix: str = PREFIX
    seen: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(jar)

    def get(self, address: str, form: dict[str, str] | None = None) -> Answer:
        """Return the answer after all redirects, with the address where they led."""
        body = urlencode(form).encode() if form else None
        try:
            with self._opener.open(address, data=body, timeout=60) as answer:
                headers = {**answer.headers, "led to": answer.url}
                return Answer(answer.status, headers, answer.read().decode(errors="replace"))
        except HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode())


def configured() -> str:
    """Return the help's part of nginx's configuration."""
    (block,) = re.findall(r"(?s)```nginx\n(.*?)```", (ROOT / ".readme" / "lab.md").read_text())
    return str(block)


@contextmanager
def behind_nginx(
    folder: Path, migrated: Path, location: str, **variables: str
) -> Iterator[tuple[Site, Browser]]:
    """Yield a site run as its image runs it, and a browser that reaches it through nginx."""
    assert NGINX is not None, "skipped otherwise"
    data = shutil.copytree(migrated, folder / "data")
    names = {"DJANGO_SETTINGS_MODULE": "config.settings", "PUBLIC_READ": "False", **variables}
    port = free_port()
    with closing(Site(data, **names)) as site:
        site.env |= names
        parts = [part.replace("8000", str(site.port)) for part in command("web")]
        site.start(*with_our_python(parts))
        conf = folder / "nginx.conf"
        conf.write_text(
            f"daemon off; user root; pid {folder}/nginx.pid; error_log {folder}/error.log;"
            f"events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{port};"
            f"{location.replace('8000', str(site.port))} }} }}"
        )
        nginx = subprocess.Popen([NGINX, "-p", folder, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: listens(site.port), seconds=60, what=f"gunicorn\n{site.log()}")
            wait_until(lambda: listens(port), seconds=20, what="nginx")
            yield site, Browser(f"http://127.0.0.1:{port}")
        finally:
            nginx.terminate()
            nginx.wait()


@pytest.mark.parametrize(
    ("location", "variables"),
    [
        (configured(), {"URL_PREFIX": PREFIX, "TRUST_PROXY": "True"}),
        pytest.param(NAMED, {}, marks=pytest.mark.slow),
    ],
    ids=["the help's", "named with each request"],
)
def test_a_closed_site_behind_nginx_is_read_after_signing_in_and_every_link_stays_there(
    migrated_data: Path, tmp_path: Path, location: str, variables: dict[str, str]
) -> None:
    with behind_nginx(tmp_path, migrated_data, location, **variables) as (site, browser):
        printed = site.run("-c", SCENE).stdout.split()
        *pages, board = (address.removeprefix(PREFIX) for address in printed)

        landed = browser.get(f"{browser.host}{PREFIX}{board.replace('/api/', '/')}")
        login = landed.headers["led to"]
        assert login.startswith(f"{browser.host}{PREFIX}/login/?next={PREFIX}/leaderboards/")
        token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', landed.text)[0]
        names = {"username": "ada", "password": factories.PASSWORD, "csrfmiddlewaretoken": token}
        home = browser.get(login, {**names, "next": f"{PREFIX}/"})
        assert (home.status, home.headers["led to"]) == (200, f"{browser.host}{PREFIX}/")

        rest = ["/api/", "/api/docs/", "/api/schema/?format=json", "/api/runs/", board]
        crawl(browser, [*pages, *rest, f"{board}?format=csv", "/admin/", ADD])

        check = f"http://127.0.0.1:{site.port}/healthz"  # the container's own, without the prefix
        assert browser.get(check).status == 200
        assert browser.get(f"{browser.host}{PREFIX}/nothing/").status == 404
        assert browser.get(f"{browser.host}/runs/").status == 404  # nginx's own

"""Static files: hashed names that are kept for a year, compressed, and never another's content."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.templatetags.static import static
from django.test import RequestFactory
from pytest_django import Settings

from config import static_files
from config.static_files import HashedFiles, hashed_name, read

pytestmark = pytest.mark.django_db  # the end of an answer looks after connections

YEAR = "public, immutable"
Fetch = Callable[..., HttpResponse]


@pytest.fixture(params=[False, True], ids=["files known at the start", "files looked for"])
def fetch(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Fetch:
    """Return what asks a server for a static file."""
    settings.STATIC_ROOT = tmp_path
    settings.WHITENOISE_AUTOREFRESH = request.param
    server = HashedFiles(lambda _: HttpResponse(status=404))

    def ask(url: str, accept: str = "") -> HttpResponse:
        asked = RequestFactory().get(url, headers={"accept-encoding": accept})
        answer = server(asked)
        assert isinstance(answer, HttpResponse) or answer.streaming
        return answer  # type: ignore[return-value]  # a FileResponse

    return ask


def content(answer: HttpResponse) -> bytes:
    found = answer.getvalue()
    answer.close()
    return found


def test_a_file_is_kept_for_a_year_under_its_hash_and_sent_compressed(fetch: Fetch) -> None:
    url = static("plotly/plotly.min.js")

    plain, zipped = fetch(url), fetch(url, "gzip")

    assert re.fullmatch(r"/static/plotly/plotly\.min\.[0-9a-f]{12}\.js", url)
    assert zipped["Cache-Control"].endswith(YEAR) and zipped["Content-Encoding"] == "gzip"
    whole, part = content(plain), content(zipped)
    assert gzip.decompress(part) == whole and len(part) < len(whole) / 3
    assert content(fetch("/static/plotly/plotly.min.js")) == whole


def test_brotli_is_sent_to_who_takes_it(fetch: Fetch) -> None:
    brotli = pytest.importorskip("brotli")
    url = static("web/parts.css")

    answer = fetch(url, "gzip, br")

    assert answer["Content-Encoding"] == "br"
    assert brotli.decompress(content(answer)) == read("web/parts.css")


def test_modules_and_fonts_are_named_by_their_hashes_too(fetch: Fetch) -> None:
    script, style = static("web/charts.js"), static("web/tokens.css")

    modules = re.findall(r'from "\./([^"]+)"', content(fetch(script)).decode())
    fonts = re.findall(r'url\("\.\./([^"]+)"', content(fetch(style)).decode())

    assert len(modules) >= 5 and len(fonts) == 3
    for url in [*(f"/static/web/{name}" for name in modules), *(f"/static/{f}" for f in fonts)]:
        answer = fetch(url)
        assert answer.status_code == 200 and answer["Cache-Control"].endswith(YEAR), url
        answer.close()


def test_a_changed_module_changes_the_names_of_all_that_load_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"web/a.js": 'import { b } from "./b.js";', "web/b.js": "export const b = 1;"}
    monkeypatch.setattr("config.static_files.finders.find", lambda name: str(tmp_path / name))
    (tmp_path / "web").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    hashed_name.cache_clear()
    before = hashed_name("web/a.js")

    (tmp_path / "web/b.js").write_text("export const b = 2;")
    hashed_name.cache_clear()

    assert hashed_name("web/a.js") != before
    hashed_name.cache_clear()


def test_hashes_of_other_contents_and_paths_out_of_the_folder_are_not_found(fetch: Fetch) -> None:
    for url in (
        "/static/web/charts.0123456789ab.js",
        "/static/../secret_key.0123456789ab.js",
        "/static/web/nothing.0123456789ab.js",
        "/elsewhere/web/charts.js",
    ):
        assert fetch(url).status_code == 404, url


def test_a_full_disk_costs_the_compression_and_nothing_else(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(static_files, "write", full)

    answer = fetch(static("web/page.css"), "gzip, br")

    assert answer.status_code == 200 and not answer.has_header("Content-Encoding")
    answer.close()

"""The help: the README and its pages, on the site and on a code host."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client
from markdown_it import MarkdownIt

from tests.site import ROOT
from tests.web import html
from web.help import documents
from web.help.pages import PAGES

MOST_WORDS = 1_700  # of the README: what it is, and where everything else stands
FILES = [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *(ROOT / ".readme").glob("*.md")]

pytestmark = pytest.mark.django_db


def links(path: Path) -> list[str]:
    """Return where a page's links and pictures lead."""
    tokens = MarkdownIt().enable("table").parse(path.read_text("utf-8"))
    inner = [child for token in tokens for child in token.children or []]
    found = [child.attrGet("href") or child.attrGet("src") for child in inner]
    return [str(target) for target in found if target]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(path: Path) -> None:
    for target in links(path):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        file = (path.parent / parts.path).resolve() if parts.path else path
        assert file.is_file(), target
        if parts.fragment:
            anchors = [section.anchor for section in documents.render(file).sections]
            assert parts.fragment in anchors, target


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    words = (ROOT / "README.md").read_text("utf-8").split()
    linked = {Path(target).stem for target in links(ROOT / "README.md")}
    names = {path.stem for path in (ROOT / ".readme").glob("*.md")}

    assert len(words) <= MOST_WORDS
    assert names <= linked
    assert names | {"", "contributing"} == {name for name, _ in PAGES}


def test_every_page_and_picture_of_the_help_answers(client: Client) -> None:
    waiting, seen = ["/help/"], set[str]()

    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = client.get(address, follow=True)
        assert answer.status_code == 200, address
        if "html" in answer["Content-Type"]:
            article = html.read(html.body(answer)).one("article")
            found = [
                each.attributes.get("href") or each.attributes.get("src") for each in article.walk()
            ]
            paths = {urlsplit(target).path for target in found if target}
            waiting += [path for path in paths if path.startswith("/") and path not in seen]

    assert {"/help/files/leaderboard.png", "/help/files/mnist-tiny.yaml"} <= seen
    assert {f"/help/{name}/" for name, _ in PAGES if name} <= seen


def test_pages_that_are_not_there_and_files_of_elsewhere_are_not_found(client: Client) -> None:
    for address in ("/help/nothing/", "/help/files/data.md", "/help/files/..", "/help/README/"):
        assert client.get(address).status_code == 404, address


def test_links_from_pages_lead_to_sections_that_are_there(client: Client) -> None:
    found = re.findall(r'href="(/judging/)#([\w-]+)"', client.get("/claims/").text)

    assert found
    for address, fragment in found:
        assert f'<h2 id="{fragment}">' in client.get(address).text


def test_html_in_markdown_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("# A\n\n<script>1</script> [x](javascript:1)\n")

    body = documents.render(tmp_path / "page.md").body

    assert "<script" not in body and "href" not in body
    assert re.search(r'<h1 id="a">A</h1>', body)


def test_a_link_to_what_the_site_does_not_show_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a page of the help"):
        documents.address("../platform/config/settings.py", ".readme")

"""The help: the README and the pages it links, from Markdown to HTML with addresses of the site."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Path = settings.BASE_DIR
README = "README.md"
FOLDER = ".readme"
CONTRIBUTING = ".github/CONTRIBUTING.md"
ATTACHED = {".png": "image/png", ".yaml": "text/plain; charset=utf-8"}
TABLE = '<div class="scroller" tabindex="0" role="region" aria-label="Table, scrolls sideways">'


@dataclass(frozen=True)
class Heading:
    """A section of a page: where it is, and its words."""

    anchor: str
    words: str


@dataclass(frozen=True)
class Document:
    """A page of the help, ready to be shown."""

    title: str
    body: SafeString
    sections: tuple[Heading, ...]


def find(name: str) -> Path | None:
    """Return the file of a page of the help by its name, "" for the first one, if there is one."""
    paths = {"": ROOT / README, "contributing": ROOT / CONTRIBUTING}
    paths |= {path.stem: path for path in (ROOT / FOLDER).glob("*.md")}
    found = paths.get(name)
    return found if found and found.is_file() else None


def attached(name: str) -> tuple[Path, str] | None:
    """Return a picture or an experiment that pages show, and its type, if there is one."""
    path = ROOT / FOLDER / name
    kind = ATTACHED.get(path.suffix)
    return (path, kind) if kind and path.parent == ROOT / FOLDER and path.is_file() else None


def address(target: str, place: str) -> str:
    """Return where the site has what a file in `place`, a folder of the repository, links to.

    Raises:
        ValueError: if the target is a file that the site does not show.
    """
    parts = urlsplit(target)
    if parts.scheme or not parts.path:  # elsewhere, or on this very page
        return target
    path = posixpath.normpath(posixpath.join(place, parts.path))
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{_address(path)}{fragment}"


def _address(path: str) -> str:
    folder, name = posixpath.split(path)
    stem, suffix = posixpath.splitext(name)
    if path == README:
        return reverse("help")
    if path == CONTRIBUTING:
        return reverse("help-page", args=["contributing"])
    if folder == FOLDER and suffix == ".md":
        return reverse("help-page", args=[stem])
    if folder == FOLDER and suffix in ATTACHED:
        return reverse("help-file", args=[name])
    raise ValueError(f"expected a page of the help or what belongs to one, got a link to {path!r}")


def anchor(words: str) -> str:
    """Return a heading's anchor as code hosts make it: lower case, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def render(path: Path) -> Document:
    """Return a Markdown file as HTML; HTML within it is shown as text, not obeyed."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(path.read_text("utf-8"))
    place = path.parent.relative_to(ROOT).as_posix()
    headings = list(_headings(tokens))
    for token in _all(tokens):
        _point(token, "" if place == "." else place)
    html = markdown.renderer.render(tokens, markdown.options, {})
    html = html.replace("<table>", f'{TABLE}<table class="table">').replace(
        "</table>", "</table></div>"
    )
    html = html.replace("<pre>", '<pre tabindex="0">')  # long lines are reached by keys, too
    title, *sections = [heading for rank, heading in headings if rank in ("h1", "h2")]
    return Document(title.words, mark_safe(html), tuple(sections))  # noqa: S308  # our own, raw HTML off


def _headings(tokens: Sequence[Token]) -> Iterator[tuple[str, Heading]]:
    """Give headings their anchors; yield them with their rank."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(child.content for child in inline.children or [])
            opening.attrSet("id", anchor(words))
            yield opening.tag, Heading(anchor(words), words)


def _all(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


def _point(token: Token, place: str) -> None:
    """Let a link or a picture lead to the site's address."""
    name = {"link_open": "href", "image": "src"}.get(token.type)
    if name:
        token.attrSet(name, address(str(token.attrGet(name)), place))

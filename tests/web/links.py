"""What pages and files lead to, and whether all of it is there."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Protocol
from urllib.parse import parse_qsl, urldefrag, urljoin, urlsplit

import pytest
from django.urls import Resolver404, resolve

ASKED_FOR = {"href", "src", "hx-get", "data-source"}
SENT_TO = {"action", "formaction", "hx-post"}


@dataclass
class Answer:
    """What the site answers."""

    status: int
    headers: dict[str, str]
    text: str


class Browser(Protocol):
    """Whoever asks a site that has a host and a prefix; `seen` holds the answers by address."""

    host: str
    prefix: str
    seen: dict[str, Answer]

    def get(self, address: str) -> Answer:
        """Return the answer at a full address."""


class Links(HTMLParser):
    """Collects what a page asks for and where its forms are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.sent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        sends = tag == "form" and (found.get("method") or "").lower() == "post"
        for name, value in attrs:
            if name in ASKED_FOR or (name == "action" and not sends):
                self.asked.append(value or "")
            elif name in SENT_TO:
                self.sent.append(value or "")


def links(answer: Answer) -> tuple[list[str], list[str]]:
    """Return what an answer asks for, and where it sends."""
    content = answer.headers.get("Content-Type", "")
    if "html" in content:
        reader = Links()
        reader.feed(answer.text)
        return reader.asked, reader.sent
    if "css" in content:
        return re.findall(r"url\(\"?(?!data:)([^)\"]+)", answer.text), []
    if content.startswith("application/json"):
        return list(addresses_in(json.loads(answer.text))), []
    return [], []


def addresses_in(data: Any) -> Iterator[str]:
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from addresses_in(value)
    elif isinstance(data, str) and re.match(r"https?://", data):
        yield data


def kind(browser: Browser, address: str) -> tuple[str, ...]:
    """Return what addresses of one kind have in common: the route and the names of what is asked."""
    parts = urlsplit(address.removeprefix(browser.host + browser.prefix))
    try:
        route = resolve(parts.path).route
    except Resolver404:
        route = parts.path
    return route, *sorted(name for name, _ in parse_qsl(parts.query))


def crawl(browser: Browser, beginnings: list[str], most: int = 2) -> None:
    """Check that what these pages, and the files they load, lead to is there: `most` of a kind."""
    pages = [browser.host + browser.prefix + address for address in beginnings]
    followed = Counter(kind(browser, page) for page in pages)
    for page in pages:
        answer = look(browser, page, page)
        asked, sent = links(answer)
        for link in asked:
            target = urldefrag(urljoin(page, link))[0]
            same = kind(browser, target)
            followed[same] += target not in browser.seen
            if not link.startswith("data:") and followed[same] <= most:
                found = look(browser, target, page)
                if "css" in found.headers.get("Content-Type", ""):
                    for file in links(found)[0]:
                        look(browser, urljoin(target, file), target)
        for link in sent:
            path = urlsplit(urljoin(page, link)).path
            assert path.startswith(f"{browser.prefix}/"), f"{page} sends to {link}"
            try:
                resolve(path.removeprefix(browser.prefix))
            except Resolver404:
                pytest.fail(f"{page} sends to {link}")


def look(browser: Browser, address: str, where: str) -> Answer:
    assert address.startswith(f"{browser.host}{browser.prefix}/"), f"{where} leads to {address}"
    if address not in browser.seen:
        browser.seen[address] = browser.get(address)
    answer = browser.seen[address]
    asks = answer.status in (400, 401) and "/api/" in address  # REST: what for, or who comes
    assert answer.status < 400 or asks, f"{where} leads to {address}: {answer.status}"
    if location := answer.headers.get("Location"):
        goes = urljoin(address, location)
        assert goes.startswith(f"{browser.host}{browser.prefix}/"), f"{address} goes to {goes}"
    return answer

"""Parts of pages that follow their rows: rendered into the page, then asked for while they live.

The browser asks for one part a second at most, each in turn, and for none while the page is hidden.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

UNCHANGED = 204  # htmx leaves the page as it is


@dataclass(frozen=True)
class Region:
    """A region of a page; `live` is False once nothing in it can change by itself.

    `context` is only asked for when the region is rendered.
    """

    template: str
    url: str  # gives the region alone
    live: bool
    context: Callable[[], Mapping[str, Any]]

    def render(self, request: HttpRequest) -> SafeString:
        """Return the region with what asks for its next state, if it lives."""
        return self._wrap(self._content(request))

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the region, or 204 if it is what the page shows already."""
        content = self._content(request)
        if self.live and request.GET.get("seen") == _digest(content):
            return HttpResponse(status=UNCHANGED)
        return HttpResponse(self._wrap(content))

    def _content(self, request: HttpRequest) -> SafeString:
        return render_to_string(self.template, dict(self.context()), request)

    def _wrap(self, content: SafeString) -> SafeString:
        context = {"region": self, "content": content, "digest": _digest(content)}
        return render_to_string("experiments/_live.html", context)

    @property
    def glue(self) -> str:
        return "&" if "?" in self.url else "?"


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]

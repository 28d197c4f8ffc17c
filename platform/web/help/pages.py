"""Pages of the help, and the pictures and experiments that they show."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from web.help import documents

PAGES = (  # as they stand in the list beside a page
    ("", "Trilemma"),
    ("demo", "The demo"),
    ("five-clicks", "Five clicks"),
    ("data", "Your own data"),
    ("models", "Your own model"),
    ("boards", "Reading a board"),
    ("judging", "How we judge"),
    ("workers", "Workers"),
    ("without-a-site", "Without a site"),
    ("results", "Results"),
    ("speed-of-pages", "Speed of pages"),
    ("rest", "REST"),
    ("telling", "Being told"),
    ("lab", "Running it for a lab"),
    ("settings", "Settings"),
    ("glossary", "Glossary"),
    ("tree", "The tree"),
    ("contributing", "Contributing"),
)


def page(request: HttpRequest, name: str = "") -> HttpResponse:
    """Show a page of the help."""
    path = documents.find(name)
    if path is None:
        raise Http404(f"there is no page {name!r} in the help")
    context = {"document": documents.render(path), "pages": PAGES, "name": name}
    return render(request, "web/help/page.html", context)


def file(request: HttpRequest, name: str) -> HttpResponse:
    """Send a picture or an experiment that pages show."""
    found = documents.attached(name)
    if found is None:
        raise Http404(f"there is no file {name!r} in the help")
    path, kind = found
    return HttpResponse(path.read_bytes(), content_type=kind)

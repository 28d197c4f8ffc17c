"""Pages of boards. Ranking is done elsewhere; these connect it with templates."""

from dataclasses import replace
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from catalog.models import Protocol
from leaderboards import charts, highlights, protocol_box, tables
from leaderboards.board import columns_of
from leaderboards.budgeting import nfe, same_budget
from leaderboards.scores import anew, cards, pages, points, query, reading

PAGE_SIZE = 12
MOST_UNUSED = 100  # protocols without entries that are listed


def leaderboards(request: HttpRequest) -> HttpResponse:
    """List every protocol in use with the leader of each corner, then those without entries."""
    found = Paginator(highlights.protocols_in_use(), PAGE_SIZE)
    page = found.get_page(request.GET.get("page"))
    unused = Protocol.objects.filter(experiments__isnull=True).select_related("dataset")
    context = {
        "page": page,
        "boards": cards.overview(list(page)),
        "unused": unused[:MOST_UNUSED],
        "unused_total": unused.count(),
    }
    return render(request, "leaderboards/list.html", context)


def leaderboard(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show the board of one protocol."""
    protocols = Protocol.objects.select_related("dataset")
    protocol = get_object_or_404(protocols, fingerprint=fingerprint)
    sort, asked = request.GET.get("sort", ""), query.asked(request.GET)
    try:
        wanted = query.read(asked, columns_of(protocol), size=query.PAGE)
        wanted = replace(wanted, ahead=points.MOST, is_page=True)
        board = reading.board(protocol, sort=sort, query=wanted)
    except ValueError as error:
        raise Http404(str(error)) from error
    context: dict[str, Any] = {
        **protocol_box.describe(protocol),
        "table": tables.table(board, query=wanted),
        "pages": pages.pages(board, wanted, sort=sort),
        "chart": charts.trilemma(board, points.others(board, wanted)),
        "nfe": nfe.drawn(board, wanted),
    }
    return render(request, "leaderboards/detail.html", context)


@require_safe
def at_the_same_budget(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show who leads at each budget, `by` images, device-seconds or parameters."""
    protocols = Protocol.objects.select_related("dataset")
    protocol = get_object_or_404(protocols, fingerprint=fingerprint)
    by = request.GET.get("by", "") or next(iter(same_budget.WAYS))
    if by not in same_budget.WAYS:
        known = ", ".join(same_budget.WAYS)
        raise Http404(f"expected a kind of budget ({known}), got {by[:50]!r}")
    ways = [
        tables.Choice(label, f"?by={name}", name == by)
        for name, (label, _) in same_budget.WAYS.items()
    ]
    context = {"protocol": protocol, "ways": ways, "writing": anew.settled(protocol)}
    context["view"] = same_budget.view(protocol, by)
    return render(request, "leaderboards/budgets.html", context)

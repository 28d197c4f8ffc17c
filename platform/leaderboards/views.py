"""Pages of boards. Ranking is done elsewhere; these connect it with templates."""

from dataclasses import replace
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from catalog.models import Protocol
from experiments.pages.addresses import protocol_of, refuse_others
from leaderboards import charts, highlights, protocol_box, tables
from leaderboards.board import columns_of
from leaderboards.budgeting import nfe, same_budget
from leaderboards.leading.by_budget import WAYS
from leaderboards.scores import anew, cards, pages, points, query, reading

PAGE_SIZE = 12
MOST_UNUSED = 100  # protocols without entries that are listed


def leaderboards(request: HttpRequest) -> HttpResponse:
    """List every protocol in use with the leader of each corner, then those without entries."""
    refuse_others(request.GET, ("page",))
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
    protocol = protocol_of(fingerprint)
    columns = columns_of(protocol)
    if elsewhere := _elsewhere(request, protocol):
        return redirect(elsewhere)
    known = ("sort", "page", *query.KEPT, *query.filters_of(columns))
    refuse_others(request.GET, known, several=("columns",))
    sort, asked = request.GET.get("sort", ""), query.asked(request.GET)
    try:
        wanted = query.read(asked, columns, size=query.PAGE)
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


def _elsewhere(request: HttpRequest, protocol: Protocol) -> str:
    """Return where an experiment's part of the board is, if that is asked for as over REST."""
    asked = request.GET.copy()
    if not (wanted := asked.pop("experiment", [""])[-1]):
        return ""
    is_here = wanted.isdecimal() and protocol.experiments.filter(pk=wanted[:18]).exists()
    if not is_here:
        raise Http404(f"experiment: expected the id of one on this board, got {wanted[:50]!r}")
    return reverse("experiment", args=[int(wanted)]) + (f"?{asked.urlencode()}" if asked else "")


@require_safe
def at_the_same_budget(request: HttpRequest, fingerprint: str) -> HttpResponse:
    """Show who leads at each budget, `by` images, device-seconds or parameters."""
    refuse_others(request.GET, ("by",))
    protocol = protocol_of(fingerprint)
    by = request.GET.get("by", "") or next(iter(WAYS))
    if by not in WAYS:
        known = ", ".join(WAYS)
        raise Http404(f"expected a kind of budget ({known}), got {by[:50]!r}")
    ways = [tables.Choice(label, f"?by={name}", name == by) for name, (label, _) in WAYS.items()]
    context = {"protocol": protocol, "ways": ways, "writing": anew.settled(protocol)}
    context["view"] = same_budget.view(protocol, by)
    return render(request, "leaderboards/budgets.html", context)

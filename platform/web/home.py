"""The home page: what this is in one picture, what runs now, boards with samples, what to do next."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.permissions import may_submit
from catalog.models import Dataset
from experiments import overview
from experiments.pages.live import Region
from jobs.models import Worker
from leaderboards import charts, highlights
from leaderboards.highlights import Highlight
from leaderboards.scores import cards, reading
from web.front import samples, steps
from web.front.picture import Picture, picture

MAX_BOARDS = 6
MOST_DRAWN = 16  # rows of the newest board, in the picture
FEWEST_DRAWN = 2


def home(request: HttpRequest) -> HttpResponse:
    """Show what the site is in one picture, what runs, boards with samples, and what to do next."""
    in_use = highlights.protocols_in_use()
    shown = list(in_use[:MAX_BOARDS])
    boards = cards.overview(shown)
    newest = boards[0].board.protocol if boards else None
    mine = steps.own(request.user)
    drawn, chart = _picture(boards)
    context = {
        "drawn": drawn,
        "picture": chart,
        "most_drawn": MOST_DRAWN,
        "boards": samples.cards(boards),
        "boards_total": in_use.count() if len(shown) == MAX_BOARDS else len(shown),
        "activity": _activity().render(request),
        "steps": [] if boards else steps.to_a_board(),
        "may_submit": may_submit(request.user),
        "dataset": Dataset.objects.order_by("-pk").first,  # asked only where a step names it
        "mine": mine,
        "next": steps.next_steps(request.user, mine, newest),
    }
    return render(request, "web/home.html", context)


def _picture(boards: Sequence[Highlight]) -> tuple[Highlight | None, Picture | None]:
    """Return the newest board that has something to draw, and its drawing."""
    found = next(filter(_has_picture, boards), None)
    if found is None:
        return None, None
    board = found.board if found.board.rows else reading.first_rows(found.board, MOST_DRAWN)
    chart = charts.trilemma(replace(board, rows=board.rows[:MOST_DRAWN]))
    return found, picture(chart) if chart else None


def _has_picture(found: Highlight) -> bool:
    """Return whether a board has several points on two axes that it ranks by."""
    axes = charts.axes_of(found.board)
    is_judged = axes is not None and not {axis.key for axis in axes} & set(found.board.unranked)
    return is_judged and found.scored >= FEWEST_DRAWN


def activity(request: HttpRequest) -> HttpResponse:
    """Return the part of the home page that shows what runs now."""
    return _activity().respond(request)


def _activity() -> Region:
    work, waiting = overview.active_work(), overview.queued_by_queue()

    def context() -> dict[str, Any]:
        workers = list(Worker.objects.all())
        return {
            "work": work,
            "waiting": waiting.total(),
            "unserved": overview.unserved_queues(waiting, workers),
            "online": [worker for worker in workers if worker.is_alive],
        }

    live = bool(work) or waiting.total() > 0
    return Region("web/_activity.html", reverse("activity"), live, context)

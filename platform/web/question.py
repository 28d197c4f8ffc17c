"""The page of a question: what each entry drew for somebody's words, a column for each seed."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from experiments import overview
from experiments.models import Question
from experiments.ownership import changeable
from experiments.pages.live import Region
from jobs.models import Status
from web.sheets import Sheet

VERDICTS = {True: "follows", False: "does not follow"}


@dataclass(frozen=True)
class Picture:
    """One image of an entry, and what was read in it."""

    seed: int
    box: str  # on the sheet
    read: str  # "" = nothing could be read
    verdict: str  # "" = what the words claim is not known


@dataclass(frozen=True)
class Row:
    """One entry."""

    label: str
    sampler: str
    run: int
    told: bool  # whether its model was told the words
    error: str
    pictures: list[Picture]


def question(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a question and its answers, or how far they are."""
    found = get_object_or_404(overview.loaded_questions(), pk=pk)
    region = _region(found, request)
    context = {"question": found, "answers": region.render(request)}
    return render(request, "web/question.html", context)


def question_region(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the live part of the page."""
    found = get_object_or_404(overview.loaded_questions(), pk=pk)
    return _region(found, request).respond(request)


def _region(found: Question, request: HttpRequest) -> Region:
    return Region(
        template="web/_question.html",
        url=reverse("question-region", args=[found.pk]),
        live=not found.is_finished,
        context=lambda: _context(found, request),
    )


def _context(found: Question, request: HttpRequest) -> dict[str, Any]:
    rows = found.answers if found.status == Status.COMPLETED else []
    drawn = sum(answer["row"] is not None for answer in rows)
    sheet = Sheet(found.experiment.dataset.resolution, drawn * found.images, found.images)
    own = changeable(Question.objects.filter(pk=found.pk), request.user)
    return {
        "question": found,
        "rows": [_row(found, answer, sheet) for answer in rows],
        "sheet": sheet,
        "may_cancel": found.can_cancel and own.exists(),
    }


def _row(found: Question, answer: dict[str, Any], sheet: Sheet) -> Row:
    first = (answer["row"] or 0) * found.images
    return Row(
        label=answer["label"],
        sampler=answer["sampler"],
        run=answer["run"],
        told=answer["told"],
        error=answer["error"],
        pictures=[
            Picture(
                seed=image["seed"],
                box=sheet.box(first + place),
                read=image["read"] or "",
                verdict=VERDICTS.get(image["follows"], ""),
            )
            for place, image in enumerate(answer["images"])
        ],
    )

"""The page that advises: which entries fit a dataset, a device and a time."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from catalog.models import Dataset
from leaderboards.advice import asking
from leaderboards.advice.fitting import Advice, Advised, advise, devices
from leaderboards.board import Cell
from leaderboards.highlights import protocols_in_use
from leaderboards.rounding import decimals, number, spread


def advice(request: HttpRequest) -> HttpResponse:
    given = {name: request.GET.get(name, "") for name in asking.FIELDS}
    context: dict[str, Any] = {"given": given, "errors": {}, "devices": devices()}
    context["datasets"] = Dataset.objects.filter(protocols__in=protocols_in_use()).distinct()
    if given["dataset"] or given["protocol"]:
        try:
            question = asking.read(given)
        except asking.AdviceError as error:
            context["errors"] = error.errors
        else:
            found = advise(question.protocol, question.wish)
            context |= {"advice": found, "rows": [_shown(found, each) for each in found.found]}
            others = protocols_in_use().filter(dataset=question.protocol.dataset)
            context["others"] = others.exclude(pk=question.protocol.pk)[:10]
    return render(
        request, "web/learn/advice.html", context, status=400 if context["errors"] else 200
    )


def _shown(found: Advice, advised: Advised) -> dict[str, Any]:
    columns = {"quality": found.quality, "coverage": found.coverage}
    cells = {name: advised.row.cells[column.key] for name, column in columns.items() if column}
    return {"advised": advised, **{name: _text(cell) for name, cell in cells.items()}}


def _text(cell: Cell) -> str:
    """Return a number with its interval."""
    if cell.value is None:
        return cell.reason or "–"
    places = decimals([cell])
    return f"{number(cell.value, places)} {spread(cell, places)}".strip()

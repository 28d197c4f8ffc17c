"""The guidance curve as the page of prompts shows it: a chart, and its numbers in a table."""

from dataclasses import dataclass
from typing import Any

from django.http import Http404

from catalog.models import Protocol
from experiments.models import Entry, Experiment
from leaderboards import guidance, rounding
from leaderboards.board import Cell


@dataclass(frozen=True)
class Number:
    """One value as people read it; `reason` says why it, or its interval, is absent."""

    text: str
    spread: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One point of the chart."""

    entry: Entry
    label: str
    name: str  # of the point: its guidance, or its role
    seeds: str
    following: Number
    diversity: Number


def describe(protocol: Protocol, experiment: Experiment, following: str) -> dict[str, Any] | None:
    """Return what the box shows, None where the protocol measures too little for a chart.

    Raises:
        Http404: if the protocol has no such metric of following.
    """
    try:
        chart = guidance.chart(protocol, experiment=experiment, following=following)
    except ValueError as error:
        raise Http404(str(error)) from error
    if chart is None:
        return None
    return {
        "chart": guidance.to_dict(chart) if chart.is_drawn else None,
        "following": chart.following,
        "diversity": chart.diversity,
        "choices": guidance.choices(protocol),
        "rows": _rows(chart),
    }


def _rows(chart: guidance.Chart) -> list[Row]:
    points = [(curve, point) for curve in chart.curves for point in curve.points]
    places = rounding.decimals([point.following for _, point in points])
    places_across = rounding.decimals([point.diversity for _, point in points])
    return [
        Row(
            entry=curve.entry,
            label=curve.label,
            name="" if point.name == curve.entry.label else point.name,
            seeds=f"{point.row.seeds_scored}/{point.row.seeds_total}",
            following=_number(point.following, places),
            diversity=_number(point.diversity, places_across),
        )
        for curve, point in points
    ]


def _number(cell: Cell, places: int) -> Number:
    if cell.value is None:
        return Number("", "", cell.reason)
    own = rounding.own_decimals(cell, places)
    return Number(rounding.number(cell.value, own), rounding.spread(cell, own), cell.reason)

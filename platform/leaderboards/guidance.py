"""The guidance curve: how well prompts are followed against how varied the images of one prompt are."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from catalog.models import Protocol
from evaluation.protocols.prompt_specs import OF_PROMPTS
from experiments import controls
from experiments.models import Entry, Experiment
from generators.specs import registry
from leaderboards.board import Cell, Column, Row, columns_of
from leaderboards.rows import rows_of

FOLLOWING = tuple(name for name, spec in OF_PROMPTS.items() if "claim" in spec.parameters)
DIVERSITY = ("prompt_vendi", "open_entropy")  # the first that a protocol has
ROLES = {controls.ASKED: "ceiling", controls.SHUFFLED: "floor"}


@dataclass(frozen=True)
class Point:
    """One entry with one sampler."""

    row: Row
    guidance: float | None  # None: its sampler has no such scale
    following: Cell
    diversity: Cell

    @property
    def role(self) -> str:
        """Return what a control is in the chart: ceiling or floor; "" for a contender."""
        return ROLES.get(self.row.control, "")

    @property
    def name(self) -> str:
        """Return what stands beside the point."""
        if self.role:
            return self.role
        return self.row.entry.label if self.guidance is None else f"w={self.guidance:g}"


@dataclass(frozen=True)
class Curve:
    """Points that differ only in guidance, in its order; a single one where there is no other."""

    label: str
    entry: Entry
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """All curves of a protocol, of one experiment or of all."""

    protocol: Protocol
    experiment: Experiment | None
    following: Column
    diversity: Column
    curves: tuple[Curve, ...]

    @property
    def is_drawn(self) -> bool:
        """Whether a point of it has both values."""
        points = [point for curve in self.curves for point in curve.points]
        return any(None not in (point.following.value, point.diversity.value) for point in points)


def choices(protocol: Protocol) -> list[Column]:
    """Return the metrics of following that the protocol has, in the order of its board."""
    return [column for column in columns_of(protocol) if column.key in FOLLOWING]


def chart(
    protocol: Protocol, *, experiment: Experiment | None = None, following: str = ""
) -> Chart | None:
    """Return the curves under a protocol; None where it measures no following, or no diversity.

    `following` is the key of a metric, by default the first: all that a prompt claims, together.

    Raises:
        ValueError: if the protocol has no such metric of following.
    """
    offered = {column.key: column for column in choices(protocol)}
    columns = {column.key: column for column in columns_of(protocol)}
    diversity = next((columns[key] for key in DIVERSITY if key in columns), None)
    if not offered or diversity is None:
        return None
    chosen = following or next(iter(offered))
    if chosen not in offered:
        raise ValueError(
            f"expected a metric of following ({', '.join(offered)}), got {following!r}"
        )
    pair = (offered[chosen], diversity)
    rows = rows_of(protocol, pair, experiment)
    return Chart(protocol, experiment, *pair, tuple(_curves(rows, *pair)))


def _curves(rows: Iterable[Row], following: Column, diversity: Column) -> Iterable[Curve]:
    """Yield contenders in the order of their entries, then ceiling and floor."""
    found: dict[tuple[int, str], list[Point]] = {}
    shown = [row for row in rows if not row.is_control or row.control in ROLES]
    for row in sorted(shown, key=lambda row: row.is_control):
        rest, guidance = _setting(row)
        cells = row.cells[following.key], row.cells[diversity.key]
        found.setdefault((row.entry.pk, rest), []).append(Point(row, guidance, *cells))
    for points in found.values():
        ordered = sorted(points, key=lambda point: point.guidance or 0.0)
        yield Curve(_label(ordered), ordered[0].row.entry, tuple(ordered))


def _setting(row: Row) -> tuple[str, float | None]:
    """Return all that a row's sampler is besides its guidance, as text, and the guidance."""
    entry = row.entry
    for sampler in entry.samplers if entry.spec else ():
        parsed = registry.parse_sampler(entry.algorithm, sampler)
        if parsed.label() == row.sampler_label:
            values = registry.sampler_to_dict(parsed)
            guidance = values.pop("guidance", None)
            return json.dumps(values, sort_keys=True), None if guidance is None else float(guidance)
    if entry.kind == Entry.Kind.PIPELINE and row.sample_sets:
        values = dict(row.sample_sets[0].sampler)
        guidance = values.pop("guidance")
        return json.dumps(values, sort_keys=True), float(guidance) or None  # 0 = it knows none
    return row.sampler_label, None


def _label(points: list[Point]) -> str:
    """Return the entry, and its sampler without the guidance where that says more."""
    row = points[0].row
    sampler = row.sampler_label.partition(" w=")[0]
    named_by_entry = row.is_control or sampler == "direct"
    return row.entry.label if named_by_entry else f"{row.entry.label}, {sampler}"


def to_dict(chart: Chart) -> dict[str, Any]:
    """Return a chart as plain JSON values, at full precision; an absent value has a reason."""
    return {
        "protocol": chart.protocol.fingerprint,
        "experiment": chart.experiment.pk if chart.experiment else None,
        "following": _axis(chart.following),
        "diversity": _axis(chart.diversity),
        "curves": [
            {
                "label": curve.label,
                "entry": curve.entry.pk,
                "family": curve.entry.family,
                "family_label": curve.entry.family_label,
                "points": [_point(point) for point in curve.points],
            }
            for curve in chart.curves
        ],
    }


def _axis(column: Column) -> dict[str, Any]:
    return {"key": column.key, "label": column.label, "help": column.help}


def _point(point: Point) -> dict[str, Any]:
    return {
        "name": point.name,
        "sampler": point.row.sampler_label,
        "guidance": point.guidance,
        "role": point.role,
        "seeds_scored": point.row.seeds_scored,
        "seeds_total": point.row.seeds_total,
        "following": _number(point.following),
        "diversity": _number(point.diversity),
    }


def _number(cell: Cell) -> dict[str, Any]:
    return {"value": cell.value, "low": cell.low, "high": cell.high, "reason": cell.reason}

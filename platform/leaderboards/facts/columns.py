"""What a board says of a row besides its numbers: each is a column, an order and a filter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from leaderboards.board import Row

NAME = "name"
DATE = "date"


@dataclass(frozen=True)
class Fact:
    """One such column; `field` is where a row of the database keeps it."""

    key: str
    label: str
    help: str
    field: str
    value: Callable[[Row], Any]  # by which rows are put in order; None: behind all others
    text: Callable[[Row], str]


FACTS: Mapping[str, Fact] = MappingProxyType(
    {
        fact.key: fact
        for fact in (
            Fact(
                key=NAME,
                label="Entry",
                help="What it was submitted as.",
                field="label",
                value=lambda row: row.entry.label,
                text=lambda row: row.entry.label,
            ),
            Fact(
                key="budget",
                label="Budget",
                help="What its training might use, the same for all entries of its experiment.",
                field="budget",
                value=lambda row: row.budget.key,
                text=lambda row: "" if row.is_control else row.budget.words,
            ),
            Fact(
                key="device",
                label="Device",
                help="What it was trained on; a pipeline: what it was drawn on.",
                field="device",
                value=lambda row: row.device,
                text=lambda row: row.device,
            ),
            Fact(
                key=DATE,
                label="Scored",
                help="The day on which it was scored the last time.",
                field="scored_at",
                value=lambda row: row.scored_at,
                text=lambda row: f"{row.scored_at:%Y-%m-%d}" if row.scored_at else "",
            ),
        )
    }
)

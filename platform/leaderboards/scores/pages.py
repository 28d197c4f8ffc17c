"""What stands around a page of a board: which rows these are, other pages, filters, budgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from catalog.models import Protocol
from experiments.models import Entry, Experiment
from generators.specs import registry
from leaderboards.board import Board, Column
from leaderboards.scores.query import ENDS, Query

FEW = 10  # rows of which nobody needs to choose


@dataclass(frozen=True)
class Field:
    """One filter of the form; `options` are values with what they are called, for a choice."""

    name: str
    label: str
    value: str
    kind: str = "text"
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pages:
    """A page of a board among the others."""

    first: int  # place of its first row, from 1 on
    last: int
    total: int
    before: str  # addresses, "" where there is no such page
    after: str
    fields: tuple[Field, ...]  # of the form; empty where there is little to choose from
    kept: Mapping[str, str]  # what the form sends besides
    is_filtered: bool
    budgets: tuple[tuple[str, str, bool], ...]  # words, link, chosen; empty where all have one

    @property
    def left_out(self) -> int:
        """Return how many rows stand on other pages."""
        return self.total - max(0, self.last - self.first + 1)


def pages(board: Board, query: Query, address: Mapping[str, str]) -> Pages:
    """Return what stands around a board's page; `address` has its order and its columns."""
    kept = {name: value for name, value in address.items() if value}
    total = len(board.rows) if board.rows_in_all is None else board.rows_in_all
    last = board.begin + len(board.rows)

    def link(page: int) -> str:
        return "?" + urlencode({**kept, **query.filters, "page": str(page)})

    return Pages(
        first=min(board.begin + 1, last),
        last=last,
        total=total,
        before=link(query.page - 1) if query.page > 1 else "",
        after=link(query.page + 1) if last < total and board.rows else "",
        fields=_fields(board.sorted_by, query) if total > FEW or query.filters else (),
        kept=kept,
        is_filtered=bool(query.filters),
        budgets=_budgets(board.protocol, query, kept),
    )


def _fields(column: Column, query: Query) -> tuple[Field, ...]:
    families = tuple((name, family.label) for name, family in registry.FAMILIES.items())
    elsewhere = [
        kind for kind in Entry.Kind if kind not in (Entry.Kind.GENERATOR, Entry.Kind.CONTROL)
    ]
    kinds = tuple((kind.value, str(kind.label)) for kind in elsewhere)
    algorithms = tuple((name, spec.label) for name, spec in registry.ALGORITHMS.items())
    found = (
        Field("text", "Name", "", "search"),
        Field("family", "Family", "", options=(*families, *kinds)),
        Field("algorithm", "Algorithm", "", options=algorithms),
        Field("submitter", "Submitted by", ""),
        Field("since", "Scored since", "", "date"),
        Field("until", "until", "", "date"),
        *(Field(f"{column.key}_{end}", f"{column.label} {end}", "") for end in ENDS),
    )
    return tuple(
        Field(each.name, each.label, query.filters.get(each.name, ""), each.kind, each.options)
        for each in found
    )


def _budgets(
    protocol: Protocol, query: Query, kept: Mapping[str, str]
) -> tuple[tuple[str, str, bool], ...]:
    """Return the budgets of a board's experiments with links to each alone, and to all."""
    used = Experiment.objects.filter(protocols=protocol).order_by("budget_images", "budget_seconds")
    pairs = used.values_list("budget_images", "budget_seconds").distinct()
    told = [Experiment(budget_images=images, budget_seconds=s) for images, s in pairs]
    values = {_value(each): each.budget for each in told if each.budget}
    if len(values) < 2:
        return ()
    rest = {name: value for name, value in query.filters.items() if name != "budget"}
    chosen = query.filters.get("budget", "")
    links = [("any", "", not chosen), *((words, v, v == chosen) for v, words in values.items())]
    return tuple(
        (words, "?" + urlencode({**kept, **rest, **({"budget": v} if v else {})}), is_chosen)
        for words, v, is_chosen in links
    )


def _value(experiment: Experiment) -> str:
    """Return a budget as the filter reads it."""
    if experiment.budget_images is not None:
        return str(experiment.budget_images)
    return f"{experiment.budget_seconds:g}s" if experiment.budget_seconds else ""

"""What stands around a page of a board: which rows these are, other pages, filters, budgets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from experiments.models import Entry
from generators.specs import registry
from leaderboards.board import Board, Column
from leaderboards.facts.columns import FACTS, NAME
from leaderboards.scores.query import ENDS, MIXED, Query

Link = tuple[str, str, bool]  # words, address, whether it is chosen
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
    shown: int  # rows; 0 on a page behind the last one
    before: str  # addresses, "" where there is no such page
    after: str
    fields: tuple[Field, ...]  # of the form; empty where there is little to choose from
    kept: Mapping[str, str]  # what the form sends besides
    show_all: str  # address without filters
    is_filtered: bool
    budgets: tuple[Link, ...]  # empty where all have one
    orders: tuple[Link, ...]  # by budgets or not
    columns: tuple[Link, ...]  # key, label, whether it is shown
    kept_by_columns: Mapping[str, str]  # what the form of columns sends besides

    @property
    def left_out(self) -> int:
        """Return how many rows stand on other pages."""
        return self.total - self.shown


def pages(board: Board, query: Query, **address: str) -> Pages:
    """Return what stands around a board's page; `address` is what its links keep besides."""
    kept = {name: value for name, value in {**address, **query.kept}.items() if value}
    total = len(board.rows) if board.rows_in_all is None else board.rows_in_all
    last = board.begin + len(board.rows)
    last_page = max(1, math.ceil(total / (query.size or max(1, total))))

    def link(page: int) -> str:
        return "?" + urlencode({**kept, **query.filters, "page": str(page)})

    by_click = {name: query.filters[name] for name in ("budget",) if name in query.filters}
    return Pages(
        first=min(board.begin + 1, last),
        last=last,
        total=total,
        shown=len(board.rows),
        before=link(min(query.page - 1, last_page)) if query.page > 1 else "",
        after=link(query.page + 1) if last < total and board.rows else "",
        fields=_fields(board.ranked_by, query) if total > FEW or query.filters else (),
        kept={**{n: v for n, v in kept.items() if n != "as_of"}, **by_click},
        show_all="?" + urlencode(kept),
        is_filtered=bool(query.filters),
        budgets=_budgets(board, query, kept),
        orders=_orders(board, query, kept),
        columns=_columns(board, query),
        kept_by_columns={**{n: v for n, v in kept.items() if n != "columns"}, **query.filters},
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
        Field("tag", "Tag", ""),
        Field("submitter", "Submitted by", ""),
        Field("device", "Device", ""),
        Field("since", "Scored since", "", "date"),
        Field("until", "until", "", "date"),
        Field("as_of", "As it stood on", "", "date"),
        *(Field(f"{column.key}_{end}", f"{column.label} {end}", "") for end in ENDS),
    )
    values = {**query.kept, **query.filters}
    return tuple(
        Field(each.name, each.label, values.get(each.name, ""), each.kind, each.options)
        for each in found
    )


def _budgets(board: Board, query: Query, kept: Mapping[str, str]) -> tuple[Link, ...]:
    """Return links to the entries of each budget alone, and to all; none where there is one."""
    if not board.has_budgets:
        return ()
    rest = {name: value for name, value in query.filters.items() if name != "budget"}
    chosen = query.filters.get("budget", "")
    found = [("any", ""), *((each.words, each.value) for each in board.budgets)]
    return tuple(
        (words, "?" + urlencode({**kept, **rest, **({"budget": v} if v else {})}), v == chosen)
        for words, v in found
    )


def _columns(board: Board, query: Query) -> tuple[Link, ...]:
    """Return all columns, with whether they are shown."""
    known = {column.key: column.label for column in board.columns}
    known |= {key: fact.label for key, fact in FACTS.items() if key != NAME}
    shown = {column.key for column in query.columns.shown(board)}
    shown |= {fact.key for fact in query.columns.facts(board)}
    return tuple((key, label, key in shown) for key, label in known.items())


def _orders(board: Board, query: Query, kept: Mapping[str, str]) -> tuple[Link, ...]:
    """Return links to rows by their budgets, and to all in one order."""
    if not board.has_budgets or "budget" in query.filters:
        return ()
    rest = {name: value for name, value in kept.items() if name != "group"}
    apart = "?" + urlencode({**rest, **query.filters})
    mixed = "?" + urlencode({**rest, **query.filters, "group": MIXED})
    return (
        ("by budget", apart, not query.is_mixed),
        ("in one order", mixed, query.is_mixed),
    )

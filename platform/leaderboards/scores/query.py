"""What part of a board is asked for; the same words in the addresses of its page, API and exports."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from operator import and_
from types import MappingProxyType

from django.db.models import Q, QuerySet
from django.http import QueryDict

from catalog.models import Protocol
from experiments.models import Entry, Experiment
from experiments.tags.asking import tagged
from experiments.tags.words import word_problem
from generators.specs import registry
from leaderboards.board import Column
from leaderboards.facts.choice import Choice
from leaderboards.models import Score, Standing
from leaderboards.origins.budgets import Budget
from leaderboards.scores import baseline
from leaderboards.scores.refusal import QueryError

PAGE = 25  # rows of a page of headline metrics, whose HTML stays under 300 KB
BESIDE = 2  # numbers that a row without any weighs as much as
MOST = 500  # rows of a page that may be asked for
LAST_PAGE = 10**9  # that may be asked for
LONGEST = 200  # characters of a text
MIXED = "none"  # in an address: rows are not grouped by their budgets
GROUPS = ("budget", MIXED)
KEPT = ("columns", "group", "baseline", "as_of", "page_size")
BOARDS_OWN = Choice()  # of columns
OF_ENTRIES = (
    "family",
    "algorithm",
    "tag",
    "submitter",
    "budget",
    "text",
)  # filters, whatever the day


@dataclass(frozen=True)
class Query:
    """Which contenders of a board, which page of its rows, and how they are shown.

    Controls of all are there anyway.
    """

    filters: Mapping[str, str] = field(default_factory=dict)  # by their names in an address
    page: int = 1
    size: int | None = None  # rows of a page; None: all rows
    is_mixed: bool = False  # rows of several budgets in one order
    ahead: int = 0  # rows behind the first page of which its chart draws points
    is_page: bool = False  # of HTML: no column is read but those that it shows, or draws
    columns: Choice = BOARDS_OWN
    baseline: str = ""  # the row that all are compared with
    as_of: date | None = None  # only what was measured until the end of this day
    kept: Mapping[str, str] = field(default_factory=dict)  # of an address: what is no filter

    @property
    def begin(self) -> int:
        """Return how many rows are before the page."""
        return (self.page - 1) * (self.size or 0)

    @property
    def end(self) -> int | None:
        return None if self.size is None else self.begin + self.size

    def of(self, standings: QuerySet[Standing], protocol: Protocol) -> QuerySet[Standing]:
        """Return those of a board's standings that are asked for, and controls of all."""
        if not self.filters:
            return standings
        return standings.filter(self._wanted(protocol) | Q(control__gt="", of_entry=False))

    def among(self, standings: QuerySet[Standing], protocol: Protocol) -> QuerySet[Standing]:
        """Return those that are asked for, of standings among which no control of all is."""
        return standings.filter(self._wanted(protocol)) if self.filters else standings

    def _wanted(self, protocol: Protocol) -> Q:
        conditions = (_condition(name, value, protocol) for name, value in self.filters.items())
        return reduce(and_, conditions, Q())


def read(
    parameters: Mapping[str, str], columns: Iterable[Column], *, size: int | None = None
) -> Query:
    """Return what an address asks for; `size` is that of a page of HTML, which it may make smaller.

    A page of more columns, or with differences to a baseline, has fewer rows. Without a `size` it
    may have `MOST`.

    Raises:
        QueryError: if a part of it cannot be understood.
    """
    columns = tuple(columns)
    names = filters_of(columns)
    for name in parameters:
        if name.endswith(tuple(f"_{end}" for end in ENDS)) and name not in names:
            keys = ", ".join(column.key for column in columns)
            raise QueryError(name[:100], f"expected the key of a column before it ({keys})")
    filters = {name: parameters[name] for name in names if parameters.get(name)}
    for name, value in filters.items():
        _condition(name, value, None)
    asked, page = parameters.get("page_size", ""), parameters.get("page", "")
    choice = _columns(parameters.get("columns", ""), columns)
    if size is not None:
        size = _fitting(size, choice, columns, has_baseline=bool(parameters.get("baseline")))
    if asked:
        size = min(_whole("page_size", asked, most=MOST), size or MOST)
    if page and size is None:
        size = PAGE
    baseline.check(parameters.get("baseline", ""))
    return Query(
        filters=filters,
        page=_whole("page", page, most=LAST_PAGE) if page else 1,
        size=size,
        is_mixed=_group(parameters.get("group", "")) == MIXED,
        columns=choice,
        baseline=parameters.get("baseline", ""),
        as_of=_as_of(parameters.get("as_of", ""), filters),
        kept={name: parameters[name] for name in KEPT if parameters.get(name)},
    )


def filters_of(columns: Iterable[Column]) -> list[str]:
    """Return the names of all filters of a board."""
    return [*FILTERS, *(f"{column.key}_{end}" for column in columns for end in ENDS)]


def asked(parameters: QueryDict) -> dict[str, str]:
    """Return the parameters of a page, whose form sends every chosen column by itself."""
    columns = ",".join(filter(None, parameters.getlist("columns")))
    given = {name: str(value) for name, value in parameters.items()}
    return {**given, "columns": columns}


def _fitting(size: int, choice: Choice, columns: Sequence[Column], *, has_baseline: bool) -> int:
    """Return how many rows hold no more than so many do with the headline metrics alone.

    A difference weighs half a number: it is written shorter.
    """
    headlines = sum(column.headline for column in columns)
    shown = len(choice.keys) or (len(columns) if choice.every else headlines)
    weight = BESIDE + shown + (shown / 2 if has_baseline else 0)
    return max(1, min(size, int(size * (BESIDE + headlines) / weight)))


def _columns(text: str, columns: Iterable[Column]) -> Choice:
    try:
        return Choice.read(text, columns)
    except ValueError as error:
        raise QueryError("columns", str(error)) from error


def _group(value: str) -> str:
    if value not in ("", *GROUPS):
        raise QueryError("group", f"expected one of {', '.join(GROUPS)}, got {value[:50]!r}")
    return value


def _as_of(value: str, filters: Iterable[str]) -> date | None:
    """Return a day; filters by what is known now do not go with one."""
    if not value:
        return None
    if of_now := [name for name in filters if name not in OF_ENTRIES]:
        raise QueryError(of_now[0], "expected no filter by scores or dates beside as_of")
    return _date("as_of", value)


def _whole(name: str, text: str, *, most: int) -> int:
    found = int(text) if re.fullmatch("[0-9]{1,10}", text) else 0
    if not 1 <= found <= most:
        raise QueryError(name, f"expected a whole number from 1 to {most:,}, got {text[:50]!r}")
    return found


def _condition(name: str, value: str, protocol: Protocol | None) -> Q:
    """Return what a standing of a board must be; None where nobody is asked yet."""
    if len(value) > LONGEST or not value.isprintable():
        raise QueryError(name, f"expected printable text of at most {LONGEST} characters")
    if name in FILTERS:
        return FILTERS[name](value)
    key, _, end = name.rpartition("_")
    number = _number(name, value)
    scores = Score.objects.filter(protocol=protocol, metric=key)  # found once, by their index
    return Q(pk__in=scores.filter(**{f"value__{ENDS[end]}": number}).order_by().values("standing"))


def _number(name: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise QueryError(name, f"expected a number, got {value!r}")
    return found


def _family(value: str) -> Q:
    names = [name for name, spec in registry.ALGORITHMS.items() if spec.family_name == value]
    if names:
        return Q(algorithm__in=names)
    families = [*registry.FAMILIES, *Entry.Kind.values]
    if value not in families:
        raise QueryError("family", f"expected one of {', '.join(families)}, got {value!r}")
    return Q(kind=value)


def _tag(value: str) -> Q:
    if problem := word_problem(value):
        raise QueryError("tag", problem)
    return Q(entry__experiment__in=tagged(value).values("experiment"))


def _text(value: str) -> Q:
    named = Q(label__icontains=value) | Q(sampler_label__icontains=value)
    # Found once: a board has many more rows than there are experiments to look at.
    experiments = Experiment.objects.filter(name__icontains=value).order_by().values("pk")
    return named | Q(entry__in=Entry.objects.filter(experiment__in=experiments).order_by())


def _day(name: str, lookup: str) -> Callable[[str], Q]:
    return lambda value: Q(**{f"scored_at__date__{lookup}": _date(name, value)})


def _date(name: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise QueryError(name, f"expected a date as 2026-01-31, got {value[:50]!r}") from error


def _budget(value: str) -> Q:
    try:
        return Q(budget=Budget.read(value).key)
    except ValueError as error:
        raise QueryError("budget", str(error)) from error


ENDS = {"min": "gte", "max": "lte"}
FILTERS: Mapping[str, Callable[[str], Q]] = MappingProxyType(
    {
        "family": _family,
        "algorithm": lambda value: Q(algorithm=value),
        "tag": _tag,
        "submitter": lambda value: Q(entry__experiment__created_by__username=value),
        "budget": _budget,
        "device": lambda value: Q(device__icontains=value),
        "text": _text,
        "since": _day("since", "gte"),
        "until": _day("until", "lte"),
    }
)

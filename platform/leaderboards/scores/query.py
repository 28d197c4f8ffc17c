"""What part of a board is asked for; the same words in the addresses of its page, API and exports."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from django.db.models import Exists, OuterRef, Q, QuerySet

from experiments.models import Entry
from generators.specs import registry
from leaderboards.board import Column
from leaderboards.models import Score, Standing

PAGE = 40  # rows of a page, whose HTML stays under 300 KB
MOST = 500  # rows of a page that may be asked for
LONGEST = 200  # characters of a text


class QueryError(ValueError):
    """A part of a query that cannot be understood; `name` is that of its parameter."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


@dataclass(frozen=True)
class Query:
    """Which contenders of a board, and which page of its rows. Controls of all are there anyway."""

    filters: Mapping[str, str] = field(default_factory=dict)  # by their names in an address
    page: int = 1
    size: int | None = None  # rows of a page; None: all rows

    @property
    def begin(self) -> int:
        """Return how many rows are before the page."""
        return (self.page - 1) * (self.size or 0)

    @property
    def end(self) -> int | None:
        return None if self.size is None else self.begin + self.size

    def of(self, standings: QuerySet[Standing]) -> QuerySet[Standing]:
        """Return those of a board's standings that are asked for."""
        if not self.filters:
            return standings
        wanted = Q()
        for name, value in self.filters.items():
            wanted &= _condition(name, value)
        return standings.filter(wanted | (Q(of_entry=False) & ~Q(control="")))


def read(
    parameters: Mapping[str, str], columns: Iterable[Column], *, size: int | None = None
) -> Query:
    """Return what an address asks for; `size` is that of a page where it does not say.

    Raises:
        QueryError: if a part of it cannot be understood.
    """
    names = [*FILTERS, *(f"{column.key}_{end}" for column in columns for end in ENDS)]
    filters = {name: parameters[name] for name in names if parameters.get(name)}
    for name, value in filters.items():
        _condition(name, value)
    asked = parameters.get("page_size", "")
    size = _whole("page_size", asked, most=MOST) if asked else size
    page = parameters.get("page", "")
    if page and size is None:
        size = PAGE
    return Query(filters, _whole("page", page, most=10**9) if page else 1, size)


def _whole(name: str, text: str, *, most: int) -> int:
    found = int(text) if re.fullmatch("[0-9]{1,10}", text) else 0
    if not 1 <= found <= most:
        raise QueryError(name, f"expected a whole number from 1 to {most:,}, got {text[:50]!r}")
    return found


def _condition(name: str, value: str) -> Q:
    """Return what a standing must be."""
    if len(value) > LONGEST or not value.isprintable():
        raise QueryError(name, f"expected printable text of at most {LONGEST} characters")
    if name in FILTERS:
        return FILTERS[name](value)
    key, _, end = name.rpartition("_")
    number = _number(name, value)
    scores = Score.objects.filter(standing=OuterRef("pk"), metric=key)
    return Q(Exists(scores.filter(**{f"value__{ENDS[end]}": number})))


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
        return Q(entry__algorithm__in=names)
    families = [*registry.FAMILIES, *Entry.Kind.values]
    if value not in families:
        raise QueryError("family", f"expected one of {', '.join(families)}, got {value!r}")
    return Q(entry__kind=value)


def _text(value: str) -> Q:
    named = Q(label__icontains=value) | Q(sampler_label__icontains=value)
    return named | Q(entry__experiment__name__icontains=value)


def _day(name: str, lookup: str) -> Callable[[str], Q]:
    def condition(value: str) -> Q:
        try:
            return Q(**{f"scored_at__date__{lookup}": date.fromisoformat(value)})
        except ValueError as error:
            raise QueryError(name, f"expected a date as 2026-01-31, got {value!r}") from error

    return condition


def _budget(value: str) -> Q:
    """Return the condition of a budget: "1000000" images, or "60s" of a device."""
    if re.fullmatch("[0-9]{1,18}", value):
        return Q(entry__experiment__budget_images=int(value))
    if value.endswith("s"):
        return Q(entry__experiment__budget_seconds=_number("budget", value[:-1]))
    raise QueryError("budget", f"expected images as 1000000 or seconds as 60s, got {value!r}")


ENDS = {"min": "gte", "max": "lte"}
FILTERS: Mapping[str, Callable[[str], Q]] = MappingProxyType(
    {
        "family": _family,
        "algorithm": lambda value: Q(entry__algorithm=value),
        "submitter": lambda value: Q(entry__experiment__created_by__username=value),
        "budget": _budget,
        "text": _text,
        "since": _day("since", "gte"),
        "until": _day("until", "lte"),
    }
)

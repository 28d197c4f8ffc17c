"""Lists in pages that go on after the last row seen: rows that arrive shift none of them."""

import re
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db.models import F, Field, Model, OrderBy, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

PAGE_SIZE = 50
LARGEST_PAGE = 500
SALT = "api.paging"
CURSOR = "cursor"


class NumberedPages(PageNumberPagination):
    """Pages by number, as the addresses without a version have them."""

    page_size = PAGE_SIZE


@dataclass(frozen=True)
class Place:
    """A row in an order, and whether the page is the one before it."""

    ordering: str  # a field, with a leading "-" descending; equal rows by their keys
    value: Any  # as text, of that field
    key: int
    backwards: bool = False

    def to_text(self) -> str:
        return signing.dumps([self.ordering, self.value, self.key, self.backwards], salt=SALT)

    @classmethod
    def read(cls, text: str, ordering: str) -> "Place":
        """Return the place that a cursor names.

        Raises:
            ValidationError: if the text is no cursor of ours, or one of another order.
        """
        try:
            place = cls(*signing.loads(text, salt=SALT))
        except (signing.BadSignature, TypeError, ValueError) as error:
            message = "expected the one of a page's `next` or `previous`"
            raise ValidationError({CURSOR: message}) from error
        if place.ordering != ordering:
            raise ValidationError({CURSOR: f"it is of ordering={place.ordering}, got {ordering}"})
        return place


class CursorPages(BasePagination):
    """Pages by cursor: each takes as long as the first, and no row is skipped or there twice.

    What a list is ordered by may change meanwhile (a status, a time of finishing): such a row may
    move. By `id` none does.
    """

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return the rows of the page that is asked for."""
        self.request = request
        self.count = getattr(view, "count_rows", QuerySet.count)(
            queryset
        )  # a view may know a faster way
        size, ordering = _page_size(request, view), _ordering(request, view)
        text = request.query_params.get(CURSOR)
        place = None if text is None else Place.read(text, ordering)
        rows = _from(queryset, ordering, place, most=size + 1)
        goes_on, rows = len(rows) > size, rows[:size]
        backwards = place is not None and place.backwards
        if backwards:
            rows.reverse()
        self.next = _link(request, ordering, rows[-1:], is_there=goes_on or backwards)
        is_later = place is not None and (not backwards or goes_on)
        self.previous = _link(request, ordering, rows[:1], is_there=is_later, backwards=True)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self.next, "previous": self.previous}
        return Response({"count": self.count, **links, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "description": "rows of all pages together"},
                "next": link,
                "previous": link,
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        usual = _usual_size(view)
        size = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": usual}
        orderings = {"type": "string", "enum": _orderings(view), "default": view.default_ordering}
        return [
            _parameter(CURSOR, "Where to go on: that of a page's `next` or `previous`."),
            _parameter("page_size", "Rows of a page.", size),
            _parameter("ordering", "With a leading `-` descending; nothing comes last.", orderings),
        ]


def in_order(queryset: QuerySet[Any], request: Request, view: Any) -> QuerySet[Any]:
    """Return all rows of a list in the order that is asked for, equal ones by their keys."""
    ordering = _ordering(request, view)
    sign, name = "-" * ordering.startswith("-"), ordering.removeprefix("-")
    parts: list[str | OrderBy] = [ordering, f"{sign}pk"]
    if queryset.model._meta.get_field(name).null:
        parts[0] = OrderBy(F(name), descending=bool(sign), nulls_last=True)
    return queryset.order_by(*parts)


def _parameter(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    kind = schema or {"type": "string"}
    return {"name": name, "in": "query", "description": description, "schema": kind}


def _usual_size(view: Any) -> int:
    """Return how many rows a page has unless another number is asked for."""
    return int(getattr(view, "page_size", PAGE_SIZE))


def _page_size(request: Request, view: Any) -> int:
    text = request.query_params.get("page_size", str(_usual_size(view)))
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= LARGEST_PAGE:
        message = f"expected 1 to {LARGEST_PAGE}, got {text[:100]!r}"
        raise ValidationError({"page_size": message})
    return int(text)


def _orderings(view: Any) -> list[str]:
    return [sign + name for name in view.orderings for sign in ("", "-")]


def _ordering(request: Request, view: Any) -> str:
    wanted: str = request.query_params.get("ordering", view.default_ordering)
    if wanted not in _orderings(view):
        message = f"expected one of {', '.join(_orderings(view))}, got {wanted[:100]!r}"
        raise ValidationError({"ordering": message})
    return wanted


def _from(queryset: QuerySet[Any], ordering: str, place: Place | None, *, most: int) -> list[Any]:
    """Return rows after a place; those before it, from it on, where the place says so.

    Those without a value are asked for by themselves: so an index gives each part in its order.
    """
    descends, name = ordering.startswith("-"), ordering.removeprefix("-")
    field = queryset.model._meta.get_field(name)
    backwards = place is not None and place.backwards
    descends = descends != backwards
    sign = "-" if descends else ""
    keys = [f"{sign}{name}"] * (name != "id") + [f"{sign}pk"]
    parts = _parts(field, place, descends=descends)
    found: list[Any] = []
    for part in reversed(parts) if backwards else parts:
        if part is not None and len(found) < most:
            found += queryset.filter(part).order_by(*keys)[: most - len(found)]
    return found


def _parts(field: "Field[Any, Any]", place: Place | None, *, descends: bool) -> list[Q | None]:
    """Return which rows with a value are to be read, and which without one, which come last.

    None: no such row lies beyond the place.
    """
    is_nothing = Q(**{f"{field.name}__isnull": True}) if field.null else None
    known = ~is_nothing if is_nothing else Q()
    if place is None:
        return [known, is_nothing]
    further = "lt" if descends else "gt"
    beyond = Q(**{f"pk__{further}": place.key})
    if field.primary_key:
        return [beyond]
    if place.value is None:
        return [known if place.backwards else None, is_nothing and is_nothing & beyond]
    value = field.to_python(place.value)
    # Not "further, or equal and …" alone: the first condition is a range of the index.
    until = Q(**{f"{field.name}__{further}e": value})
    after = until & (Q(**{f"{field.name}__{further}": value}) | beyond)
    return [after, None if place.backwards else is_nothing]


def _link(
    request: Request, ordering: str, rows: list[Model], *, is_there: bool, backwards: bool = False
) -> str | None:
    if not is_there or not rows:
        return None
    (row,) = rows
    field = row._meta.get_field(ordering.removeprefix("-"))
    nothing = getattr(row, field.name) is None
    text = None if nothing else field.value_to_string(row)  # type: ignore[union-attr]  # a column
    cursor = Place(ordering, text, row.pk, backwards).to_text()
    return replace_query_param(request.build_absolute_uri(), CURSOR, cursor)

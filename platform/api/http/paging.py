"""Lists in pages that go on after the last row seen: rows that arrive shift none of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db.models import F, Field, Model, Q, QuerySet
from django.db.models.expressions import OrderBy
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
        self.request, self.count = request, queryset.count()
        size, ordering = _page_size(request), _ordering(request, view)
        text = request.query_params.get(CURSOR)
        place = None if text is None else Place.read(text, ordering)
        rows = list(_from(queryset, ordering, place)[: size + 1])
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
        size = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE_SIZE}
        orderings = {"type": "string", "enum": _orderings(view), "default": view.default_ordering}
        return [
            _parameter(CURSOR, "Where to go on: that of a page's `next` or `previous`."),
            _parameter("page_size", "Rows of a page.", size),
            _parameter("ordering", "With a leading `-` descending; nothing comes last.", orderings),
        ]


def in_order(queryset: QuerySet[Any], request: Request, view: Any) -> QuerySet[Any]:
    """Return all rows of a list in the order that is asked for, equal ones by their keys."""
    return _from(queryset, _ordering(request, view), None)


def _parameter(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    kind = schema or {"type": "string"}
    return {"name": name, "in": "query", "description": description, "schema": kind}


def _page_size(request: Request) -> int:
    text = request.query_params.get("page_size", str(PAGE_SIZE))
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


def _from(queryset: QuerySet[Any], ordering: str, place: Place | None) -> QuerySet[Any]:
    """Return the rows after a place; those before it, from it on, where the place says so."""
    descends, name = ordering.startswith("-"), ordering.removeprefix("-")
    field = queryset.model._meta.get_field(name)
    backwards = place is not None and place.backwards
    if place is not None:
        queryset = queryset.filter(_beyond(field, place, descends=descends != backwards))
    keys = [F(name), F("pk")] if name != "id" else [F("pk")]
    return queryset.order_by(*_order(field, keys, descends=descends, backwards=backwards))


def _order(
    field: "Field[Any, Any]", keys: Sequence[F], *, descends: bool, backwards: bool
) -> list[OrderBy]:
    """Return the order of keys; nothing comes last, read backwards first."""
    nothing = {"nulls_first" if backwards else "nulls_last": True} if field.null else {}
    first, *others = keys
    descends = descends != backwards
    ordered = [OrderBy(first, descending=descends, **nothing)]
    return ordered + [OrderBy(key, descending=descends) for key in others]


def _beyond(field: "Field[Any, Any]", place: Place, *, descends: bool) -> Q:
    """Return which rows lie beyond a place, reading on in this direction."""
    further = "lt" if descends else "gt"
    after_key = Q(**{f"pk__{further}": place.key})
    if field.primary_key:
        return after_key
    is_nothing = Q(**{f"{field.name}__isnull": True})
    if place.value is None:
        return is_nothing & after_key | ~is_nothing if place.backwards else is_nothing & after_key
    value = field.to_python(place.value)
    found = Q(**{f"{field.name}__{further}": value}) | Q(**{field.name: value}) & after_key
    return found | is_nothing if field.null and not place.backwards else found


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

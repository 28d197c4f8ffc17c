"""Rows of others on a page of the admin that are only read: a table, without a form for each."""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.utils import display_for_field, label_for_field, lookup_field
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from unfold.admin import TabularInline


class ReadRows(BaseInlineFormSet):  # type: ignore[type-arg]  # of any model
    """The rows, whose cells the page writes as they are."""

    shown_by: "ReadInline"

    def names(self) -> list[str]:
        """Return the head of each column."""
        of = self.shown_by
        return [str(label_for_field(field, of.model, model_admin=of)) for field in of.fields]

    def rows(self) -> Iterator[list[tuple[str, Any]]]:
        """Yield each row as the names of its columns and what stands there."""
        names = self.names()
        for row in self.get_queryset():
            cells = (cell(field, row, self.shown_by) for field in self.shown_by.fields)
            yield list(zip(names, cells, strict=True))


def cell(name: str, row: Any, shown_by: Any) -> Any:
    """Return what a field of a row, or a column of its own, says; a dash for nothing."""
    field, _, value = lookup_field(name, row, shown_by)
    if value is None or value == "":
        return "–"
    return value if field is None else display_for_field(value, field, "–")


class ReadInline(TabularInline):  # type: ignore[misc]  # unfold is untyped
    """Rows that nobody adds, changes or deletes."""

    template = "admin/jobs/rows.html"
    extra = 0
    can_delete = False

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> type[ReadRows]:
        """Return the class of the rows, which knows the columns."""
        made: type[ReadRows] = super().get_formset(request, obj, formset=ReadRows, **kwargs)
        made.shown_by = self
        return made

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

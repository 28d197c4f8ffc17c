"""Search in long lists of the admin: first among the few things that rows belong to."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.text import smart_split, unescape_string_literal

from accounts.admin import UNANSWERABLE

MOST_FOUND = 500  # rows of one search: 20 pages


class NarrowedSearch:
    """Find by the search fields of a list, as Django does, without a look at every row.

    What the rows belong to is searched first, then their rows are found by index. Of a search that
    finds more than `MOST_FOUND` rows the newest of these are listed, and the page says so.
    """

    narrowed_by: ClassVar[list[str]] = []  # from a row to what it belongs to: "sample_set__entry"

    def get_search_results(
        self, request: HttpRequest, rows: QuerySet[Any], text: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that are found, and that none is there twice.

        Raises:
            IncorrectLookupParameters: if the database cannot answer; the list is then shown whole.
        """
        if not text:
            return rows, False
        try:
            with transaction.atomic():  # what follows may ask the database again
                return self._found(request, rows, text), False
        except UNANSWERABLE as error:
            raise IncorrectLookupParameters(error) from error

    def _found(self, request: HttpRequest, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        admin: Any = super()
        unordered = rows.filter(*map(self._says, words_of(text))).order_by()
        found = list(unordered.values_list("pk", flat=True)[: MOST_FOUND + 1])
        if len(found) > MOST_FOUND:  # so a walk over the newest meets them soon
            whole, _ = admin.get_search_results(request, rows, text)
            found = list(whole.order_by("-pk").values_list("pk", flat=True)[:MOST_FOUND])
        return rows.filter(pk__in=found)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, and say if not all that was found is on it."""
        admin: Any = super()
        changes = admin.get_changelist_instance(request)
        if request.method == "GET" and changes.query and changes.result_count >= MOST_FOUND:
            told = f"The newest {MOST_FOUND:,} that match are listed: search for more words."
            messages.info(request, told)
        return changes

    def _says(self, word: str) -> Q:
        """Return that a row, or something that it belongs to, says the word."""
        this: Any = self
        said = Q(pk__in=[])
        for path, fields in self._fields_by_path().items():
            if not path:
                said |= any_says(fields, word)
                continue
            others = reached(this.model, path)._default_manager.filter(any_says(fields, word))
            if others.exists():  # else it would cost a look at every row
                said |= Q(**{f"{path}__in": others.values("pk")})
        return said

    def _fields_by_path(self) -> dict[str, list[str]]:
        this: Any = self
        fields: dict[str, list[str]] = {}
        for name in this.search_fields:
            path = next((path for path in self.narrowed_by if name.startswith(f"{path}__")), "")
            fields.setdefault(path, []).append(name.removeprefix(f"{path}__"))
        return fields


def words_of(text: str) -> list[str]:
    """Return the words of a search; what is in quotes is one word."""
    quoted = (word[:1] in "\"'" and word[:1] == word[-1:] for word in smart_split(text))
    return [
        unescape_string_literal(word) if whole else word
        for word, whole in zip(smart_split(text), quoted, strict=True)
    ]


def any_says(fields: Iterable[str], word: str) -> Q:
    return Q(*((f"{name}__icontains", word) for name in fields), _connector=Q.OR)


def reached(model: type[Model], path: str) -> type[Model]:
    """Return the model at the end of a path of foreign keys, such as `sample_set__entry`."""
    for name in path.split("__"):
        related: Any = model._meta.get_field(name).related_model
        model = related
    return model

"""What may stand in an address after the question mark: anything else is refused by its name."""

from collections.abc import Collection
from typing import Any

from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.viewsets import GenericViewSet

from generators.specs.options import unknown_fields


def check_query(view: GenericViewSet[Any]) -> None:
    """Refuse parameters that the view does not read, and those that are there twice.

    Raises:
        ValidationError: with each of them, and the known ones.
    """
    refuse_others(
        view.request.query_params,
        known_parameters(view),
        getattr(view, "also_reads", ()),
        getattr(view, "reads_several", ()),
    )


def refuse_others(
    given: QueryDict,
    known: Collection[str],
    ends: tuple[str, ...] = (),
    several: Collection[str] = (),
) -> None:
    """Refuse parameters that are not known and have none of the ends, and those that are there twice.

    Those in ``several`` may be there more than once.

    Raises:
        ValidationError: with each of them, and the known ones.
    """
    fixed = [name for name in given if not name.endswith(ends)]
    errors = {
        name[:100]: f"unknown parameter{text.removeprefix('unknown field')}"
        for name, text in unknown_fields(fixed, known).items()
    }
    for name in known:
        if name not in several and len(given.getlist(name)) > 1:
            errors[name] = f"expected once, got {len(given.getlist(name))} times"
    if errors:
        raise ValidationError({"errors": errors})


def known_parameters(view: GenericViewSet[Any]) -> list[str]:
    """Return the names of the parameters that the view's action reads, those OpenAPI describes."""
    found = {"format", *_declared(view)}
    if view.action == "list":
        found |= _of_list(view)
    return sorted(found)


def _declared(view: GenericViewSet[Any]) -> set[str]:
    """Return what `extend_schema(parameters=…)` says of the action."""
    kind = getattr(getattr(view, view.action or "", None), "kwargs", {}).get("schema")
    if kind is None:
        return set()
    schema = kind()
    schema.view, schema.method = view, str(view.request.method)
    parameters = schema.get_override_parameters()
    return {p.name for p in parameters if p.location == OpenApiParameter.QUERY}


def _of_list(view: GenericViewSet[Any]) -> set[str]:
    """Return the filters of a list and what its pages are asked for with."""
    found = set()
    backends: Any = view.filter_backends  # all of them django-filter's
    for backend in backends:
        filters = backend().get_filterset_class(view, view.get_queryset())
        found |= set(filters.base_filters) if filters else set()
    if view.paginator is not None:
        found |= {p["name"] for p in view.paginator.get_schema_operation_parameters(view)}
    return found

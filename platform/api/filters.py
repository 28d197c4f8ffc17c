"""Query parameters that narrow lists."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import django_filters
from django.db.models import Model, QuerySet
from django.utils.functional import lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError

from catalog.models import Protocol
from experiments import progress
from experiments.models import Evaluation, Experiment, Run, SampleSet
from experiments.tags.asking import tagged
from experiments.tags.words import LONGEST
from generators.specs import registry
from jobs.models import Status

M = TypeVar("M", bound=Model)
Choices = Sequence[tuple[str, str]] | Callable[[], Sequence[tuple[str, str]]]
SHORTEST, WHOLE = 8, 64  # characters of a fingerprint: of a beginning, of all of it
LARGEST = 2**63 - 1  # what a key can be


def algorithms() -> list[tuple[str, str]]:
    return [(name, name) for name in registry.algorithm_names()]


def whole_number(field_name: str) -> Any:
    bounds = {"type": "integer", "minimum": 0, "maximum": LARGEST}
    return extend_schema_field(bounds)(
        django_filters.NumberFilter(
            field_name=field_name, min_value=0, max_value=LARGEST, decimal_places=0
        )
    )


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]  # untyped
    """One of a few words; any other is refused with all of them."""

    def __init__(self, *, choices: Choices, **options: Any) -> None:
        said = {"invalid_choice": lazy(_expected, str)(choices)}
        super().__init__(choices=choices, error_messages=said, **options)


def _expected(choices: Choices) -> str:
    found = choices() if callable(choices) else choices
    return f"expected one of {', '.join(word for word, _ in found)}, got %(value)s"


@extend_schema_field({"type": "string", "maxLength": LONGEST})
class TagFilter(django_filters.CharFilter):  # type: ignore[misc]  # untyped
    """What belongs to experiments of a tag; `field_name` leads to the experiment."""

    def __init__(self, field_name: str) -> None:
        told = "a word of the experiment"
        super().__init__(field_name=field_name, max_length=LONGEST, help_text=told)

    def filter(self, rows: QuerySet[M], value: str) -> QuerySet[M]:
        found = tagged(value).values("experiment") if value else None
        return rows if found is None else rows.filter(**{f"{self.field_name}__in": found})


class ProtocolIs(django_filters.CharFilter):  # type: ignore[misc]  # untyped
    """A protocol by its fingerprint, or a beginning of it that is of one alone."""

    def __init__(self, field_name: str) -> None:
        told = f"its fingerprint, or a beginning of {SHORTEST} characters or more"
        super().__init__(field_name=field_name, help_text=told)

    def filter(self, rows: QuerySet[M], value: str) -> QuerySet[M]:
        if not SHORTEST <= len(value) < WHOLE:
            return self._of(rows, value)
        begun = Protocol.objects.filter(fingerprint__startswith=value)
        whole = list(begun.values_list("fingerprint", flat=True)[:2])
        if len(whole) > 1:
            raise ValidationError(
                {"errors": {"protocol": f"several fingerprints begin with {value}"}}
            )
        return self._of(rows, whole[0] if whole else value)

    def _of(self, rows: QuerySet[M], fingerprint: str) -> QuerySet[M]:
        found: QuerySet[M] = super().filter(rows, fingerprint)
        return found


class ExperimentFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(
        choices=[(s.value, s.value) for s in Status if s != Status.CANCELLING],
        method="with_status",
    )
    dataset = django_filters.CharFilter(field_name="dataset__slug")
    protocol = ProtocolIs(field_name="protocols__fingerprint")
    tag = TagFilter("pk")
    algorithm = ChoiceFilter(field_name="entries__algorithm", choices=algorithms, distinct=True)

    class Meta:
        model = Experiment
        fields: list[str] = []

    def with_status(
        self, rows: QuerySet[Experiment], name: str, value: str
    ) -> QuerySet[Experiment]:
        return progress.with_status(rows, value)


class RunFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(choices=Status.choices)
    experiment = whole_number("entry__experiment")
    entry = whole_number("entry")
    dataset = django_filters.CharFilter(field_name="entry__experiment__dataset__slug")
    algorithm = ChoiceFilter(field_name="entry__algorithm", choices=algorithms)
    tag = TagFilter("entry__experiment")
    seed = whole_number("seed")

    class Meta:
        model = Run
        fields: list[str] = []


class SampleSetFilter(RunFilter):
    seed = whole_number("run__seed")
    run = whole_number("run")

    class Meta:
        model = SampleSet
        fields: list[str] = []


class EvaluationFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(choices=Status.choices)
    experiment = whole_number("sample_set__entry__experiment")
    entry = whole_number("sample_set__entry")
    dataset = django_filters.CharFilter(field_name="protocol__dataset__slug")
    protocol = ProtocolIs(field_name="protocol__fingerprint")
    algorithm = ChoiceFilter(field_name="sample_set__entry__algorithm", choices=algorithms)
    tag = TagFilter("sample_set__entry__experiment")
    seed = whole_number("sample_set__run__seed")
    run = whole_number("sample_set__run")
    sample_set = whole_number("sample_set")

    class Meta:
        model = Evaluation
        fields: list[str] = []


class ProtocolFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    dataset = django_filters.CharFilter(field_name="dataset__slug")
    extractor = django_filters.CharFilter()

    class Meta:
        model = Protocol
        fields: list[str] = []

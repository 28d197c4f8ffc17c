"""Lists that can be had whole, as files, and the list of loss curves."""

from typing import Any, ClassVar

import django_filters
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request

from api.exports.jobs import LOSSES
from api.exports.tables import Table
from api.filters import ChoiceFilter, TagFilter, algorithms, whole_number
from api.http.files import RENDERERS, file_answer, wants_file
from api.http.paging import CURSOR, in_order
from api.resources import Resource
from api.serializers import LossPointSerializer
from experiments.models import LossPoint

OF_PAGES = (CURSOR, "page_size", "page")
SAID = ("images_seen", "wall_seconds", "losses", "run__seed", "run__entry__experiment_id")


class Exported(ListModelMixin, Resource):
    """A list with the same filters and order as CSV, JSON Lines or Parquet, complete."""

    table: ClassVar[Table]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        if not wants_file(request):
            return super().list(request, *args, **kwargs)
        if paged := [name for name in OF_PAGES if name in request.query_params]:
            raise ValidationError(dict.fromkeys(paged, "an export has no pages: it has all rows"))
        found = in_order(self.filter_queryset(self.get_queryset()), request, self)
        return file_answer(request, self.table.name, self.table.fields, self.table.chunks(found))

    def get_renderers(self) -> Any:
        if self.action != "list":
            return super().get_renderers()
        return [renderer() for renderer in RENDERERS]


class LossSerializer(LossPointSerializer):
    """A point of a loss curve, and whose it is."""

    experiment = serializers.IntegerField(source="run.entry.experiment_id", read_only=True)
    entry = serializers.IntegerField(source="run.entry_id", read_only=True)
    run = serializers.IntegerField(source="run_id", read_only=True)
    seed = serializers.IntegerField(source="run.seed", read_only=True)

    class Meta(LossPointSerializer.Meta):
        fields = ["id", "experiment", "entry", "run", "seed", *LossPointSerializer.Meta.fields]


class LossFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    run = whole_number("run")
    experiment = whole_number("run__entry__experiment")
    entry = whole_number("run__entry")
    seed = whole_number("run__seed")
    tag = TagFilter("run__entry__experiment")
    dataset = django_filters.CharFilter(field_name="run__entry__experiment__dataset__slug")
    algorithm = ChoiceFilter(field_name="run__entry__algorithm", choices=algorithms)

    class Meta:
        model = LossPoint
        fields: list[str] = []


class LossViewSet(Exported):
    """Points of loss curves; as a file a row for each of a point's losses."""

    queryset = LossPoint.objects.select_related("run__entry").only(*SAID).order_by("pk")
    serializer_class = LossSerializer
    default_ordering = "id"
    filterset_class = LossFilter
    table = LOSSES

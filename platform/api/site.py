"""What the site itself does, over REST: its workers and every line of every job's timeline."""

from typing import Any

import django_filters
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from api.exports.jobs import EVENTS
from api.exports.lists import Exported
from api.filters import whole_number
from api.resources import Resource
from api.serializers import JobEventSerializer
from experiments.overview import EXPERIMENT_OF
from jobs.models import JobEvent, Queue, Worker

KEPT = [(kind.type_name(), kind.type_name()) for kind in EXPERIMENT_OF]  # of jobs with a timeline


class WorkerSerializer(serializers.ModelSerializer[Worker]):
    url = serializers.HyperlinkedIdentityField(view_name="api:worker-detail")
    queues = serializers.ListField(child=serializers.ChoiceField(choices=Queue.choices))
    is_alive = serializers.BooleanField(read_only=True, help_text="seen within two beats")
    takes_jobs = serializers.BooleanField(
        read_only=True, help_text="alive, and not told to drain or stop"
    )

    class Meta:
        model = Worker
        fields = [
            "id",
            "url",
            "name",
            "host",
            "queues",
            "device",
            "memory_bytes",
            "version",
            "started_at",
            "last_seen",
            "order",
            "is_alive",
            "takes_jobs",
        ]
        extra_kwargs = {
            "memory_bytes": {"help_text": "of the device"},
            "order": {"help_text": "what it was told to do; empty: to take jobs"},
        }


class WorkerViewSet(Resource, ReadOnlyModelViewSet[Worker]):
    """Processes that do jobs, those that ended among them."""

    queryset = Worker.objects.order_by("-pk")
    serializer_class = WorkerSerializer
    orderings = ("id", "name", "last_seen")
    filter_backends = ()


class EventSerializer(JobEventSerializer):
    """A line of a job's timeline, and whose it is."""

    class Meta(JobEventSerializer.Meta):
        fields = ["id", "job_type", "job_id", *JobEventSerializer.Meta.fields]


class EventFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    job_type = django_filters.ChoiceFilter(choices=KEPT)
    job_id = whole_number("job_id")
    kind = django_filters.ChoiceFilter(choices=JobEvent.Kind.choices)

    class Meta:
        model = JobEvent
        fields: list[str] = []


class EventViewSet(Exported):
    """What happened to jobs, the newest first: runs, sample sets and evaluations."""

    queryset = JobEvent.objects.filter(job_type__in=dict(KEPT)).order_by("-pk")
    serializer_class: type[Any] = EventSerializer
    filterset_class = EventFilter
    table = EVENTS

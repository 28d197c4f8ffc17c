"""What the site itself does, over REST: workers, queues, timelines of jobs, who did what."""

from typing import Any

import django_filters
from django.db.models import Count, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.models import AuditEvent
from accounts.permissions import is_admin
from api.exports.jobs import EVENTS
from api.exports.lists import Exported
from api.filters import ChoiceFilter, whole_number
from api.resources import Resource
from api.schema import PrivateSchema
from api.serializers import JobEventSerializer
from experiments import overview
from experiments.lifetime.waiting import Waiting, first_waiting
from experiments.uploads.models import Intake
from jobs import tally
from jobs.models import Job, JobEvent, Pause, Queue, Worker

MOST_SHOWN = 50  # jobs of a queue
PRIVATE = [Intake.type_name()]  # what was handed in is for who did
BRIEF = [
    name
    for kind in Job.kinds()
    if not kind.keeps_timeline and (name := kind.type_name()) not in PRIVATE
]
SHOWN = [(name, name) for kind in Job.kinds() if (name := kind.type_name()) not in PRIVATE]


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
    job_type = ChoiceFilter(choices=SHOWN)
    job_id = whole_number("job_id")
    kind = ChoiceFilter(choices=JobEvent.Kind.choices)

    class Meta:
        model = JobEvent
        fields: list[str] = []


class EventViewSet(Exported):
    """What happened to jobs, the newest first: runs, sample sets, evaluations, questions, viewings."""

    queryset = JobEvent.objects.exclude(job_type__in=PRIVATE).order_by("-pk")  # not by job_type
    serializer_class: type[Any] = EventSerializer
    filterset_class = EventFilter
    table = EVENTS

    def count_rows(self, lines: QuerySet[JobEvent]) -> int:
        """Return how many lines there are: of a kind, or of all, they are counted already.

        Those of jobs that are deleted some day are few, and counted as they are.
        """
        asked = self.request.query_params
        if asked.get("job_type") or asked.get("job_id"):
            return lines.count()
        kind = asked.get("kind", "")
        # By kind, not of one: SQLite would look at all lines of that kind.
        found = JobEvent.objects.filter(job_type__in=BRIEF).order_by().values_list("kind")
        brief = dict[str, int](found.annotate(number=Count("pk")))
        number = brief.get(kind, 0) if kind else sum(brief.values())
        return tally.number_there(kind) + number


class WaitingSerializer(serializers.Serializer[Waiting]):
    """A queued job, and why it is not running yet."""

    job_type = serializers.CharField(source="work.job.type_name")
    job_id = serializers.IntegerField(source="work.job.pk")
    experiment = serializers.IntegerField(
        source="work.entry.experiment_id", allow_null=True, help_text="null: of none yet"
    )
    what = serializers.SerializerMethodField(help_text="in words")
    queued_at = serializers.DateTimeField(source="work.job.queued_at")
    memory_gb = serializers.IntegerField(source="work.job.memory_gb")
    reason = serializers.CharField()

    def get_what(self, waiting: Waiting) -> str:
        work = waiting.work
        return f"{work.verb} {work.entry.label}, {work.what}"


class QueueSerializer(serializers.Serializer[Any]):
    """What waits in a queue."""

    queue = serializers.ChoiceField(choices=Queue.choices)
    paused = serializers.CharField(allow_blank=True, help_text="since when, by whom; empty: not")
    workers = serializers.IntegerField(help_text="that are online and take jobs of it")
    waiting = serializers.IntegerField(help_text="queued jobs")
    first = WaitingSerializer(many=True, help_text=f"the next {MOST_SHOWN} to be taken, in order")


class QueueViewSet(Resource):
    """What waits for workers, and why."""

    queryset = Worker.objects.none()
    serializer_class = QueueSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(responses=QueueSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Return each queue with the first of its jobs."""
        pause, waiting = Pause.objects.first(), overview.queued_by_queue()
        taking = [worker for worker in Worker.objects.all() if worker.takes_jobs]
        rows = [
            {
                "queue": queue,
                "paused": str(pause or ""),
                "workers": sum(queue in worker.queues for worker in taking),
                "waiting": waiting[queue],
                "first": first_waiting(queue, MOST_SHOWN),
            }
            for queue in Queue.values
        ]
        return Response(QueueSerializer(rows, many=True).data)


class AdminsRead(BasePermission):
    """Admins, as in the admin."""

    message = "Only admins may see who did what."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_admin(request.user)


class AuditSerializer(serializers.ModelSerializer[AuditEvent]):
    actor = serializers.CharField(source="actor_name", help_text="also of an account that is gone")

    class Meta:
        model = AuditEvent
        fields = ["id", "at", "actor", "action", "kind", "object_id", "object_name", "detail"]


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    actor = django_filters.CharFilter(field_name="actor_name")
    action = ChoiceFilter(choices=AuditEvent.Action.choices)
    kind = django_filters.CharFilter()
    object_id = django_filters.CharFilter()

    class Meta:
        model = AuditEvent
        fields: list[str] = []


class AuditViewSet(ListModelMixin, Resource):
    """Who did what, the newest first; for admins."""

    schema = PrivateSchema()
    permission_classes = (AdminsRead,)
    queryset = AuditEvent.objects.order_by("-pk")
    serializer_class: type[Any] = AuditSerializer
    filterset_class = AuditFilter

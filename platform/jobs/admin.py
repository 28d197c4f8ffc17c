"""What all kinds of jobs show in the admin, and the workers that do them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.utils import display_for_label

from accounts import audit
from accounts.admin import FrozenAdmin
from accounts.models import AuditEvent
from jobs.admin_search import NarrowedSearch
from jobs.models import ACTIVE, Job, Order, Status, Worker
from jobs.waiting import reasons

COLOURS = {
    Status.QUEUED.value: "primary",
    Status.RUNNING.value: "info",
    Status.CANCELLING.value: "warning",
    Status.COMPLETED.value: "success",
    Status.FAILED.value: "danger",
    Status.CANCELLED.value: "warning",
}

Row = TypeVar("Row", bound=Model)
Told = TypeVar("Told")


@cache
def coloured(status: str) -> SafeString:
    """Return a status as the theme's label; it writes each by a template."""
    return SafeString(display_for_label(status, "–", COLOURS))


def once(told: Callable[[Any, Row], Told]) -> Callable[[Any, Row], Told]:
    """Return a column that is made once for a row; the theme asks up to six times for it."""
    name = told.__qualname__

    @wraps(told)
    def kept(of: Any, row: Row) -> Told:
        known: dict[str, Told] = vars(row).setdefault("_columns", {})  # no name of a field
        if name not in known:
            known[name] = told(of, row)
        return known[name]

    return kept


def admin_link(row: Model) -> SafeString:
    """Return a link to the row's page in the admin."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[row.pk]), row)


def as_table(value: dict[str, Any]) -> SafeString:
    """Return plain data as a table of names and values, those within others by dotted names."""
    return render_to_string("admin/jobs/facts.html", {"rows": list(flat(value))})


def flat(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the value of all that is said."""
    for name, one in value.items():
        if isinstance(one, dict) and one:
            yield from flat(one, f"{before}{name}.")
        else:
            text = ", ".join(map(str, one)) if isinstance(one, list) else one
            yield f"{before}{name}", "–" if text in (None, "") else str(text)


class OperatedAdmin(FrozenAdmin):
    """Rows that some accounts may act upon."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the account may cancel and retry."""
        name = f"{self.opts.app_label}.change_{self.opts.model_name}"
        return bool(request.user.has_perm(name))


class OnlyIndexed:
    """A list that is put in order by the columns it offers that for, whatever an address says."""

    sortable_by: Sequence[str]

    def get_ordering_field(self, field_name: str) -> Any:
        changes: Any = super()
        return changes.get_ordering_field(field_name) if field_name in self.sortable_by else None


class JobAdmin(NarrowedSearch, OperatedAdmin):
    """One kind of job: status, where, how far."""

    experiment_path: ClassVar[str]  # from a job to its experiment, "entry.experiment"

    list_display: ClassVar[list[str]] = [
        "__str__",
        "experiment",
        "chip",
        "why",
        "where",
        "how_far",
        "attempt",
        "queued_at",
        "started_at",
        "finished_at",
    ]
    list_filter: ClassVar[list[str]] = ["status", "cause", "queue"]
    ordering: ClassVar[list[str]] = ["-pk"]  # the newest first
    sortable_by: ClassVar[list[str]] = ["chip", "queued_at", "started_at", "finished_at"]  # indexed
    job_fields: ClassVar = [
        "experiment",
        "chip",
        "why",
        "where",
        "how_far",
        "attempt",
        "restarts",
        "queue",
        "queued_at",
        "started_at",
        "heartbeat_at",
        "finished_at",
        "traceback",
        "timeline",
    ]
    job_readonly_fields: ClassVar = [
        "experiment",
        "chip",
        "why",
        "where",
        "how_far",
        "traceback",
        "timeline",
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        """Return the class of the list."""
        return type("Changes", (OnlyIndexed, super().get_changelist(request, **kwargs)), {})

    def percent_of(self, job: Any) -> str:
        """Return how far the job is, in words."""
        return f"{job.percent} %"

    @admin.display(description="experiment")
    def experiment(self, job: Job) -> SafeString:
        return admin_link(attrgetter(self.experiment_path)(job))

    @admin.display(description="status", ordering="status")
    def chip(self, job: Job) -> SafeString:
        return coloured(str(job.status))

    @admin.display(description="reason")
    @once
    def why(self, job: Job) -> str:
        told: str | None = vars(job).get("waits")  # what the list has asked already
        return job.reason or (job.waiting_for if told is None else told)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list with why jobs wait, asked once for all of the page."""
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        waits = reasons(changes.result_list)
        for job in changes.result_list:
            vars(job)["waits"] = waits.get(job.pk, "")
        return changes

    @admin.display(description="where")
    def where(self, job: Job) -> str | SafeString:
        return admin_link(job.worker) if job.worker else "–"

    @admin.display(description="how far")
    def how_far(self, job: Job) -> str:
        return self.percent_of(job)

    @admin.display(description="error")
    def traceback(self, job: Job) -> str | SafeString:
        return format_html("<pre>{}</pre>", job.error) if job.error else "–"

    @admin.display(description="timeline")
    @once
    def timeline(self, job: Job) -> str:
        return render_to_string("admin/jobs/timeline.html", {"events": job.events})


@admin.register(Worker)
class WorkerAdmin(OperatedAdmin):
    """Who works, on what, and since when."""

    list_display: ClassVar = [
        "name",
        "host",
        "queue_names",
        "device",
        "memory",
        "alive",
        "order",
        "current_jobs",
        "code",
        "last_seen",
    ]
    list_filter: ClassVar = ["host"]
    actions: ClassVar = ["drain", "stop", "take_jobs"]
    fields: ClassVar = [*list_display, "pid", "started_at"]
    readonly_fields: ClassVar = ["queue_names", "memory", "alive", "current_jobs", "code"]

    @admin.action(description="Drain: finish the job, take no more", permissions=["operate"])
    def drain(self, request: HttpRequest, workers: QuerySet[Worker]) -> None:
        self._order(request, workers, Order.DRAIN, "finish their jobs and take no more")

    @admin.action(description="Stop: hand the job back, end", permissions=["operate"])
    def stop(self, request: HttpRequest, workers: QuerySet[Worker]) -> None:
        self._order(request, workers, Order.STOP, "hand their jobs back and end")

    @admin.action(description="Take jobs again", permissions=["operate"])
    def take_jobs(self, request: HttpRequest, workers: QuerySet[Worker]) -> None:
        self._order(request, workers, "", "take jobs")

    @transaction.atomic
    def _order(
        self, request: HttpRequest, workers: QuerySet[Worker], order: str, text: str
    ) -> None:
        chosen = list(workers.exclude(order=Order.STOP))
        for worker in chosen:
            audit.record(request.user, AuditEvent.Action.ORDERED, worker, f"to {text}")
        count = workers.filter(pk__in=[worker.pk for worker in chosen]).update(order=order)
        self.message_user(request, f"{count} of {len(workers)} workers {text}.")

    @admin.display(description="queues")
    def queue_names(self, worker: Worker) -> str:
        return ", ".join(worker.queues)

    @admin.display(description="memory", ordering="memory_bytes")
    def memory(self, worker: Worker) -> str:
        return filesizeformat(worker.memory_bytes)

    @admin.display(description="alive", boolean=True)
    def alive(self, worker: Worker) -> bool:
        return worker.is_alive

    @admin.display(description="version", ordering="version")
    def code(self, worker: Worker) -> str:
        return worker.version if worker.is_current else f"{worker.version}, not the site's"

    @admin.display(description="current job")
    def current_jobs(self, worker: Worker) -> str | SafeString:
        held: list[Job] | None = vars(worker).get("held")  # what the list has asked already
        jobs = held_by([worker])[worker.pk] if held is None else held
        return format_html_join(", ", "{}", [(admin_link(job),) for job in jobs]) or "–"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list with what workers do, asked once for all of the page."""
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        held = held_by(changes.result_list)
        for worker in changes.result_list:
            vars(worker)["held"] = held[worker.pk]
        return changes


def held_by(workers: Sequence[Worker]) -> dict[int, list[Job]]:
    """Return the jobs that each of the workers holds, by the worker's key."""
    found: dict[int, list[Job]] = defaultdict(list)
    for kind in Job.kinds():
        held = kind._default_manager.filter(worker__in=workers, status__in=ACTIVE)
        if admin.site.is_registered(kind):
            loaded: Any = admin.site.get_model_admin(kind).list_select_related
            held = held.select_related(*loaded)
            for job in held:
                found[job.worker_id or 0].append(job)
    return found

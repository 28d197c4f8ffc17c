"""Experiments in the admin: submit them, see how far they are, cancel and retry."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import display

from accounts.models import User
from experiments import services
from experiments.forms import Submission
from experiments.models import Entry, Evaluation, Experiment, MetricValue, Run, SampleSet
from experiments.ownership import changeable
from experiments.progress import Progress, loaded, progress, with_status
from jobs.admin import COLOURS, JobAdmin, OperatedAdmin, admin_link, as_json
from jobs.models import Status


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(s.value, s.label) for s in Status if s != Status.CANCELLING]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(pk__in=with_status(self.value() or "")) if self.value() else rows


class EntryInline(TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The entries of an experiment, frozen."""

    model = Entry
    extra = 0
    can_delete = False
    hide_title = True
    fields: ClassVar = ["label", "kind", "algorithm", "sampler_names", "full_config"]
    readonly_fields: ClassVar = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="samplers")
    def sampler_names(self, entry: Entry) -> str:
        return ", ".join(entry.sampler_labels) or "–"

    @admin.display(description="configuration")
    def full_config(self, entry: Entry) -> str | SafeString:
        return as_json(entry.config) if entry.config else "–"


@admin.register(Experiment)
class ExperimentAdmin(OperatedAdmin):
    """Adding one is submitting it; afterwards it is frozen."""

    list_display: ClassVar = [
        "name",
        "chip",
        "how_far",
        "dataset",
        "protocol_names",
        "budget",
        "seed_count",
        "created_at",
    ]
    list_filter: ClassVar = [StatusFilter, "dataset"]
    search_fields: ClassVar = ["name"]
    actions: ClassVar = ["cancel_experiments", "retry_experiments"]
    fields: ClassVar = [
        "name",
        "chip",
        "how_far",
        "page",
        "dataset_link",
        "protocol_links",
        "budget",
        "seeds",
        "memory_gb",
        "created_by",
        "created_at",
        "jobs",
    ]
    readonly_fields: ClassVar = [
        "chip",
        "how_far",
        "page",
        "dataset_link",
        "protocol_links",
        "budget",
        "jobs",
    ]
    inlines: ClassVar = [EntryInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("experiments.add_experiment"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        return loaded(super().get_queryset(request))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list with the progress of all rows on the page, read at once."""
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        found = progress(changes.result_list)
        for experiment in changes.result_list:
            vars(experiment)["progress"] = found[experiment.pk]
        return changes

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form; submit it, or show it again with what is wrong at its field."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._form(request, Submission.empty(request.GET))
        submission = Submission.typed(request.POST)
        if {"add_entry", "remove_entry", "refill"} & request.POST.keys():
            return self._form(request, submission)
        experiment = submission.submit(cast(User, request.user))
        if experiment is None:
            return self._form(request, submission)
        self.log_addition(request, experiment, [{"added": {}}])
        self.message_user(request, f"{experiment.name} was submitted.", messages.SUCCESS)
        return redirect(experiment)

    def _form(self, request: HttpRequest, submission: Submission) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Submit an experiment",
            "opts": self.opts,
            "submission": submission,
            "list_address": reverse("admin:experiments_experiment_changelist"),
        }
        return TemplateResponse(request, "admin/experiments/experiment/submit.html", context)

    @display(description="status", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold's
    def chip(self, experiment: Experiment) -> str:
        return progress_of(experiment).status

    @admin.display(description="how far")
    def how_far(self, experiment: Experiment) -> str:
        return str(progress_of(experiment))

    @admin.display(description="protocols")
    def protocol_names(self, experiment: Experiment) -> str:
        return ", ".join(protocol.short for protocol in experiment.protocols.all())

    @admin.display(description="budget")
    def budget(self, experiment: Experiment) -> str:
        return experiment.budget

    @admin.display(description="seeds")
    def seed_count(self, experiment: Experiment) -> int:
        return len(experiment.seeds)

    @admin.display(description="page")
    def page(self, experiment: Experiment) -> SafeString:
        address = experiment.get_absolute_url()
        return format_html('<a href="{}">{}</a>', address, address)

    @admin.display(description="dataset")
    def dataset_link(self, experiment: Experiment) -> SafeString:
        return admin_link(experiment.dataset)

    @admin.display(description="protocols")
    def protocol_links(self, experiment: Experiment) -> SafeString:
        links = [(admin_link(protocol),) for protocol in experiment.protocols.all()]
        return format_html_join(", ", "{}", links)

    @admin.display(description="jobs")
    def jobs(self, experiment: Experiment) -> SafeString:
        lists = [
            ("run", "entry__experiment__id__exact", "Runs"),
            ("sampleset", "entry__experiment__id__exact", "Sample sets"),
            ("evaluation", "sample_set__entry__experiment__id__exact", "Evaluations"),
        ]
        links = [
            (reverse(f"admin:experiments_{name}_changelist"), path, experiment.pk, label)
            for name, path, label in lists
        ]
        return format_html_join(", ", '<a href="{}?{}={}">{}</a>', links)

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel_experiments(self, request: HttpRequest, rows: QuerySet[Experiment]) -> None:
        own, user = changeable(rows, request.user), request.user
        count = sum(services.cancel_experiment(experiment, user=user) for experiment in own)
        self._say(request, count, f"{count} jobs cancelled or asked to stop.")

    @admin.action(description="Retry", permissions=["operate"])
    def retry_experiments(self, request: HttpRequest, rows: QuerySet[Experiment]) -> None:
        own, user = changeable(rows, request.user), request.user
        count = sum(services.retry_experiment(experiment, user=user) for experiment in own)
        self._say(request, count, f"{count} jobs queued again.")

    def _say(self, request: HttpRequest, count: int, text: str) -> None:
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)


def progress_of(experiment: Experiment) -> Progress:
    """Return the progress that the list has read already, or read it."""
    found: Progress | None = vars(experiment).get("progress")
    return found or progress([experiment])[experiment.pk]


class ChangeableJobAdmin(JobAdmin):
    """Cancel and retry what belongs to the account, or to anybody for an admin."""

    actions: ClassVar = ["cancel_jobs", "retry_jobs"]

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel_jobs(self, request: HttpRequest, jobs: QuerySet[Any]) -> None:
        own, user = changeable(jobs, request.user), request.user
        count = sum(services.cancel_job(job, user=user) for job in own)
        text = f"{count} of {len(jobs)} cancelled or asked to stop; the others had finished"
        self._say(request, count, jobs, text)

    @admin.action(description="Retry", permissions=["operate"])
    def retry_jobs(self, request: HttpRequest, jobs: QuerySet[Any]) -> None:
        own, user = changeable(jobs, request.user), request.user
        count = sum(services.retry_job(job, user=user) for job in own)
        self._say(
            request, count, jobs, f"{count} of {len(jobs)} queued again; the others had not failed"
        )

    def _say(self, request: HttpRequest, count: int, jobs: QuerySet[Any], text: str) -> None:
        if count == len(jobs):
            self.message_user(request, text.partition(";")[0] + ".", messages.SUCCESS)
        else:
            self.message_user(request, text + " or are not yours.", messages.WARNING)


@admin.register(Run)
class RunAdmin(ChangeableJobAdmin):
    experiment_path = "entry.experiment"
    list_filter: ClassVar = [
        *JobAdmin.list_filter,
        "entry__algorithm",
        "seed",
        "entry__experiment",
    ]
    list_select_related: ClassVar = ["entry__experiment", "worker"]
    search_fields: ClassVar = ["entry__label", "entry__experiment__name"]
    fields: ClassVar = [
        "entry",
        "seed",
        *JobAdmin.job_fields,
        "device_seconds",
        "parameters",
        "skipped_steps",
        "latest_losses",
        "machine",
    ]
    readonly_fields: ClassVar = [
        *JobAdmin.job_readonly_fields,
        "latest_losses",
        "machine",
    ]

    def percent_of(self, job: Run) -> str:
        text = f"{job.percent} %, {job.images_seen:,} images seen"
        return f"{text}, {job.images_per_second:,.0f} images/s" if job.images_per_second else text

    @admin.display(description="losses")
    def latest_losses(self, run: Run) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in run.losses.items()) or "–"

    @admin.display(description="environment")
    def machine(self, run: Run) -> str | SafeString:
        return as_json(run.environment) if run.environment else "–"


@admin.register(SampleSet)
class SampleSetAdmin(ChangeableJobAdmin):
    experiment_path = "entry.experiment"
    list_filter: ClassVar = [*JobAdmin.list_filter, "entry__algorithm", "entry__experiment"]
    list_select_related: ClassVar = ["entry__experiment", "run__entry", "worker"]
    search_fields: ClassVar = ["entry__label", "entry__experiment__name", "sampler_label"]
    fields: ClassVar = [
        "training",
        "sampler_label",
        "settings",
        *JobAdmin.job_fields,
        "count",
        "first_seed",
        "nfe",
        "latency_seconds",
        "latency_p95_seconds",
        "batch_size",
        "peak_memory_bytes",
        "sha256",
    ]
    readonly_fields: ClassVar = [
        *JobAdmin.job_readonly_fields,
        "training",
        "settings",
    ]

    def percent_of(self, job: SampleSet) -> str:
        text = f"{job.percent} %, {job.drawn:,} of {job.count:,} images"
        return f"{text}, {job.images_per_second:,.0f} images/s" if job.images_per_second else text

    @admin.display(description="run")
    def training(self, sample_set: SampleSet) -> str | SafeString:
        return admin_link(sample_set.run) if sample_set.run else "real images, no run"

    @admin.display(description="sampler")
    def settings(self, sample_set: SampleSet) -> SafeString:
        return as_json(sample_set.sampler)


class ValueInline(TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The numbers of an evaluation."""

    model = MetricValue
    extra = 0
    can_delete = False
    hide_title = True
    fields: ClassVar = [
        "name",
        "value",
        "bias_corrected",
        "standard_error",
        "low",
        "high",
        "reason",
    ]
    readonly_fields: ClassVar = ["name"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="metric")
    def name(self, value: MetricValue) -> str:
        return value.evaluation.protocol.metric_label(value.metric)


@admin.register(Evaluation)
class EvaluationAdmin(ChangeableJobAdmin):
    experiment_path = "sample_set.entry.experiment"
    list_filter: ClassVar = [
        *JobAdmin.list_filter,
        "protocol",
        "sample_set__entry__algorithm",
        "sample_set__entry__experiment",
    ]
    list_select_related: ClassVar = [
        "protocol",
        "sample_set__entry__experiment",
        "sample_set__run__entry",
        "worker",
    ]
    search_fields: ClassVar = [
        "sample_set__entry__label",
        "sample_set__entry__experiment__name",
        "protocol__fingerprint",
    ]
    fields: ClassVar = ["samples", "measured_by", *JobAdmin.job_fields]
    readonly_fields: ClassVar = [
        *JobAdmin.job_readonly_fields,
        "samples",
        "measured_by",
    ]
    inlines: ClassVar = [ValueInline]

    def percent_of(self, job: Evaluation) -> str:
        return f"{job.percent} %, {job.step}" if job.step else f"{job.percent} %"

    @admin.display(description="sample set")
    def samples(self, evaluation: Evaluation) -> SafeString:
        return admin_link(evaluation.sample_set)

    @admin.display(description="protocol")
    def measured_by(self, evaluation: Evaluation) -> SafeString:
        return admin_link(evaluation.protocol)

"""Runs, sample sets and evaluations in the admin: how far they are, cancel and retry."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from experiments import services
from experiments.models import Evaluation, MetricValue, Question, Run, SampleSet, Viewing
from experiments.ownership import changeable
from experiments.pages.losses import words_of
from jobs.admin import JobAdmin, admin_link, as_table, once
from jobs.admin_rows import ReadInline


class ChangeableJobAdmin(JobAdmin):
    """Cancel and retry what belongs to the account, or to anybody for an admin."""

    actions: ClassVar = ["cancel_jobs", "retry_jobs"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether a list may be narrowed so: also to an experiment or a worker, of which there are many."""
        paths = (f"{self.experiment_path.replace('.', '__')}__id__exact", "worker__id__exact")
        return lookup in paths or bool(super().lookup_allowed(lookup, value, request))

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
    ]
    list_select_related: ClassVar = ["entry__experiment", "worker"]
    search_fields: ClassVar = ["entry__label", "entry__experiment__name"]
    narrowed_by: ClassVar = ["entry"]
    fields: ClassVar = [
        "entry",
        "seed",
        *JobAdmin.job_fields,
        "device_time",
        "weights",
        "skipped_steps",
        "latest_losses",
        "machine",
    ]
    readonly_fields: ClassVar = [
        *JobAdmin.job_readonly_fields,
        "device_time",
        "weights",
        "latest_losses",
        "machine",
    ]

    def percent_of(self, job: Run) -> str:
        text = f"{job.percent} %, {job.images_seen:,} images seen"
        return f"{text}, {job.images_per_second:,.0f} images/s" if job.images_per_second else text

    @admin.display(description="device time")
    def device_time(self, run: Run) -> str:
        return f"{run.device_seconds:,.1f} s"

    @admin.display(description="parameters")
    def weights(self, run: Run) -> str:
        return "–" if run.parameters is None else f"{run.parameters:,}"

    @admin.display(description="losses")
    @once
    def latest_losses(self, run: Run) -> str:
        return "; ".join(f"{words_of(name)} {loss:.4g}" for name, loss in run.losses.items()) or "–"

    @admin.display(description="environment")
    @once
    def machine(self, run: Run) -> str | SafeString:
        return as_table(run.environment) if run.environment else "–"


@admin.register(SampleSet)
class SampleSetAdmin(ChangeableJobAdmin):
    experiment_path = "entry.experiment"
    list_filter: ClassVar = [*JobAdmin.list_filter, "entry__algorithm"]
    list_select_related: ClassVar = ["entry__experiment", "run__entry", "worker"]
    search_fields: ClassVar = ["entry__label", "entry__experiment__name", "sampler_label"]
    narrowed_by: ClassVar = ["entry"]
    fields: ClassVar = [
        "training",
        "sampler_label",
        "settings",
        *JobAdmin.job_fields,
        "source",
        "found",
        "made_by",
        "count",
        "first_seed",
        "nfe",
        "latency_seconds",
        "latency_p95_seconds",
        "batch_size",
        "peak_memory_bytes",
        "stand_ins",
        "sha256",
    ]
    readonly_fields: ClassVar = [
        *JobAdmin.job_readonly_fields,
        "training",
        "settings",
        "found",
        "made_by",
    ]

    def percent_of(self, job: SampleSet) -> str:
        text = f"{job.percent} %, {job.drawn:,} of {job.count:,} images"
        return f"{text}, {job.images_per_second:,.0f} images/s" if job.images_per_second else text

    @admin.display(description="run")
    def training(self, sample_set: SampleSet) -> str | SafeString:
        return admin_link(sample_set.run) if sample_set.run else sample_set.entry.family_label

    @admin.display(description="findings")
    @once
    def found(self, sample_set: SampleSet) -> str:
        return "; ".join(sample_set.findings) or "–"

    @admin.display(description="provenance")
    @once
    def made_by(self, sample_set: SampleSet) -> str | SafeString:
        return as_table(sample_set.provenance) if sample_set.provenance else "–"

    @admin.display(description="sampler")
    @once
    def settings(self, sample_set: SampleSet) -> SafeString:
        return as_table(sample_set.sampler)


class AskedAdmin(JobAdmin):
    """What people asked; asking again is theirs, so nothing is retried here."""

    actions: ClassVar = ["cancel_jobs"]

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel_jobs(self, request: HttpRequest, jobs: QuerySet[Any]) -> None:
        own, user = changeable(jobs, request.user), request.user
        count = sum(services.cancel_job(job, user=user) for job in own)
        text = f"{count} of {len(jobs)} cancelled or asked to stop."
        self.message_user(
            request, text, messages.SUCCESS if count == len(jobs) else messages.WARNING
        )


@admin.register(Viewing)
class ViewingAdmin(AskedAdmin):
    experiment_path = "run.entry.experiment"
    list_select_related: ClassVar = ["run__entry__experiment", "created_by", "worker"]
    search_fields: ClassVar = ["kind", "run__entry__experiment__name", "created_by__username"]
    fields: ClassVar = [
        "run",
        "kind",
        "created_by",
        *JobAdmin.job_fields,
        "first",
        "told",
        "sampler_label",
        "sha256",
    ]
    readonly_fields: ClassVar = [*JobAdmin.job_readonly_fields]


@admin.register(Question)
class QuestionAdmin(AskedAdmin):
    experiment_path = "experiment"
    list_select_related: ClassVar = ["experiment", "created_by", "worker"]
    search_fields: ClassVar = ["text", "experiment__name", "created_by__username"]
    fields: ClassVar = [
        "text",
        "created_by",
        *JobAdmin.job_fields,
        "images",
        "first_seed",
        "training_seed",
        "sha256",
    ]
    readonly_fields: ClassVar = [*JobAdmin.job_readonly_fields]


class ValueInline(ReadInline):
    """The numbers of an evaluation."""

    model = MetricValue
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[MetricValue]:
        values: QuerySet[MetricValue] = super().get_queryset(request)
        return values.select_related("evaluation__protocol")

    @admin.display(description="metric")
    @once
    def name(self, value: MetricValue) -> str:
        return value.evaluation.protocol.metric_label(value.metric)


@admin.register(Evaluation)
class EvaluationAdmin(ChangeableJobAdmin):
    experiment_path = "sample_set.entry.experiment"
    list_filter: ClassVar = [
        *JobAdmin.list_filter,
        "sample_set__entry__algorithm",
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
    narrowed_by: ClassVar = ["sample_set__entry", "protocol"]
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

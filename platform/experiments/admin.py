"""Experiments in the admin: see how far they are, cancel and retry; the site has the form."""

import re
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin import FewOf
from experiments import admin_jobs, services  # noqa: F401  # the first registers its rows
from experiments.models import Entry, Experiment
from experiments.ownership import changeable
from experiments.progress import Progress, loaded, progress, with_status
from experiments.tags.asking import known_words, tagged, words_of
from jobs.admin import OperatedAdmin, admin_link, as_table, coloured, once
from jobs.admin_rows import ReadInline
from jobs.models import Status


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(s.value, s.label) for s in Status if s != Status.CANCELLING]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return with_status(rows, self.value() or "") if self.value() else rows


class TagFilter(admin.SimpleListFilter):
    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word) for word in known_words(MOST_TAGS)]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        word = self.value()
        return rows.filter(pk__in=tagged(word).values("experiment")) if word else rows


MOST_TAGS = 50  # to choose from
MOST_ENTRIES = 20  # with their configurations, on the page of an experiment


class EntryInline(ReadInline):
    """The first entries of an experiment, frozen."""

    model = Entry
    fields: ClassVar = ["label", "kind", "algorithm", "sampler_names", "full_config"]
    readonly_fields: ClassVar = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        entries: QuerySet[Entry] = super().get_queryset(request).select_related("experiment")
        match = request.resolver_match
        key = str(match.kwargs.get("object_id", "")) if match else ""
        if not re.fullmatch("[0-9]{1,18}", key):
            return entries
        first = Entry.objects.filter(experiment=int(key)).order_by("position", "pk")
        return entries.filter(pk__in=list(first.values_list("pk", flat=True)[:MOST_ENTRIES]))

    @admin.display(description="samplers")
    @once
    def sampler_names(self, entry: Entry) -> str:
        return ", ".join(entry.sampler_labels) or "–"

    @admin.display(description="configuration")
    @once
    def full_config(self, entry: Entry) -> str | SafeString:
        return as_table(entry.config) if entry.config else "–"


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
        "tag_list",
        "created_at",
    ]
    list_filter: ClassVar = [StatusFilter, TagFilter, ("dataset", FewOf)]
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
        "seed_list",
        "memory_gb",
        "tag_list",
        "created_by",
        "created_at",
        "jobs",
        "shown",
    ]
    readonly_fields: ClassVar = [
        "chip",
        "how_far",
        "page",
        "dataset_link",
        "protocol_links",
        "budget",
        "seed_list",
        "tag_list",
        "jobs",
        "shown",
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
        """Lead to the form of the site."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return redirect("submit-experiment")

    @admin.display(description="status")
    def chip(self, experiment: Experiment) -> SafeString:
        return coloured(progress_of(experiment).status)

    @admin.display(description="how far")
    def how_far(self, experiment: Experiment) -> str:
        return str(progress_of(experiment))

    @admin.display(description="protocols")
    @once
    def protocol_names(self, experiment: Experiment) -> str:
        return ", ".join(protocol.short for protocol in experiment.protocols.all())

    @admin.display(description="budget")
    def budget(self, experiment: Experiment) -> str:
        return experiment.budget or "nothing is trained"

    @admin.display(description="seeds")
    def seed_count(self, experiment: Experiment) -> int:
        return len(experiment.seeds)

    @admin.display(description="seeds")
    def seed_list(self, experiment: Experiment) -> str:
        return ", ".join(map(str, experiment.seeds))

    @admin.display(description="tags")
    def tag_list(self, experiment: Experiment) -> str:
        return ", ".join(words_of(experiment.tags.all())) or "–"

    @admin.display(description="page")
    def page(self, experiment: Experiment) -> SafeString:
        address = experiment.get_absolute_url()
        return format_html('<a href="{}">{}</a>', address, address)

    @admin.display(description="dataset")
    @once
    def dataset_link(self, experiment: Experiment) -> SafeString:
        return admin_link(experiment.dataset)

    @admin.display(description="protocols")
    @once
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

    @admin.display(description="entries")
    def shown(self, experiment: Experiment) -> str:
        total = experiment.entries.count()
        return f"{min(total, MOST_ENTRIES)} of {total:,}, with their configurations"

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
    """Return the progress that was read already, or read it."""
    if "progress" not in vars(experiment):
        vars(experiment)["progress"] = progress([experiment])[experiment.pk]
    found: Progress = vars(experiment)["progress"]
    return found

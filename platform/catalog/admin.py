from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin import AuditedAdmin, FewOf, FrozenAdmin
from catalog.admission import verdict_of
from catalog.models import Dataset, PromptSet, Protocol, StoredFile
from catalog.names import name_problem

MOST_PROMPTS = 1_000  # shown of a set
MOST_NAME = 200  # characters


@admin.register(Dataset)
class DatasetAdmin(AuditedAdmin):
    """Datasets are registered by `manage.py register_dataset`; here they are read and described."""

    list_display: ClassVar = ["slug", "name", "size", "kind", "images", "digest_short", "licence"]
    list_filter: ClassVar = ["resolution", "channels"]
    search_fields: ClassVar = ["slug", "name", "digest"]
    exclude: ClassVar = ["captions"]
    readonly_fields: ClassVar = [
        *(name for name in Dataset.FROZEN if name != "captions"),
        "train_lossy",
        "test_lossy",
        "words",
        "longest_caption",
        "unknown",
    ]

    @admin.display(description="size", ordering="resolution")
    def size(self, dataset: Dataset) -> str:
        return f"{dataset.resolution}×{dataset.resolution}×{dataset.channels}"

    @admin.display(description="asked for by")
    def kind(self, dataset: Dataset) -> str:
        return dataset.kind

    @admin.display(description="words of train captions")
    def words(self, dataset: Dataset) -> str:
        return _listed(dataset, "words", dataset.distinct_words)

    @admin.display(description="words of the test split alone")
    def unknown(self, dataset: Dataset) -> str:
        return _listed(dataset, "unknown_words", dataset.unknown_words)

    @admin.display(description="train + test", ordering="train_size")
    def images(self, dataset: Dataset) -> str:
        return f"{dataset.train_size:,} + {dataset.test_size:,}"

    @admin.display(description="digest", ordering="digest")
    def digest_short(self, dataset: Dataset) -> str:
        return dataset.digest[:12]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # images come from files, by the command

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        how = "New datasets: manage.py register_dataset NAME --archive FILE.zip (see --help)"
        return super().changelist_view(request, {"subtitle": how, **(extra_context or {})})


def _listed(dataset: Dataset, name: str, count: int | None) -> str:
    """Return words of captions with how many there are; long lists are cut, which is said."""
    if dataset.captions is None or count is None:
        return "-"
    kept = dataset.captions[name]
    shown = f", {len(kept):,} of them shown" if len(kept) < count else ""
    return f"{count:,}{shown}: {', '.join(kept)}" if count else "none"


@admin.register(PromptSet)
class PromptSetAdmin(FrozenAdmin):
    """Prompts are registered by `manage.py register_prompts`; here they are read."""

    list_display: ClassVar = ["slug", "name", "size", "digest_short", "created_at"]
    search_fields: ClassVar = ["slug", "name", "digest"]
    fields: ClassVar = ["slug", "name", "digest", "created_at", "prompts"]

    @admin.display(description="prompts")
    def size(self, prompts: PromptSet) -> str:
        return f"{prompts.size:,}"

    @admin.display(description="digest", ordering="digest")
    def digest_short(self, prompts: PromptSet) -> str:
        return prompts.digest[:12]

    @admin.display(description="prompts")
    def prompts(self, row: PromptSet) -> SafeString:
        found = row.parsed().prompts
        lines = format_html_join(
            "",
            "<li><code>{}</code> {} <small>{}{}</small></li>",
            (
                (each.id, each.text, each.group, ", with claims" if each.claims else "")
                for each in found[:MOST_PROMPTS]
            ),
        )
        return format_html(
            "<p>{} of {}</p><ol>{}</ol>", min(len(found), MOST_PROMPTS), len(found), lines
        )


class ProtocolForm(forms.ModelForm):  # type: ignore[type-arg]  # it is generic for mypy alone
    """What can be changed of a protocol: how it is named, by the rule of its registration."""

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"]).strip()
        if problem := name_problem(name, MOST_NAME):
            raise forms.ValidationError(problem)
        return name


@admin.register(Protocol)
class ProtocolAdmin(AuditedAdmin):
    """Protocols are registered by `manage.py register_protocol`; here they are read and named."""

    form = ProtocolForm
    list_display: ClassVar = [
        "name",
        "dataset",
        "extractor",
        "num_images",
        "metric_names",
        "verdict",
        "short",
        "created_at",
    ]
    list_filter: ClassVar = [("dataset", FewOf), "extractor"]
    list_select_related: ClassVar = ["dataset"]
    search_fields: ClassVar = ["name", "fingerprint"]
    readonly_fields: ClassVar = [
        *(name.removesuffix("_id") for name in Protocol.FROZEN),
        "facts",
    ]

    @admin.display(description="metrics")
    def metric_names(self, protocol: Protocol) -> str:
        return ", ".join(protocol.metric_label(metric) for metric in protocol.metrics)

    @admin.display(description="fit to rank")
    def verdict(self, protocol: Protocol) -> str:
        return verdict_of(protocol).words

    @admin.display(description="fingerprint", ordering="fingerprint")
    def short(self, protocol: Protocol) -> str:
        return protocol.short

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a classifier has to be trained first, by the command

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        how = (
            "New protocols: manage.py register_protocol DATASET (see --help); admit_protocol tests "
            "a registered one again"
        )
        return super().changelist_view(request, {"subtitle": how, **(extra_context or {})})


@admin.register(StoredFile)
class StoredFileAdmin(FrozenAdmin):
    """What is kept, by path; `manage.py collect_garbage` deletes what no row needs any more."""

    list_display: ClassVar = ["path", "kind", "size", "owner", "created_at"]
    list_filter: ClassVar = ["kind", ("owner", FewOf)]
    list_select_related: ClassVar = ["owner"]
    search_fields: ClassVar = ["path", "sha256"]

    @admin.display(description="size", ordering="bytes")
    def size(self, file: StoredFile) -> str:
        return filesizeformat(file.bytes)

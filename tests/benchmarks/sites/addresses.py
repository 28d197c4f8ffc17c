"""What a filled site is asked for: every list and page, in several orders, first pages and last."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from api.http.paging import Place
from api.urls import router
from catalog.models import Protocol
from experiments.models import (
    Entry,
    Evaluation,
    Experiment,
    Intake,
    Question,
    Run,
    SampleSet,
    Viewing,
)
from experiments.tags.models import Tag
from jobs.models import Status
from leaderboards.leading.by_budget import WAYS
from leaderboards.models import Standing

PAGED: dict[str, type[Model]] = {
    "runs": Run,
    "samplesets": SampleSet,
    "evaluations": Evaluation,
    "experiments": Experiment,
}


def of_site() -> list[str]:
    """Return the addresses, each list in all the orders that it offers."""
    return [*_pages(), *_boards(), *_rest(), *_admin(), "/metrics"]


def _pages() -> list[str]:
    run = Run.objects.filter(status=Status.COMPLETED).order_by("-pk")[0]
    experiment = f"/experiments/{run.entry.experiment_id}/"
    dataset = run.entry.experiment.dataset.slug
    has_prompts = run.entry.experiment.protocols.filter(prompt_set__isnull=False).exists()
    return [
        "/",
        "/live/activity/",
        "/experiments/",
        "/experiments/?page=1000000",  # the last
        f"/experiments/?dataset={dataset}",
        *(f"/experiments/?status={status}" for status in (Status.RUNNING, Status.FAILED)),
        experiment,
        *(f"{experiment}live/{name}/" for name in ("standing", "boards", "samples", "runs")),
        *([f"{experiment}prompts/"] if has_prompts else []),
        f"/runs/{run.pk}/",
        f"/runs/{run.pk}/process/",
        f"/runs/{run.pk}/losses.json",
        f"/entries/{run.entry_id}/losses.json",
        *("/datasets/", f"/datasets/{dataset}/", "/workers/", "/judging/", "/health/"),
        *("/claims/", "/glossary/", "/glossary/diffusion/", "/help/", "/account/"),
        *("/advice/", f"/advice/?dataset={dataset}&seconds_per_image=1&training_seconds=3600"),
        *("/submit/experiment/", "/submit/samples/", "/submit/dataset/", "/submit/protocol/"),
        *(f"/experiments/?tag={tag}" for tag in Tag.objects.values_list("word", flat=True)[:1]),
        *(f"/intakes/{each.pk}/" for each in Intake.objects.order_by("-pk")[:1]),
        *(f"/questions/{each.pk}/" for each in Question.objects.order_by("-pk")[:1]),
        *(f"/viewings/{each.pk}/" for each in Viewing.objects.order_by("-pk")[:1]),
    ]


def _boards() -> list[str]:
    fingerprint = Protocol.objects.get(name="small").fingerprint
    board = f"/leaderboards/{fingerprint}/"
    return [
        "/leaderboards/",
        board,
        f"{board}?page=20",
        *(f"{board}?sort={key}" for key in ("-fd", "recall", "images_per_second")),
        *(f"{board}?family=gan", f"{board}?text=edm&fd_max=10"),
        f"{board}?page_size=500",
        f"{board}?columns=all",
        *(f"{board}budgets/?by={way}" for way in WAYS),
        f"{board}?baseline={_ten()[0]}",
        f"/protocols/{fingerprint}/",
        _compared(),
        f"{_compared()}&under=nearest&columns=all",
        *(f"/api/v1{board}?page=1", f"/api/v1{board}?page=1&format=csv"),
    ]


def _ten() -> list[str]:
    """Return the keys of ten entries from all over a board, each with its sampler."""
    mine = Standing.objects.filter(protocol__name="small", control="", seeds_scored__gt=0)
    keys = list(mine.order_by("pk").values_list("entry_id", "sampler_label"))
    return [f"{entry}:{label}" for entry, label in keys[:: len(keys) // 10][:10]]


def _compared() -> str:
    return f"/compare/?{urlencode({'entries': _ten()}, doseq=True)}"


def _rest() -> Iterator[str]:
    """Yield every list of REST in each of its orders, from the middle on, narrowed; one row of each."""
    yield from ("/api/v1/", "/api/v1/schema/", "/api/v1/leaderboards/")
    views: list[tuple[str, Any, str]] = router.registry
    for name, view, _ in views:
        orders = sorted(sign + field for field in view.orderings for sign in ("", "-"))
        if view.pagination_class is not None and name != "leaderboards":
            yield from (f"/api/v1/{name}/?ordering={order}" for order in orders)
    experiment = Experiment.objects.latest("pk").pk
    for name, model in PAGED.items():
        yield f"/api/v1/{name}/{model._default_manager.latest('pk').pk}/"
        yield from (f"/api/v1/{name}/?status={s}" for s in (Status.QUEUED, Status.COMPLETED))
        if model is not Experiment:
            yield f"/api/v1/{name}/?experiment={experiment}"
            yield f"/api/v1/{name}/?ordering=-finished_at&cursor={_middle(model)}"
    yield f"/api/v1/entries/{Entry.objects.latest('pk').pk}/"
    yield from (f"/api/v1/events/?kind={kind}" for kind in ("failed", "completed"))


def _middle(model: Any) -> str:
    """Return the cursor of the page of what was finished half the time ago."""
    ended = model.objects.filter(finished_at__isnull=False)
    row = ended.order_by("-pk")[ended.count() // 2]
    return Place("-finished_at", row.finished_at.isoformat(), row.pk).to_text()


def _admin() -> Iterator[str]:
    """Yield every list of the admin, one by each of its columns, and a row of each."""
    yield "/admin/"
    for model, shown in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        changes = reverse(f"{name}_changelist")
        yield changes
        yield f"{changes}?q=edm" if shown.search_fields else changes
        if model is Run:
            yield from (
                f"{changes}?o=-{column}" for column in range(1, 1 + len(shown.list_display))
            )
        if row := model._default_manager.order_by("pk").last():
            yield reverse(f"{name}_change", args=[row.pk])

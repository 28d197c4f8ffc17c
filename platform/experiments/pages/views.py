"""Pages of experiments and runs; they connect what is asked with what is shown."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import User
from catalog.models import Dataset
from evaluation.protocols.metrics import METRICS
from experiments import overview
from experiments.comparison import in_words
from experiments.lifetime import expected
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.ownership import may_change
from experiments.pages import addresses, curves, logs, reconstructions, stages
from experiments.pages.contenders import first_contenders
from experiments.pages.live import Region
from experiments.progress import with_status
from experiments.submission import bundle
from experiments.tags.asking import known_words, tagged
from experiments.viewings.kinds import offered
from jobs.models import JobEvent, Status

PAGE_SIZE = 50
MOST_PREVIEWS = 24  # of a run's checkpoints, on its page
MOST_DATASETS = 200  # to choose from
MOST_TAGS = 200  # likewise
LISTED = (  # of an experiment
    *("name", "seeds", "budget_images", "budget_seconds", "created_at"),
    *("dataset__slug", "dataset__name"),
)
FILTERS = ("status", "dataset", "tag")
T = TypeVar("T")
STATUSES = (
    Status.QUEUED,
    Status.RUNNING,
    Status.COMPLETED,
    Status.FAILED,
    Status.CANCELLED,
)


def experiments(request: HttpRequest) -> HttpResponse:
    """List experiments, newest first, filtered by status, dataset and tag."""
    addresses.refuse_others(request.GET, ("page", *FILTERS))
    asked = {name: request.GET.get(name, "") for name in FILTERS}
    if asked["status"] not in ("", *STATUSES):
        raise Http404(
            f"status: expected one of {', '.join(STATUSES)}, got {asked['status'][:50]!r}"
        )
    found = Experiment.objects.select_related("dataset").only(*LISTED)
    found = _filtered(found.prefetch_related("tags"), **asked)
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = list(page)
    standings, contenders = overview.standings(rows), first_contenders(rows)
    context = {
        "page": page,
        "rows": [(each, standings.get(each.pk), contenders.get(each.pk, [])) for each in rows],
        "statuses": STATUSES,
        "datasets": _datasets(asked["dataset"]),
        "tags": known_words(MOST_TAGS),
        **asked,
        "query": "&" + urlencode(asked),
    }
    return render(request, "experiments/list.html", context)


def _filtered(
    experiments: QuerySet[Experiment], *, status: str, dataset: str, tag: str
) -> QuerySet[Experiment]:
    if tag:
        experiments = experiments.filter(pk__in=tagged(tag).values("experiment"))
    if dataset:
        experiments = experiments.filter(dataset__slug=dataset)
    return with_status(experiments, status) if status else experiments


def _datasets(chosen: str) -> list[Dataset]:
    """Return the datasets that the list can be narrowed to: the chosen one, and not too many others."""
    used = Dataset.objects.filter(Exists(Experiment.objects.filter(dataset=OuterRef("pk"))))
    found = list(used.only("slug", "name")[:MOST_DATASETS])
    if chosen and chosen not in {each.slug for each in found}:
        found += used.filter(slug=chosen)
    return found


def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one training and everything that came of it."""
    found = get_object_or_404(overview.loaded_runs(), pk=pk)
    regions = _run_regions(found, request.user)
    context = {
        "run": found,
        "experiment": found.entry.experiment,
        "config": [(name, in_words(value)) for name, value in found.entry.config.items()],
        "reproduced_by": bundle.command_of(found),
        "no_bundle": bundle.refusal(found),
        "viewers": ", ".join(viewer.title.lower() for viewer in offered(found.entry)),
        **{name: region.render(request) for name, region in regions.items()},
    }
    return render(request, "experiments/run.html", context)


def run_region(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """Return one live part of the run's page."""
    found = get_object_or_404(overview.loaded_runs(), pk=pk)
    regions = _run_regions(found, request.user)
    if name not in regions:
        raise Http404(f"expected a part of the page ({', '.join(regions)}), got {name!r}")
    return regions[name].respond(request)


def _run_regions(run: Run, user: User | AnonymousUser) -> dict[str, Region]:
    sets = list(overview.loaded_sample_sets().filter(run=run))
    evaluations = list(overview.loaded_evaluations().filter(sample_set__in=sets))
    contexts: dict[str, Callable[[], dict[str, Any]]] = {
        "status": lambda: {
            "run": run,
            "stages": stages.stages(run, sets, evaluations),
            "expected": _expected(run),
        },
        "results": lambda: _results(run, sets, evaluations),
        "timeline": lambda: {"events": _timeline(run, sets, evaluations)},
    }
    if may_change(user, run.entry.experiment):
        contexts["log"] = lambda: {"run": run, **logs.tail(run, sets, evaluations)}
    live = any(not job.is_finished for job in [run, *sets, *evaluations])
    return {
        name: Region(
            template=f"experiments/_run_{name}.html",
            url=reverse("run-region", args=[run.pk, name]),
            live=live,
            context=context,
        )
        for name, context in contexts.items()
    }


def _expected(run: Run) -> expected.Expected | None:
    """Return what the training is expected to take, where its own progress does not tell yet."""
    is_told = run.is_finished or run.seconds_left is not None
    return None if is_told else expected.of_run(run)


def _results(run: Run, sets: list[SampleSet], evaluations: list[Evaluation]) -> dict[str, Any]:
    prefetch_related_objects(evaluations, "values")
    order = {name: place for place, name in enumerate(METRICS)}
    previews = list(run.checkpoints.exclude(preview=""))
    return {
        "run": run,
        "previews": spread(previews, at_most=MOST_PREVIEWS),
        "previews_total": len(previews),
        "results": [
            (
                drawn,
                reconstructions.figures(drawn, run.entry.experiment.protocols.all()),
                [
                    (
                        e,
                        sorted(
                            e.values.all(), key=lambda value: order.get(value.metric, len(order))
                        ),
                    )
                    for e in evaluations
                    if e.sample_set_id == drawn.pk
                ],
            )
            for drawn in sets
        ],
    }


def spread(items: list[T], *, at_most: int) -> list[T]:
    """Return at most so many items at even distances, the first and the last among them."""
    if len(items) <= at_most:
        return items
    last = len(items) - 1
    return [items[round(place * last / (at_most - 1))] for place in range(at_most)]


def _timeline(
    run: Run, sets: list[SampleSet], evaluations: list[Evaluation]
) -> list[tuple[JobEvent, str]]:
    """Return the events of the run and of what came of it, each with what it is about."""
    subjects = {("run", run.pk): "training"}
    subjects |= {("sampleset", s.pk): f"sampling {s.sampler_label}" for s in sets}
    subjects |= {("evaluation", e.pk): f"evaluating {e.protocol.name}" for e in evaluations}
    events = [
        event
        for kind in ("run", "sampleset", "evaluation")
        for event in JobEvent.objects.filter(
            job_type=kind, job_id__in=[pk for name, pk in subjects if name == kind]
        )
    ]
    events.sort(key=lambda event: (event.at, event.pk))
    return [(event, subjects[event.job_type, event.job_id]) for event in events]


def run_bundle(request: HttpRequest, pk: int) -> HttpResponse:
    """Return what reproduces the run from the command line, as a file."""
    found = get_object_or_404(overview.loaded_runs(), pk=pk)
    try:
        record = bundle.bundle_of(found)
    except ValueError as error:
        raise Http404(str(error)) from error
    response = JsonResponse(record, json_dumps_params={"indent": 1})
    response["Content-Disposition"] = f'attachment; filename="{bundle.file_name(found)}"'
    return response


def run_losses(request: HttpRequest, pk: int) -> JsonResponse:
    """Return the loss curve of one run as JSON."""
    found = get_object_or_404(Run, pk=pk)
    return JsonResponse(curves.loss_curves([found]))


def entry_losses(request: HttpRequest, pk: int) -> JsonResponse:
    """Return the loss curves of all runs of an entry as JSON."""
    entry = get_object_or_404(Entry, pk=pk)
    return JsonResponse(curves.loss_curves(entry.runs.all()))

"""The page of an experiment's prompts: a row for each, a column for each entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from experiments import comparison, controls
from experiments.models import Entry, Experiment, MetricValue, SampleSet
from jobs.models import Status
from web import guidance_box, question_box
from web.prompt_choices import PromptChoices
from web.sheets import SHEET_IMAGES, LaterSheet, Sheet

Column = tuple[Entry, str]  # with the label of its sampler
ANY = ""  # whatever was drawn
REAL = (controls.ASKED, controls.TEST)
VERDICTS = {True: "follows", False: "does not follow", None: "unparsed"}


@dataclass(frozen=True)
class Answer:
    """What one entry drew for a prompt, and what the judge read in it."""

    sample_set: SampleSet | None  # None = not drawn yet
    sheet: Sheet | None  # None = it has no such image
    address: str  # of the sheet
    box: str
    verdict: str  # "" = not judged
    read: str


@dataclass(frozen=True)
class Row:
    """One prompt and the entries' answers, in the order of the columns."""

    text: str
    group: str
    answers: list[Answer]


def prompts(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what entries drew for prompts, fifty prompts and eight systems on a page.

    By POST somebody asks what each entry would draw for words of their own.
    """
    experiments = Experiment.objects.select_related("dataset")
    experiment = get_object_or_404(experiments, pk=pk)
    asking = experiment.protocols.filter(prompt_set__isnull=False).select_related("prompt_set")
    protocol = asking.first()
    if protocol is None or protocol.prompt_set is None:
        raise Http404("the experiment's protocols ask with no prompts")
    asked = protocol.prompt_set.record["prompts"]
    each = protocol.record["prompts"]["images_per_prompt"]
    entries = list(experiment.entries.all())
    real, others = _columns(entries)
    choices = PromptChoices.of(request.GET, asked, each, experiment.seeds, len(others))
    seed = choices.seed
    box = question_box.QuestionBox.of(request, experiment, seed)
    if request.method == "POST" and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if request.method == "POST" and (question := box.ask()):
        return redirect(question)
    columns = real + others[choices.first_column - 1 : choices.last_column]
    contenders = _contenders(experiment, seed, columns)
    context = {
        "experiment": experiment,
        "seed": seed,
        "choices": choices,
        "protocol": protocol,
        "prompt_set": protocol.prompt_set,
        "contenders": contenders,
        "box": box,
        "is_asked": any(entry.algorithm for entry in entries),  # pipelines answer nothing
        "guidance": guidance_box.describe(protocol, experiment, request.GET.get("following", "")),
        "rows": _rows(choices.shown(asked), contenders, experiment, choices, len(asked)),
    }
    return render(request, "web/prompts.html", context)


def _columns(entries: list[Entry]) -> tuple[list[Column], list[Column]]:
    """Return real images, of those for the prompts first, which every page has; and all others."""
    real = [entry for kind in REAL for entry in entries if _kind(entry) == kind]
    others = [entry for entry in entries if _kind(entry) not in REAL]
    return [(entry, ANY) for entry in real], [
        (entry, label) for entry in others for label in entry.sampler_labels or [ANY]
    ]


def _kind(entry: Entry) -> str:
    return entry.control.kind if entry.control else ""


def _contenders(
    experiment: Experiment, seed: int, columns: list[Column]
) -> list[comparison.Contender]:
    """Return what is shown in these columns, in their order; only their jobs are loaded."""
    shown = list({entry.pk: entry for entry, _ in columns}.values())
    jobs = comparison.ExperimentJobs.of(experiment, shown, seed=seed)
    wanted = {(entry.pk, label) for entry, label in columns}
    found = comparison.contenders(experiment, seed, jobs)
    return [
        each
        for each in found
        if wanted & {(each.entry.pk, ANY), (each.entry.pk, each.sampler_label)}
    ]


def _rows(
    shown: list[tuple[int, Mapping[str, Any]]],
    contenders: list[comparison.Contender],
    experiment: Experiment,
    choices: PromptChoices,
    total: int,
) -> list[Row]:
    read = _readings([item.sample_set for item in contenders if item.sample_set is not None])
    sets = [item.sample_set for item in contenders]
    side, first = experiment.dataset.resolution, choices.image * total
    return [
        Row(
            prompt["text"],
            prompt["group"],
            [_answer(each, number + first, side, read) for each in sets],
        )
        for number, prompt in shown
    ]


def _readings(sets: list[SampleSet]) -> dict[tuple[int, int], Mapping[str, Any]]:
    """Return what the judge read, by the sample set and the number of the prompt."""
    values = MetricValue.objects.filter(
        metric="unparsed",
        evaluation__sample_set__in=sets,
        evaluation__status=Status.COMPLETED,
    ).select_related("evaluation")
    return {
        (value.evaluation.sample_set_id, first["prompt"]): first
        for value in values
        for first in value.details.get("first", [])
    }


def _answer(
    sample_set: SampleSet | None,
    number: int,
    side: int,
    read: Mapping[tuple[int, int], Mapping[str, Any]],
) -> Answer:
    if sample_set is None:
        return Answer(None, None, "", "", "", "")
    if number >= sample_set.count:
        return Answer(sample_set, None, "", "", "", "")
    page, place = divmod(number, SHEET_IMAGES)
    images = min(sample_set.count - page * SHEET_IMAGES, SHEET_IMAGES)
    sheet = LaterSheet(side, images) if page else Sheet(side, images)
    shown = (sample_set, sheet, _address(sample_set, page), sheet.box(place))
    found = read.get((sample_set.pk, number))
    if found is None:
        return Answer(*shown, "", "")
    verdict = VERDICTS[None if found["read"] is None else found["follows"]]
    return Answer(*shown, verdict, found["read"] or "")


def _address(sample_set: SampleSet, page: int) -> str:
    """Return the address of the sheet that shows images from 100 times the page's number on."""
    first = reverse("sample-grid", args=[sample_set.pk])
    later = reverse("sample-sheet", args=[sample_set.pk, page])
    return f"{later if page else first}?v={sample_set.sha256[:12]}"

"""The pages of the glossary: words with formulas, papers, boards, and samples of models from here."""

from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, Run, SampleSet
from experiments.viewings.kinds import Viewer, offered
from generators.specs import registry
from jobs.models import Status
from leaderboards.claims.rows import sides_of
from leaderboards.highlights import protocols_in_use
from web.learn.terms import TERMS, Term

MOST_LOOKED_AT = 5  # of the newest sample sets, until one has its picture
MOST_BOARDS = 5


@dataclass(frozen=True)
class Figure:
    """Samples that show a term; `page` leads to where they are from, "" for a packaged picture."""

    address: str
    caption: str
    page: str = ""


def glossary(request: HttpRequest) -> HttpResponse:
    return render(request, "web/learn/glossary.html", {"terms": TERMS.values()})


def term(request: HttpRequest, key: str) -> HttpResponse:
    """Show one word, with the newest samples of such a model that were drawn here."""
    found = TERMS.get(key)
    if found is None:
        raise Http404(f"expected one of {', '.join(TERMS)}, got {key}")
    context = {
        "term": found,
        "formula": f"web/learn/formulas/{key}.html" if found.has_formula else "",
        "figure": figure_of(found),
        "inside": inside_of(found),
        "also": [TERMS[name] for name in found.also],
        "boards": boards_of(found),
    }
    return render(request, "web/learn/term.html", context)


def figure_of(term: Term) -> Figure | None:
    """Return the newest samples of a model from here, else a packaged picture, if there is one."""
    sets = SampleSet.objects.filter(status=Status.COMPLETED).select_related("entry__experiment")
    if term.figure == "real":
        real = {"entry__kind": Entry.Kind.CONTROL, "entry__config__control": controls.TEST}
        sets = sets.filter(**real)
    else:
        sets = sets.filter(entry__algorithm__in=_algorithms(term.figure))
    newest = sets.order_by("-pk")[:MOST_LOOKED_AT] if term.figure else ()
    shown = next((each for each in newest if each.grid_path.is_file()), None)
    if shown is not None:
        return _drawn_here(shown)
    if not term.packaged:
        return None
    words = "Real images" if term.packaged == "real" else "Samples of a small model"
    caption = f"{words} of the packaged world of scenes, 32×32 pixels. No such picture is here yet."
    return Figure(static(f"web/glossary/{term.packaged}.png"), caption)


def inside_of(term: Term) -> tuple[Run, list[Viewer]] | None:
    """Return the newest completed training of such a model, and the ways to look into it."""
    if term.figure in ("", "real"):
        return None
    runs = Run.objects.filter(
        status=Status.COMPLETED, entry__algorithm__in=_algorithms(term.figure)
    ).select_related("entry__experiment")
    newest = runs.order_by("-pk").first()
    return None if newest is None else (newest, offered(newest.entry))


def _drawn_here(shown: SampleSet) -> Figure:
    experiment = shown.entry.experiment
    sampler = "" if shown.sampler_label == "direct" else f", {shown.sampler_label}"
    return Figure(
        address=reverse("sample-grid", args=[shown.pk]),
        caption=f"{shown.entry.label}{sampler}, uncurated, from {experiment.name}",
        page=experiment.get_absolute_url(),
    )


def _algorithms(side: str) -> list[str]:
    """Return the algorithms on a side of claims, or whose name says so."""
    names = registry.ALGORITHMS
    return [name for name in names if side in sides_of(name) or name.endswith(f".{side}")]


def boards_of(term: Term) -> list[Protocol]:
    """Return the boards that were used last; of a word for metrics, those that have one."""
    found: list[Protocol] = []
    for protocol in protocols_in_use()[:50]:
        metrics = (key for key in protocol.metrics if term.explains(key))
        if any(metrics) or not term.columns:
            found.append(protocol)
    return found[:MOST_BOARDS]

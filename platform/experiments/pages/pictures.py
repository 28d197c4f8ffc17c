"""Pictures that pages show, found by the row's number, never by a path from outside."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from catalog import stored
from experiments.models import Checkpoint, Question, SampleSet, SheetReading, Viewing

ENLARGED: dict[str, type[SampleSet | Checkpoint]] = {
    "sample-grid": SampleSet,
    "checkpoint-preview": Checkpoint,
}
YEAR_SECONDS = 31_536_000


@require_safe
def sample_grid(request: HttpRequest, pk: int) -> FileResponse:
    """Return the contact sheet of a sample set."""
    return picture(request, get_object_or_404(SampleSet, pk=pk).grid_path)


@require_safe
def checkpoint_preview(request: HttpRequest, pk: int) -> FileResponse:
    """Return the grid drawn when a checkpoint was written."""
    checkpoint = get_object_or_404(Checkpoint, pk=pk)
    if not checkpoint.preview:
        raise Http404("no preview was drawn with this checkpoint")
    return picture(request, Path(settings.DATA_DIR) / checkpoint.preview)


@require_safe
def answer_sheet(request: HttpRequest, pk: int) -> FileResponse:
    """Return all images that were drawn for a question."""
    return picture(request, get_object_or_404(Question, pk=pk).path)


@require_safe
def viewing_sheet(request: HttpRequest, pk: int) -> FileResponse:
    """Return all pictures of a viewing: a row for each track, a column for each frame."""
    return picture(request, get_object_or_404(Viewing, pk=pk).path)


@require_safe
def nearest_images(request: HttpRequest, pk: int) -> FileResponse:
    """Return the training images nearest to those of a contact sheet, each in its place."""
    readings = SheetReading.objects.select_related("evaluation__sample_set")
    return picture(request, get_object_or_404(readings, pk=pk).path)


@require_safe
def enlarged(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    """Show a picture as wide as the page, each of its pixels a square."""
    if name not in ENLARGED:
        raise Http404(f"expected a kind of picture ({', '.join(ENLARGED)}), got {name!r}")
    row: Any = get_object_or_404(ENLARGED[name], pk=pk)
    source = f"{reverse(name, args=[pk])}?v={row.sha256[:12]}"
    context = {"row": row, "run": row.run, "source": source}
    return render(request, "experiments/picture.html", context)


def picture(request: HttpRequest, path: Path) -> FileResponse:
    """Return a PNG inside the data folder; an address with `v=<digest>` never changes."""
    root = Path(settings.DATA_DIR).resolve()
    if not path.resolve().is_relative_to(root) or path.suffix != ".png":
        raise Http404("no picture of the site")
    try:
        response = FileResponse(stored.fetch(path).open("rb"), content_type="image/png")
    except (OSError, stored.DamagedError) as error:
        raise Http404("the picture is not there (any more)") from error
    response["Cache-Control"] = cache_control(request)
    return response


def cache_control(request: HttpRequest) -> str:
    """Return how long a picture may be kept: where the address has its digest, for ever."""
    visibility = "public" if settings.PUBLIC_READ else "private"
    age = f"max-age={YEAR_SECONDS}, immutable" if request.GET.get("v") else "no-cache"
    return f"{visibility}, {age}"

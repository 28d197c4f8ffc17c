"""Pages on which somebody hands in samples or a dataset, or asks for a protocol."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.permissions import may_submit
from experiments.intake import asking
from experiments.models import Intake, Upload
from experiments.submission.specification import SpecificationError
from experiments.uploads import files
from experiments.uploads.files import SUFFIXES, UploadRefused
from web.intake.forms import DEFAULT_PRESET, DatasetForm, IntakeForm, ProtocolForm, SamplesForm

View = Callable[..., HttpResponse]
LATEST = 5  # intakes of the reader that are linked
MOST_FILES = 25


def for_submitters(view: View) -> View:
    """Let only accounts that may submit see a page."""

    @login_required
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may_submit(request.user):
            raise PermissionDenied("your account reads; submitters and admins hand something in")
        return view(request, *args, **kwargs)

    return checked


@for_submitters
def samples(request: HttpRequest) -> HttpResponse:
    """Hand in samples that were made elsewhere, a file for each seed."""
    user = cast(User, request.user)
    chosen = _chosen(request)
    form = SamplesForm(user, request.POST or None, request.FILES or None, initial=_initial(request))

    def hand_in() -> Intake:
        return asking.hand_in_samples(form.data_of(), chosen.uploads, user=user)

    return _answer(request, form, hand_in, chosen, "web/intake/samples.html")


@for_submitters
def dataset(request: HttpRequest) -> HttpResponse:
    """Bring a dataset, to be looked at before it is registered."""
    user = cast(User, request.user)
    chosen = _chosen(request)
    form = DatasetForm(request.POST or None, initial=_initial(request))

    def bring() -> Intake:
        data = {**form.cleaned_data, "file": ", ".join(each.name for each in chosen.uploads)}
        return asking.bring_dataset(data, chosen.uploads, user=user)

    return _answer(request, form, bring, chosen, "web/intake/dataset.html")


@for_submitters
def protocol(request: HttpRequest) -> HttpResponse:
    """Ask for a protocol; a worker registers it and tests its extractor."""
    initial = {"preset": DEFAULT_PRESET, **_initial(request)}
    form = ProtocolForm(request.POST or None, initial=initial)

    def ask() -> Intake:
        return asking.ask_protocol(form.data_of(), user=cast(User, request.user))

    return _answer(request, form, ask, None, "web/intake/protocol.html")


@require_POST
@for_submitters
def remove_upload(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete an upload, and go back to where it was shown."""
    upload = get_object_or_404(Upload, pk=pk)
    if not files.may_see(request.user, upload):
        raise PermissionDenied("only who uploaded it and admins may remove it")
    try:
        files.remove(upload)
        messages.success(request, f"{upload}: removed.")
    except UploadRefused as error:
        messages.error(request, f"{error}.")
    page = "submit-dataset" if request.GET.get("to") == "dataset" else "submit-samples"
    return redirect(page)


class Chosen:
    """The files of a form: those that were uploaded before, then those that came with it."""

    def __init__(self, uploads: Sequence[Upload], problem: str) -> None:
        self.uploads = uploads
        self.problem = problem


def _chosen(request: HttpRequest) -> Chosen:
    user = cast(User, request.user)
    free = {str(upload.pk): upload for upload in files.free_uploads(user)}
    wanted = list(dict.fromkeys(request.POST.getlist("uploads")))[:MOST_FILES]
    uploads = [free[pk] for pk in wanted if pk in free]
    problem = "" if len(uploads) == len(wanted) else "a file that was here is gone; choose it again"
    for file in request.FILES.getlist("files")[:MOST_FILES]:
        try:
            upload = files.begin(user, name=file.name or "", length=file.size or 0)
            files.append(upload, file.read, at=0)
            uploads.append(upload)
        except UploadRefused as error:
            problem = str(error)
    return Chosen(uploads, problem)


def _answer(
    request: HttpRequest,
    form: IntakeForm,
    act: Callable[[], Intake],
    chosen: Chosen | None,
    template: str,
) -> HttpResponse:
    """Return the page of what was handed in, or the form with what is wrong with it."""
    file_errors = [chosen.problem] if chosen and chosen.problem else []
    if request.method == "POST" and form.is_valid() and not file_errors:
        try:
            return redirect(act())
        except SpecificationError as error:
            about_files = {path for path in error.errors if path.partition(".")[0] == "files"}
            file_errors = [error.errors[path] for path in sorted(about_files)]
            form.blame({k: text for k, text in error.errors.items() if k not in about_files})
    user = cast(User, request.user)
    context = {
        "form": form,
        "file_errors": file_errors,
        "uploads": files.free_uploads(user) if chosen else [],
        "chosen": {upload.pk for upload in chosen.uploads} if chosen else set(),
        "accepted": ",".join(SUFFIXES),
        "kinds": ", ".join(SUFFIXES),
        "limits": asking.limits(),
        "latest": Intake.objects.filter(created_by=user, of=None)[:LATEST],
    }
    is_wrong = request.method == "POST"
    form.mark()
    return render(request, template, context, status=400 if is_wrong else 200)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return what the address says already: `?protocol=…`, `?dataset=…`, `?num_images=320`."""
    given = request.GET
    return {
        "protocols": given.getlist("protocol"),
        "experiment": given.get("experiment", ""),
        "dataset": given.get("dataset", ""),
        "name": given.get("name", ""),
        "num_images": given.get("num_images", ""),
    }

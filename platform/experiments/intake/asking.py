"""Handing in through the browser: what was typed is checked here, a worker does the rest.

Files come as uploads (`experiments.uploads`). Nothing but an Intake is written until a worker has
looked: samples become an entry once they can be scored, and a dataset waits for a person to look.
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEvent, User
from catalog import stored
from catalog.engine import RegistrationError
from catalog.models import Dataset, Protocol
from catalog.services import Scoring, slug_of
from catalog.stored import StoredFile
from experiments.models import Intake, Upload
from experiments.ownership import require_change
from experiments.submission.external import check_files, read_external
from experiments.submission.specification import SpecificationError
from experiments.uploads.files import free_uploads
from jobs import lifecycle
from jobs.models import FINISHED, Queue, Status

MOST_UNFINISHED = 5  # intakes of an account, and datasets of its that wait to be looked at
Kind = Intake.Kind


def hand_in_samples(data: Mapping[str, Any], uploads: Sequence[Upload], *, user: User) -> Intake:
    """Queue samples that were made elsewhere; `data` is what `read_external` reads.

    Raises:
        SpecificationError: with every wrong field; nothing is written.
        PermissionDenied: if they are to join an experiment of somebody else.
    """
    spec = read_external(data)
    if spec.experiment is not None:
        require_change(user, spec.experiment)
    check_files([upload.name for upload in uploads])
    return _queue(Kind.SAMPLES, {**data, "label": spec.label}, uploads, user=user)


def bring_dataset(data: Mapping[str, Any], uploads: Sequence[Upload], *, user: User) -> Intake:
    """Queue a dataset to be looked at.

    `{"name", "resolution", "channels", "test_fraction", "source", "licence"}`, all but the name
    None or "" where nothing was said.

    Raises:
        SpecificationError: if there is not one file, or no slug can be made of the name.
    """
    try:
        slug_of(data["name"], "dataset")
    except RegistrationError as error:
        raise SpecificationError({"name": str(error)}) from error
    if len(uploads) != 1:
        raise SpecificationError({"files": f"expected one file, got {len(uploads)}"})
    return _queue(Kind.DATASET, data, uploads, user=user)


def confirm(intake: Intake, *, user: User) -> Intake:
    """Queue the registration of a dataset that was looked at; what is queued already stays.

    Raises:
        SpecificationError: if there is nothing to register.
    """
    if intake.kind != Kind.DATASET or intake.status != Status.COMPLETED:
        raise SpecificationError({"": f"{intake} is {intake.status}, there is nothing to register"})
    with transaction.atomic():
        Intake.objects.select_for_update().get(pk=intake.pk)
        ended = (Status.FAILED, Status.CANCELLED)
        if found := intake.registrations.exclude(status__in=ended).first():
            return found
        return _queue(Kind.REGISTRATION, intake.asked, (), user=user, of=intake)


def discard(intake: Intake) -> bool:
    """Delete an intake that ended, with the dataset that waits in it; False while it goes on."""
    rows = [intake, *intake.registrations.all()]
    if not all(row.is_finished for row in rows):
        return False
    folders = [row.folder for row in rows]
    for row in rows:
        row.events.delete()
    intake.delete()
    for folder in folders:
        forget_folder(folder)
    return True


def forget_ended() -> None:
    """Delete intakes that ended UPLOAD_HOURS ago, with datasets that nobody has registered since."""
    before = timezone.now() - timedelta(hours=settings.UPLOAD_HOURS)
    for intake in Intake.objects.filter(of=None, finished_at__lt=before):
        discard(intake)


def forget_folder(folder: Path) -> None:
    """Delete the folder in which a dataset waited."""
    stored.forget(folder)
    shutil.rmtree(folder, ignore_errors=True)


def ask_protocol(data: Mapping[str, Any], *, user: User) -> Intake:
    """Queue the registration of a protocol, with its admission test.

    `{"dataset": slug, …}` with the fields of a `Scoring` but for files.

    Raises:
        SpecificationError: if there is no such dataset.
    """
    if not Dataset.objects.filter(slug=data.get("dataset")).exists():
        raise SpecificationError({"dataset": "expected a registered dataset"})
    return _queue(Kind.PROTOCOL, data, (), user=user)


def scoring_of(asked: Mapping[str, Any]) -> Scoring:
    """Return how the protocol that was asked for scores."""
    said = {name: value for name, value in asked.items() if name != "dataset"}
    return Scoring(**{**said, "metrics": tuple(said.get("metrics", ()))})


def protocols_to_choose() -> list[Protocol]:
    """Return protocols that score new samples."""
    rows = Protocol.objects.select_related("dataset").order_by("dataset__slug", "name")
    return [row for row in rows if not row.refusal]


def _queue(
    kind: Kind,
    asked: Mapping[str, Any],
    uploads: Sequence[Upload],
    *,
    user: User,
    of: Intake | None = None,
) -> Intake:
    if broken := next((each for each in uploads if not each.is_whole), None):
        raise SpecificationError({"files": _not_whole(broken)})
    if stored.bucket() is not None:  # another host's worker may read them
        for upload in uploads:
            stored.keep(upload.path, StoredFile.Kind.UPLOAD, owner=user)
    forget_ended()
    return _write(kind, asked, uploads, user=user, of=of)


def _not_whole(upload: Upload) -> str:
    return f"{upload}: {upload.offset:,} of {upload.length:,} bytes are here; choose it to go on"


def whole_uploads(ids: Sequence[str], *, user: User) -> list[Upload]:
    """Return an account's uploads by their ids, in this order.

    Raises:
        SpecificationError: at `uploads.0` and so on: if one is gone or another's, a worker is about
            to read it, it is not whole, or is there twice.
    """
    free = {str(upload.pk): upload for upload in free_uploads(user)}
    wrong, found = {}, []
    for place, given in enumerate(ids):
        upload = free.get(given.lower())
        if upload is None:
            wrong[f"uploads.{place}"] = f"{given[:50]}: is gone, or a worker is about to read it"
        elif not upload.is_whole:
            wrong[f"uploads.{place}"] = _not_whole(upload)
        else:
            found.append(upload)
    if wrong:
        raise SpecificationError(wrong)
    return found


@transaction.atomic
def _write(
    kind: Kind,
    asked: Mapping[str, Any],
    uploads: Sequence[Upload],
    *,
    user: User,
    of: Intake | None,
) -> Intake:
    User.objects.select_for_update().get(pk=user.pk)  # two at once are counted one by one
    _check_bounds(kind, user)
    queue = Queue.GPU if kind == Kind.PROTOCOL else Queue.DEFAULT
    intake = Intake.objects.create(
        kind=kind, created_by=user, asked=dict(asked), of=of, queue=queue
    )
    free = {upload.pk for upload in free_uploads(user)}
    if taken := next((each for each in uploads if each.pk not in free), None):
        raise SpecificationError({"files": f"{taken}: is gone, or a worker is about to read it"})
    for place, upload in enumerate(uploads):
        Upload.objects.filter(pk=upload.pk).update(intake=intake, place=place)
    lifecycle.enqueue(intake)
    audit.record(user, AuditEvent.Action.SUBMITTED, intake)
    return intake


def _check_bounds(kind: Kind, user: User) -> None:
    own = Intake.objects.filter(created_by=user)
    if own.exclude(status__in=FINISHED).count() >= MOST_UNFINISHED:
        text = f"expected at most {MOST_UNFINISHED} of yours to wait for a worker; try again later"
        raise SpecificationError({"": text})
    waiting = own.filter(kind=Kind.DATASET, status=Status.COMPLETED).exclude(
        registrations__status=Status.COMPLETED
    )
    if kind == Kind.DATASET and waiting.count() >= MOST_UNFINISHED:
        text = f"{MOST_UNFINISHED} datasets of yours wait to be registered or discarded"
        raise SpecificationError({"": text})


def limits() -> dict[str, int]:
    """Return what pages say of bounds: GB of an account's uploads, hours until they are deleted."""
    return {"gb": settings.UPLOAD_GB, "hours": settings.UPLOAD_HOURS}

"""Handing in from pages: samples, datasets with a preview, protocols; what a worker makes of them."""

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import AuditEvent, Role, User
from catalog.models import Dataset, Protocol
from catalog.preparation import prepare_path
from catalog.services import Scoring, register_protocol
from evaluation.imagesets.in_memory import write_npz
from experiments import tasks
from experiments.intake import asking
from experiments.models import Entry, Experiment, Intake, SampleSet, Upload
from experiments.submission.specification import SpecificationError
from jobs.models import Status
from operations import garbage
from tests import factories
from tests.evaluation.pictures import make_zip
from tests.experiments.test_external import png
from tests.hostile.test_uploads import ARCHIVES, ARRAYS, Link, pipe
from tests.web import html
from tests.web.test_live import polled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine_here")]
HOSTILE = {  # files: the others are folders, which nobody uploads
    name: write
    for name, write in {**ARCHIVES, **ARRAYS}.items()
    if not isinstance(write, Link) and write is not pipe and name != "nothing"
}


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # a beat would come from another thread, which sees no test's rows


@pytest.fixture
def protocol() -> Protocol:
    """What scores 20 grey images of 8x8."""
    dataset = factories.make_dataset(files=True, train_size=400, test_size=300)
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd",), num_images=20)
    return register_protocol(dataset, scoring, admission_images=0)[0]


def samples(place: Path, *, count: int = 20, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), np.uint8)
    write_npz(place / "x.npz", pixels, None)
    return (place / "x.npz").read_bytes()


def captioned() -> dict[str, bytes]:
    """Return an image folder as the Hugging Face hub has them, with a note that is no image."""
    texts = ["a red circle", "two crosses"]
    rows = [{"file_name": f"{i:02}.png", "text": texts[i % 2]} for i in range(20)]
    files = {f"{i:02}.png": png(i) for i in range(20)}
    lines = "\n".join(map(json.dumps, rows)).encode()
    return {**files, "metadata.jsonl": lines, "README.md": b"Twenty images."}


def zipped(place: Path, files: dict[str, bytes]) -> bytes:
    return make_zip(place / "flowers.zip", files.items()).read_bytes()


def tarred(place: Path, files: dict[str, bytes]) -> bytes:
    with tarfile.open(place / "flowers.tar", "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return (place / "flowers.tar").read_bytes()


def work(intake: Intake) -> Intake:
    tasks.take_in(intake.pk)
    return Intake.objects.get(pk=intake.pk)


def bring(user: User, content: bytes, *, name: str = "flowers.zip", **asked: Any) -> Intake:
    upload = factories.make_upload(content, name=name, owner=user)
    data = {"name": "Flowers", "file": name, **asked}
    return asking.bring_dataset(data, [upload], user=user)


# --- Samples ------------------------------------------------------------------------------------


def test_samples_are_handed_in_without_javascript_looked_at_and_queued(
    client: Client, ada: User, protocol: Protocol, tmp_path: Path
) -> None:
    file = SimpleUploadedFile("mine.npz", samples(tmp_path, count=21))
    typed = {"system": "Mixture", "version": "1.5", "parameters": "1290"}

    answer = client.post(
        "/submit/samples/", {**typed, "protocols": protocol.fingerprint, "files": file}
    )

    intake = Intake.objects.get()
    assert answer["Location"] == f"/intakes/{intake.pk}/"
    assert len(polled(html.get(client, answer["Location"]))) == 1
    assert not Entry.objects.exists()  # until a worker has looked
    intake = work(intake)
    assert intake.status == Status.COMPLETED, intake.reason
    entry = Entry.objects.get(kind=Entry.Kind.EXTERNAL)
    assert entry.config["manifest"] == {
        "system": "Mixture",
        "version": "1.5",
        "costs": {"parameters": 1290.0},
    }
    assert entry.config["sets"][0]["file"] == "mine.npz"
    assert entry.experiment.created_by == ada
    page = html.get(client, answer["Location"])
    assert "mine.npz: 21 images, of which a seeded choice of 20 is scored" in page.text
    assert "Mixture 1.5" in page.text
    assert not polled(page)
    assert not Upload.objects.exists()
    assert not list((tmp_path / "var" / "uploads").iterdir())


def test_uploads_that_are_here_are_chosen_and_join_an_experiment(
    client: Client, ada: User, protocol: Protocol, tmp_path: Path
) -> None:
    experiment = factories.make_experiment(protocols=[protocol], user=ada)
    uploads = [
        factories.make_upload(samples(tmp_path, seed=seed), name=f"{seed}.npz", owner=ada)
        for seed in (1, 0)
    ]
    manifest = SimpleUploadedFile("m.yaml", b"system: Mixture\nchosen: by hand")

    page = html.get(client, f"/submit/samples/?experiment={experiment.pk}")
    assert {"0.npz", "1.npz"} <= set(page.text.split())
    answer = client.post(
        "/submit/samples/",
        {
            "uploads": [str(upload.pk) for upload in uploads],
            "experiment": str(experiment.pk),
            "manifest": manifest,
        },
    )

    assert answer.status_code == 302, html.read(answer.content.decode()).text
    intake = work(Intake.objects.get())
    assert intake.status == Status.COMPLETED, intake.reason
    entry = experiment.entries.get(kind=Entry.Kind.EXTERNAL)
    assert [each["file"] for each in entry.config["sets"]] == ["1.npz", "0.npz"]  # as chosen


def test_what_is_wrong_is_said_at_its_field_and_the_file_stays(
    client: Client, ada: User, protocol: Protocol, tmp_path: Path
) -> None:
    file = SimpleUploadedFile("mine.npz", samples(tmp_path))

    answer = client.post("/submit/samples/", {"nfe": "-1", "date": "today", "files": file})

    page = html.read(answer.content.decode())
    assert answer.status_code == 400
    errors = " ".join(each.text for each in page.all("span", class_name="ask-error"))
    assert "Missing; expected which system made the images" in errors
    assert not Intake.objects.exists()
    upload = Upload.objects.get()
    assert str(upload.pk) in answer.content.decode()  # need not be sent again
    typed = {"system": "x", "protocols": protocol.fingerprint}
    none = client.post("/submit/samples/", typed).content.decode()
    assert "Expected 1 to 20 files" in none
    gone = client.post("/submit/samples/", {**typed, "uploads": [str(protocol.pk)]})
    assert "is gone" in gone.content.decode()
    half = Upload.objects.create(owner=ada, name="half.zip", length=9)
    answer = client.post("/submit/samples/", {**typed, "uploads": [str(half.pk)]})
    assert "0 of 9 bytes are here" in answer.content.decode()


def test_samples_that_no_protocol_can_score_leave_nothing_and_can_be_given_again(
    client: Client, ada: User, protocol: Protocol, tmp_path: Path
) -> None:
    upload = factories.make_upload(samples(tmp_path, count=3), name="few.npz", owner=ada)
    data = {"protocols": [protocol.fingerprint], "manifest": {"system": "x"}}

    intake = work(asking.hand_in_samples(data, [upload], user=ada))

    assert intake.status == Status.FAILED
    assert intake.reason.startswith("few.npz: ") and "20" in intake.reason
    assert intake.reason.count("few.npz") == 1
    assert not Experiment.objects.exists()
    assert intake.reason in html.get(client, intake.get_absolute_url()).text
    assert asking.hand_in_samples(data, [upload], user=ada).uploads.get() == upload


@pytest.mark.parametrize("name", HOSTILE)
def test_what_strangers_hand_in_is_refused_in_words(
    ada: User, protocol: Protocol, tmp_path: Path, name: str
) -> None:
    path = HOSTILE[name](tmp_path)
    content = path.read_bytes() or b"\0"
    data = {"protocols": [protocol.fingerprint], "manifest": {"system": "x"}}
    upload = factories.make_upload(content, name=path.name, owner=ada)

    as_samples = work(asking.hand_in_samples(data, [upload], user=ada))
    as_dataset = work(bring(ada, content, name=path.name))

    for intake in (as_samples, as_dataset):
        assert (intake.status, intake.cause) == (Status.FAILED, "bad input"), intake.error
        assert path.name in intake.reason
        assert str(tmp_path) not in intake.reason and "/tmp" not in intake.reason  # noqa: S108
    assert not Experiment.objects.exists()
    assert Dataset.objects.count() == 1  # the protocol's
    assert not (tmp_path / "var" / "intake").exists()


# --- Datasets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"), [("flowers.zip", zipped), ("flowers.tar", tarred)], ids=["zip", "tar"]
)
def test_a_dataset_is_looked_at_then_registered(
    client: Client,
    ada: User,
    tmp_path: Path,
    name: str,
    pack: Callable[[Path, dict[str, bytes]], bytes],
) -> None:
    content = pack(tmp_path, captioned())
    typed = {"name": "Flowers", "test_fraction": "0.25", "licence": "CC0"}

    answer = client.post("/submit/dataset/", {**typed, "files": SimpleUploadedFile(name, content)})
    intake = work(Intake.objects.get())

    assert intake.status == Status.COMPLETED, intake.reason
    assert not Dataset.objects.exists()  # until somebody says so
    page = html.get(client, answer["Location"])
    for text in ("15 train, 5 test", "8×8, grey", "README.md", "two crosses", "None: unlabelled"):
        assert text in page.text, text
    with closing(client.get(f"/intakes/{intake.pk}.png")) as picture:
        assert (picture.status_code, picture["Content-Type"]) == (200, "image/png")
        assert "private" in picture["Cache-Control"]

    client.post(f"/intakes/{intake.pk}/confirm/")
    client.post(f"/intakes/{intake.pk}/confirm/")  # twice is once
    registration = work(Intake.objects.get(kind=Intake.Kind.REGISTRATION))

    assert registration.status == Status.COMPLETED, registration.reason
    dataset = Dataset.objects.get()
    dataset.verify()
    (tmp_path / name).write_bytes(content)
    with prepare_path(tmp_path / name, test_fraction=0.25) as expected:
        assert dataset.digest == expected.digest
        assert dataset.preparation == expected.preparation
    assert (dataset.source, dataset.licence) == (name, "CC0")
    assert "Registered as" in html.get(client, answer["Location"]).text
    assert not intake.folder.exists()
    assert AuditEvent.objects.filter(kind="intake").count() == 2


def test_a_lost_registration_is_made_anew(ada: User, tmp_path: Path) -> None:
    intake = work(bring(ada, zipped(tmp_path, captioned())))
    registration = asking.confirm(intake, user=ada)
    work(registration)
    dataset = Dataset.objects.get()
    # As if the worker had been killed after the registration and before it was written down.
    intake.folder.mkdir()
    for name in ("train.npz", "test.npz"):
        (intake.folder / name).write_bytes((dataset.folder / name).read_bytes())
    Intake.objects.filter(pk=registration.pk).update(
        status=Status.QUEUED, finished_at=None, worker=None
    )

    assert work(registration).status == Status.COMPLETED

    assert Dataset.objects.get() == dataset
    dataset.verify()


def test_a_dataset_that_nobody_wants_is_discarded(
    client: Client, ada: User, tmp_path: Path, settings: Settings
) -> None:
    first, second = (work(bring(ada, zipped(tmp_path, captioned()))) for _ in range(2))
    assert first.folder.is_dir() and second.folder.is_dir()

    answer = client.post(f"/intakes/{first.pk}/discard/")
    before = timezone.now() - timedelta(hours=settings.UPLOAD_HOURS + 1)
    Intake.objects.filter(pk=second.pk).update(finished_at=before)
    call_command("collect_garbage", stdout=io.StringIO())

    assert answer["Location"] == "/submit/dataset/"
    assert not Intake.objects.exists()
    assert not first.folder.exists() and not second.folder.exists()
    assert list(garbage.find()) == []


def test_a_name_that_is_taken_is_said_before_anybody_decides(ada: User, tmp_path: Path) -> None:
    factories.make_dataset(slug="flowers")

    intake = work(bring(ada, zipped(tmp_path, captioned())))

    assert intake.status == Status.FAILED
    assert "with other content" in intake.reason


def test_only_so_much_waits_for_one_account(ada: User, tmp_path: Path) -> None:
    for _ in range(asking.MOST_UNFINISHED):
        bring(ada, b"x")

    with pytest.raises(SpecificationError, match="wait for a worker"):
        bring(ada, b"x")


# --- Protocols ----------------------------------------------------------------------------------


def test_a_protocol_is_registered_with_its_admission_test(client: Client, ada: User) -> None:
    dataset = factories.make_dataset(files=True, train_size=400, test_size=300)
    typed = {"dataset": dataset.slug, "extractor": "pixels-pca64", "metrics": "fd, kd"}
    assert f'value="{dataset.slug}" selected' in (
        client.get(f"/submit/protocol/?dataset={dataset.slug}").content.decode()
    )

    answer = client.post("/submit/protocol/", {**typed, "num_images": "100"})
    intake = work(Intake.objects.get())

    assert intake.status == Status.COMPLETED, intake.reason
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd", "kd"), num_images=100)
    expected, is_new = register_protocol(dataset, scoring)
    assert not is_new
    assert intake.found["protocol"] == expected.fingerprint
    assert "extractor: " in " ".join(intake.found["told"])
    assert f"/protocols/{expected.fingerprint}/" in client.get(answer["Location"]).content.decode()


def test_a_protocol_that_cannot_be_is_refused(client: Client, ada: User) -> None:
    dataset = factories.make_dataset(files=True, classes=())
    typed = {"dataset": dataset.slug, "preset": "classifier-test"}

    answer = client.post("/submit/protocol/", {**typed, "extractor": "pixels-pca64"})
    assert "one of the two" in answer.content.decode()
    client.post("/submit/protocol/", typed)
    intake = work(Intake.objects.get())

    assert intake.status == Status.FAILED
    assert "unlabelled, so it has no classifier" in intake.reason


# --- Who may ------------------------------------------------------------------------------------


def test_readers_are_told_who_may(client: Client) -> None:
    client.force_login(factories.make_user(role=Role.VIEWER))

    assert client.get("/submit/samples/").status_code == 403
    assert "/submit/" not in client.get("/").content.decode()


def test_samples_join_only_experiments_of_their_owner(
    client: Client, ada: User, protocol: Protocol, tmp_path: Path
) -> None:
    experiment = factories.make_experiment(protocols=[protocol], user=factories.make_user())
    upload = factories.make_upload(samples(tmp_path), name="s.npz", owner=ada)
    typed = {"system": "x", "uploads": [str(upload.pk)], "experiment": str(experiment.pk)}

    assert client.post("/submit/samples/", typed).status_code == 400
    assert not Intake.objects.exists() and not SampleSet.objects.filter(source__gt="").exists()


def test_a_dataset_that_waits_shows_its_images_to_nobody_else(client: Client) -> None:
    intake = factories.make_intake()
    client.force_login(factories.make_user())

    for address in (f"/intakes/{intake.pk}/", f"/intakes/{intake.pk}.png"):
        assert client.get(address).status_code == 403

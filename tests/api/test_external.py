"""Samples that were made elsewhere, handed in over REST, and the template for them."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import Role, User
from api import external
from catalog.models import Protocol, StoredFile
from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.opening import open_images
from evaluation.imagesets.writing import grid_png
from experiments.models import Entry, Experiment, SampleSet, Upload
from experiments.uploads.files import append, begin
from jobs.models import Status
from tests import factories
from tests.evaluation.pictures import make_folder

pytestmark = pytest.mark.django_db
SAID = {"system": "Mixture", "version": "1.5"}
MANIFEST = json.dumps(SAID)


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(num_images=20)


def upload(place: Path, *, name: str = "s.npz", seed: int = 0, count: int = 20) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), np.uint8)
    write_npz(place / "x.npz", pixels, None)
    return SimpleUploadedFile(name, (place / "x.npz").read_bytes())


def post(client: APIClient, **fields: Any) -> Any:
    return client.post("/api/entries/", {"manifest": MANIFEST, **fields}, format="multipart")


def nothing_is_written() -> bool:
    rows = (Experiment.objects, Entry.objects, SampleSet.objects, StoredFile.objects)
    return not any(each.exists() for each in rows)


def test_a_set_is_handed_in_and_its_state_is_told(
    writer: APIClient, anyone: APIClient, protocol: Protocol, tmp_path: Path, user: User
) -> None:
    files = [upload(tmp_path), upload(tmp_path, name="other.npz", seed=1)]

    answer = post(writer, files=files, protocols=[protocol.fingerprint], name="Mine")

    assert answer.status_code == 201, answer.json()
    told = answer.json()
    assert (told["kind"], told["label"], told["family"]) == ("external", "Mixture 1.5", "external")
    assert [(each["seed"], each["status"]) for each in told["sample_sets"]] == [
        (0, "queued"),
        (1, "queued"),
    ]
    assert told["config"]["sets"][1]["file"] == "other.npz"
    experiment = Experiment.objects.get(name="Mine")
    assert (experiment.created_by, told["experiment"]) == (user, experiment.pk)
    SampleSet.objects.filter(entry_id=told["id"], seed=0).update(
        status=Status.FAILED, reason="s.npz: damaged", finished_at="2026-01-01T00:00Z"
    )
    SampleSet.objects.filter(entry_id=told["id"], seed=1).update(findings=["2 copies"])
    later = anyone.get(answer["Location"]).json()
    assert later["sample_sets"][0]["reason"] == "s.npz: damaged"
    assert later["sample_sets"][1]["findings"] == ["2 copies"]
    listed = anyone.get(f"/api/entries/?kind=external&experiment={experiment.pk}").json()
    assert [each["id"] for each in listed["results"]] == [told["id"]]


def test_the_request_reads_nothing_of_the_images(
    writer: APIClient, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = post(
        writer,
        files=[SimpleUploadedFile("s.zip", b"no zip")],
        protocols=[protocol.fingerprint],
        manifest=SimpleUploadedFile("m.yaml", b"system: Mixture\ncosts: {nfe: 50}"),
    )

    assert answer.status_code == 201
    assert answer.json()["config"]["manifest"] == {"system": "Mixture", "costs": {"nfe": 50.0}}
    assert answer.json()["sample_sets"][0]["status"] == "queued"  # a worker says what is wrong


def test_the_same_again_is_the_same_entry(
    writer: APIClient, protocol: Protocol, tmp_path: Path
) -> None:
    first = post(writer, files=[upload(tmp_path)], protocols=[protocol.fingerprint])
    again = post(writer, files=[upload(tmp_path)], protocols=[protocol.fingerprint])

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_only_owners_let_others_samples_join_their_experiment(
    protocol: Protocol, tmp_path: Path
) -> None:
    owner, other = factories.make_user(), factories.make_user()
    experiment = factories.make_experiment(protocols=[protocol], user=owner)
    client = APIClient()

    client.force_authenticate(other)
    refused = post(client, files=[upload(tmp_path)], experiment=experiment.name)
    client.force_authenticate(owner)
    taken = post(client, files=[upload(tmp_path)], experiment=str(experiment.pk))

    assert (refused.status_code, taken.status_code) == (403, 201)


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_others_hand_in_nothing(role: Role | None, protocol: Protocol, tmp_path: Path) -> None:
    client = APIClient()
    if role:
        client.force_authenticate(factories.make_user(role=role))

    answer = post(client, files=[upload(tmp_path)], protocols=[protocol.fingerprint])

    assert answer.status_code == (403 if role else 401)
    assert nothing_is_written()


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"manifest": "{"}, "manifest", "while parsing"),
        ({"manifest": "- 1"}, "manifest", "expected field: value pairs"),
        ({"manifest": "system: a\nsystem: b"}, "manifest", "is there already"),
        ({"manifest": "system: &a [*a]"}, "manifest", "nested too deeply"),
        ({"manifest": SimpleUploadedFile("m", b"\xff")}, "manifest", "utf-8"),
        ({"manifest": "x" * 1_000_001}, "manifest", "at most 1,000,000 characters"),
        ({"manifest": "{}"}, "manifest.system", "missing"),
        ({"files": []}, "files", "expected 1 to 20 files"),
        ({"files": "text"}, "files", "expected 1 to 20 files"),
        ({"files": [SimpleUploadedFile("s.pkl", b"x")]}, "files.0", "got 's.pkl'"),
        ({"files": [SimpleUploadedFile("a.zip", b"x"), SimpleUploadedFile("b.zip", b"x")]}, "files.1", "the same content as files.0"),
        ({"protocols": []}, "protocols", "expected an experiment, or a list"),
        ({"protocols": ["00000000"]}, "protocols.0", "expected the fingerprint of one protocol"),
        ({"experiment": "none"}, "experiment", "expected the name or number of one"),
        ({"name": "x" * 201}, "name", "expected a name of 1 to 200 characters"),
        ({"label": "Uniform noise"}, "label", "is taken"),
        ({"fid": "1.8"}, "fid", "unknown"),
    ],
)  # fmt: skip
def test_wrong_fields_are_refused_and_nothing_is_written(
    writer: APIClient,
    protocol: Protocol,
    tmp_path: Path,
    fields: dict[str, Any],
    field: str,
    reason: str,
) -> None:
    good = {"files": [upload(tmp_path)], "protocols": [protocol.fingerprint]}

    answer = post(writer, **{**good, **fields})

    assert answer.status_code == 400
    assert reason in answer.json()["errors"][field]
    assert nothing_is_written()


def uploaded(user: User, content: bytes, *, name: str = "s.npz", missing: int = 0) -> str:
    """Return the id of an upload, of which some bytes may be missing."""
    found = begin(user, name=name, length=len(content) + missing)
    append(found, io.BytesIO(content).read, at=0)
    return str(found.pk)


def test_uploads_are_handed_in_in_place_of_files(
    writer: APIClient, protocol: Protocol, tmp_path: Path, user: User
) -> None:
    files = [upload(tmp_path, seed=seed, name=f"{seed}.npz") for seed in (0, 1)]
    ids = [uploaded(user, file.read(), name=file.name) for file in files]

    first = post(writer, uploads=ids, protocols=[protocol.fingerprint])
    again = post(writer, uploads=ids, protocols=[protocol.fingerprint])

    assert (first.status_code, again.status_code) == (201, 200), first.json()
    assert [each["file"] for each in first.json()["config"]["sets"]] == ["0.npz", "1.npz"]
    for file in files:
        file.seek(0)
    assert post(writer, files=files, protocols=[protocol.fingerprint]).json() == first.json()
    assert Upload.objects.count() == 2  # they are their owner's to delete


def test_uploads_that_cannot_be_handed_in_are_refused_at_their_place(
    writer: APIClient, protocol: Protocol, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, twice = (uploaded(user, b"x", name=name) for name in ("a.zip", "b.zip"))
    partly, others = uploaded(user, b"x", missing=2), uploaded(factories.make_user(), b"x")

    def errors(**fields: Any) -> Any:
        return post(writer, protocols=[protocol.fingerprint], **fields).json()["errors"]

    assert errors(uploads=[good, "none", others, partly]) == {
        "uploads.1": "none: is gone, or a worker is about to read it",
        "uploads.2": f"{others}: is gone, or a worker is about to read it",
        "uploads.3": "s.npz: 1 of 3 bytes are here; choose it to go on",
    }
    assert errors(uploads=[good, twice]) == {
        "uploads.1": "the same content as uploads.0; expected other images for each seed"
    }
    beside = errors(uploads=[good], files=[SimpleUploadedFile("s.zip", b"x")])
    assert beside == {"uploads": "expected none beside files"}
    assert errors(uploads=[good] * 21) == {
        "uploads": "expected 1 to 20 files, one for each seed; got 21"
    }
    large = uploaded(user, bytes(5000), name="large.zip")
    monkeypatch.setattr(external, "MOST_BYTES", 4000)  # of a request as well
    answer = post(writer, protocols=[protocol.fingerprint], uploads=[large])
    assert answer.status_code == 413 and "hand them in on the page /subm" in answer.json()["detail"]
    assert nothing_is_written()


def test_what_is_too_large_is_refused_before_it_is_read(
    writer: APIClient, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "MOST_BYTES", 1_000)

    answer = post(writer, files=[upload(tmp_path)], protocols=[protocol.fingerprint])

    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("expected at most 1,000 bytes, got ")
    assert nothing_is_written()


def test_files_are_larger_than_forms_are(writer: APIClient, protocol: Protocol) -> None:
    large = SimpleUploadedFile("s.zip", bytes(3_000_000))

    assert post(writer, files=[large], protocols=[protocol.fingerprint]).status_code == 201


def test_a_body_that_is_no_form_is_refused(writer: APIClient) -> None:
    assert writer.post("/api/entries/", {}, format="json").status_code == 415


# --- The template -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_filled_template_is_read_with_its_prompts(
    anyone: APIClient, form: str, tmp_path: Path
) -> None:
    prompts = factories.make_prompts('a "red" circle, once', "a blue circle")

    answer: Any = anyone.get(
        f"/api/v1/promptsets/{prompts.slug}/template/?images_per_prompt=2&as={form}"
    )

    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert set(found) == {"manifest.yaml", f"metadata.{form}"}
    assert prompts.digest in found["manifest.yaml"].decode()
    assert "system" in yaml.safe_load(found["manifest.yaml"])
    folder = make_folder(tmp_path / "set", found)
    texts = ['a "red" circle, once', "a blue circle"] * 2
    for place in range(4):
        pixels = np.full((1, 3, 4, 4), place, np.uint8)
        grid_png(pixels, 1, folder / f"{place:06}.png")
    assert list(open_images(folder).captions or ()) == texts
    if form == "csv":
        table = csv.DictReader(io.StringIO(found["metadata.csv"].decode()))
        assert [row["text"] for row in table] == texts


@pytest.mark.parametrize(
    "query", ["images_per_prompt=0", "images_per_prompt=x", "images_per_prompt=99999", "as=xml"]
)
def test_a_template_that_there_is_not_is_refused(anyone: APIClient, query: str) -> None:
    prompts = factories.make_prompts("a red circle", "a blue circle")

    answer = anyone.get(f"/api/v1/promptsets/{prompts.slug}/template/?{query}")

    assert answer.status_code == 400
    assert (
        "expected 1 to 50,000 images of each prompt" in answer.json()["errors"]["images_per_prompt"]
    )


def test_a_protocol_comes_with_its_prompts_and_its_page_leads_to_the_template(
    anyone: APIClient,
) -> None:
    prompts = factories.make_prompts()
    dataset = factories.make_dataset(classes=(), texts=["a red circle"])
    protocol = factories.make_protocol(dataset=dataset, prompts=prompts)

    told = anyone.get(f"/api/protocols/{protocol.fingerprint}/").json()
    page = anyone.get(f"/protocols/{protocol.fingerprint}/").content.decode()

    assert told["prompts"] == prompts.record
    assert f"/api/v1/promptsets/{prompts.slug}/template/?images_per_prompt=" in page

"""What files of samples from elsewhere say of their images: classes, and where they come from."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from django.test import Client
from pyarrow import parquet
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from catalog.models import Protocol
from evaluation.__main__ import main as evaluation
from evaluation.imagesets.in_memory import read_images, write_npz
from experiments.external import GivenFile, submit_external
from experiments.models import SampleSet
from experiments.submission.external import read_external
from jobs.models import Status
from tests import factories
from tests.evaluation.pictures import make_zip
from tests.experiments.test_external import SAID, noise, png, protocol, read_sets
from tests.web import html

__all__ = ["protocol"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine_here"),
]


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def given(path: Path, protocol: Protocol, **manifest: Any) -> SampleSet:
    """Return the sample set of a file that was handed in, as a worker read it."""
    spec = read_external({"manifest": SAID | manifest, "protocols": [protocol.fingerprint]})
    submit_external(spec, [GivenFile(path, path.name)], user=None)
    read_sets()
    sample_set = SampleSet.objects.exclude(source="").get()
    assert sample_set.status == Status.COMPLETED, sample_set.reason
    return sample_set


# --- Kinds of files -----------------------------------------------------------------------------


def tarred(path: Path, content: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tabled(path: Path, content: Mapping[str, bytes]) -> Path:
    rows = [{"image": {"bytes": data, "path": name}} for name, data in content.items()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


WRITERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "s.zip": lambda path, content: make_zip(path, content.items()),
    "s.tar": tarred,
    "s.tgz": tarred,
    "s.parquet": tabled,
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_the_same_images_are_read_of_every_kind_of_file(
    name: str, tmp_path: Path, protocol: Protocol
) -> None:
    content = {f"{i:02}.png": png(900 + i) for i in range(20)}

    found = given(WRITERS[name](tmp_path / name, content), protocol)

    pixels = np.concatenate([noise(1, seed=900 + i) for i in range(20)])
    assert (read_images(found.path).pixels == pixels).all()
    assert (found.source[-len(name) + 1 :], found.findings) == (name[1:], [])


def test_what_is_said_of_each_image_is_shown(
    client: Client, tmp_path: Path, protocol: Protocol
) -> None:
    rows = [{"file_name": f"{i:02}.png", "text": "a flower"} for i in range(20)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    content = {f"{i:02}.png": png(900 + i) for i in range(20)} | {"metadata.jsonl": lines}
    path = WRITERS["s.zip"](tmp_path / "s.zip", content)

    found = given(path, protocol, seeds=list(range(20)))

    said = {"prompt": True, "class": False, "seed": True}
    assert found.provenance == {"said_of_each": said}
    page = html.get(client, found.entry.experiment.get_absolute_url()).text
    told = "20 images, of each its prompt said, its class not said, its seed said"
    assert told in page.replace(" ,", ",")
    assert found.findings == [] and "left out" not in page  # which nobody looks at, and is told
    assert client.get(f"/api/samplesets/{found.pk}/").json()["provenance"] == found.provenance


# --- Classes ------------------------------------------------------------------------------------


@pytest.fixture
def of_pets() -> Protocol:
    """What scores ten images by their labels; birds come half as often as the others."""
    dataset = factories.make_dataset(
        files=True, classes=("bird", "cat", "dog"), train_size=50, test_size=20
    )
    return factories.make_protocol(
        dataset=dataset, metrics=("fd", "cas"), num_images=10, class_counts=(10, 20, 20)
    )


def by_class(place: Path, *, each: int = 5, **folders: str) -> Path:
    """Return a zip with folders of so many images."""
    names = [f"{folder}/{i}.png" for folder in folders.values() for i in range(each)]
    return make_zip(place / "s.zip", [(name, png(900 + i)) for i, name in enumerate(names)])


def test_folders_are_the_datasets_classes_by_their_names(tmp_path: Path, of_pets: Protocol) -> None:
    found = given(by_class(tmp_path, a="dog", b="cat"), of_pets)

    assert read_images(found.path).labels.tolist() == [1] * 5 + [2] * 5  # type: ignore[union-attr]
    assert found.findings == [
        "their labels are not in the reference's shares of 3 classes (10 : 20 : 20), as the protocol "
        "says: class 0 has 0 of 10 images, its share is 2.0; class 1 has 5 of 10 images, its share "
        "is 4.0; class 2 has 5 of 10 images, its share is 4.0"
    ]


def test_classes_of_another_dataset_are_no_labels(tmp_path: Path, of_pets: Protocol) -> None:
    found = given(by_class(tmp_path, a="cat", b="horse"), of_pets)

    assert read_images(found.path).labels is None
    assert found.findings == ["no class of the reference is called horse; the labels are not used"]


def test_labels_of_an_array_are_numbers_of_classes(tmp_path: Path, of_pets: Protocol) -> None:
    labels = np.array([2, 1, 2, 0, 1, 2, 1, 0, 2, 1])
    pixels = noise(10, seed=9).transpose(0, 2, 3, 1)
    np.savez(tmp_path / "adm.npz", pixels, labels)  # arr_0 and arr_1, as ADM writes them

    found = given(tmp_path / "adm.npz", of_pets)

    drawn = read_images(found.path)
    assert (drawn.pixels == noise(10, seed=9)).all() and drawn.labels is not None
    assert drawn.labels.tolist() == labels.tolist()
    assert found.findings == []


# --- The protocol, as a site gives it -----------------------------------------------------------


def test_samples_are_scored_by_a_protocol_as_it_comes(
    client: Client, live_server: LiveServer, tmp_path: Path, protocol: Protocol
) -> None:
    write_npz(tmp_path / "s.npz", noise(20, seed=9), None)
    answer, record = tmp_path / "answer.json", tmp_path / "record.json"
    answer.write_bytes(client.get(f"/api/v1/protocols/{protocol.fingerprint}/").content)
    record.write_text(json.dumps({"protocol": protocol.record}))
    api = f"{live_server.url}/api/protocols/{protocol.fingerprint}/"
    page = f"{live_server.url}/leaderboards/{protocol.fingerprint}/?sort=fd"
    dataset, out = protocol.dataset, tmp_path / "scores.json"
    files = ["--reference", str(dataset.train_path), "--held-out", str(dataset.test_path)]

    found = []
    for source in (record, answer, api, page):
        asked = ["score", str(tmp_path / "s.npz"), *files, "--protocol", str(source)]
        assert evaluation([*asked, "--json", str(out), "--cache", str(tmp_path / "cache")]) == 0
        found.append(json.loads(out.read_text())["metrics"])

    assert found[0]["fd"]["value"] > 0
    assert found == [found[0]] * 4

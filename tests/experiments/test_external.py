"""Samples that were made elsewhere: handed in, read by a worker, scored as ours are."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings
from sklearn.mixture import GaussianMixture

from catalog import stored
from catalog.models import Dataset, Protocol, StoredFile
from catalog.services import Scoring, register_protocol
from evaluation.__main__ import main as evaluation
from evaluation.imagesets.in_memory import read_images, write_npz
from experiments import tasks
from experiments.external import GivenFile, submit_external
from experiments.models import Entry, Evaluation, Experiment, MetricValue, SampleSet
from experiments.submission.external import read_external
from experiments.submission.specification import SpecificationError
from jobs.lifecycle import requeue_lost
from jobs.models import Status, Worker
from leaderboards import ranking
from operations import garbage
from tests import factories
from tests.evaluation.pictures import PNG, encode, make_folder, make_zip
from tests.experiments.test_pipeline import work_off

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine_here"),
]
TEXTS = ("a red circle", "a blue circle", "two crosses")
SAID = {"system": "Mixture", "version": "1.5", "made_by": "Jo"}


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path, SAID)


@pytest.fixture
def protocol() -> Protocol:
    """What scores 20 grey images of 8x8."""
    dataset = factories.make_dataset(files=True, train_size=400, test_size=300)
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd",), num_images=20)
    return register_protocol(dataset, scoring, admission_images=0)[0]


@pytest.fixture
def asking() -> Protocol:
    """What asks with three prompts, twice each."""
    dataset = factories.make_dataset(
        files=True, classes=(), texts=TEXTS, train_size=40, test_size=20
    )
    prompts = factories.make_prompts(*TEXTS)
    return factories.make_protocol(dataset=dataset, prompts=prompts, num_images=6)


def write_manifest(place: Path, said: object) -> Path:
    path = place / "m.yaml"
    path.write_text(yaml.safe_dump(said), "utf-8")
    return path


def noise(count: int = 20, *, seed: int = 0, side: int = 8, channels: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, channels, side, side), np.uint8)


def npz(place: Path, name: str = "s.npz", **options: Any) -> Path:
    write_npz(place / name, noise(**options), None)
    return place / name


def png(seed: int = 0, kind: str = "PNG", **options: Any) -> bytes:
    from PIL import Image  # noqa: PLC0415

    file = io.BytesIO()
    Image.fromarray(noise(1, seed=seed)[0, 0]).save(file, kind, **options)
    return file.getvalue()


def asked_folder(place: Path, texts: list[str], *, name: str = "asked") -> Path:
    """Return a folder of images whose metadata says what each was asked with."""
    rows = [json.dumps({"file_name": f"{i:02}.png", "text": t}) for i, t in enumerate(texts)]
    files = {f"{i:02}.png": png(i) for i in range(len(texts))}
    return make_folder(place / name, {**files, "metadata.jsonl": "\n".join(rows).encode()})


def hand_in(*arguments: object) -> str:
    out = io.StringIO()
    call_command("submit_samples", *map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def read_sets() -> None:
    while waiting := SampleSet.objects.filter(status=Status.QUEUED).exclude(source="").first():
        tasks.draw_samples(waiting.pk)


def written(data_dir: Path) -> tuple[int, ...]:
    """Return how many rows and files there are of what is handed in."""
    files = [path for path in (data_dir / "submissions").rglob("*") if path.is_file()]
    rows = (Experiment.objects, Entry.objects, SampleSet.objects, StoredFile.objects)
    return (*(each.count() for each in rows), len(files))


# --- A set that another tool made ---------------------------------------------------------------


def test_a_mixture_of_another_tool_is_scored_as_the_command_line_does(
    tmp_path: Path, data_dir: Path, client: Client
) -> None:
    call_command("register_dataset", "digits", "--digits", stdout=io.StringIO())
    dataset = Dataset.objects.get()
    scoring = Scoring(
        extractor="pixels-pca64", metrics=("fd", "kd", "precision", "recall"), num_images=300
    )
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    train = read_images(dataset.train_path).pixels
    mixture = GaussianMixture(10, covariance_type="diag", random_state=0)
    mixture.fit(train.reshape(len(train), -1).astype(float))
    folders = []
    for seed in range(2):
        mixture.random_state = seed
        drawn = mixture.sample(300)[0].round().clip(0, 255).astype(np.uint8)
        folders.append(tmp_path / f"mixture-{seed}.npz")
        write_npz(folders[-1], drawn.reshape(-1, 1, 8, 8), None)
    said = write_manifest(tmp_path, {**SAID, "costs": {"parameters": 1290}})

    told = hand_in(*folders, "--manifest", said, "--protocol", protocol.fingerprint)
    work_off()

    entry = Entry.objects.get(kind=Entry.Kind.EXTERNAL)
    assert (
        told
        == f"handed in entry {entry.pk}, Mixture 1.5: /experiments/{entry.experiment_id}/#entry-{entry.pk}\n"
    )
    for seed, path in enumerate(folders):
        (tmp_path / "p.json").write_text(json.dumps({"protocol": protocol.record}))
        out = tmp_path / "scores.json"
        reference, held_out = str(dataset.train_path), str(dataset.test_path)
        status = evaluation(
            [
                *("score", str(path), "--reference", reference, "--held-out", held_out),
                *("--protocol", str(tmp_path / "p.json"), "--json", str(out)),
                *("--cache", str(tmp_path / "cache")),
            ]
        )
        assert status == 0
        expected = json.loads(out.read_text())["metrics"]
        found = MetricValue.objects.filter(
            evaluation__sample_set__entry=entry, evaluation__sample_set__seed=seed
        )
        assert {each.metric: each.value for each in found} == {
            name: value["value"] for name, value in expected.items()
        }
    row = next(row for row in ranking.rank(protocol).rows if row.entry == entry)
    assert (row.seeds_scored, row.seeds_total, row.kind) == (2, 2, "External")
    assert row.cells["fd"].rank == 1 and row.cells["parameters"].declared == 1290
    board = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()
    assert 'data-kind="external"' in board and "declared</span>" in board


# --- What comes of a set ------------------------------------------------------------------------


def test_several_sets_are_several_seeds(tmp_path: Path, protocol: Protocol, manifest: Path) -> None:
    paths = [npz(tmp_path, f"{seed}.npz", seed=seed) for seed in range(3)]

    hand_in(*paths, "--manifest", manifest, "--protocol", protocol.fingerprint[:12], "--name=X")
    read_sets()

    experiment = Experiment.objects.get(name="X")
    assert (experiment.seeds, experiment.budget) == ([0, 1, 2], "")
    sets = SampleSet.objects.exclude(source="").order_by("seed")
    assert [each.status for each in sets] == [Status.COMPLETED] * 3
    for path, sample_set in zip(paths, sets, strict=True):
        assert (read_images(sample_set.path).pixels == read_images(path).pixels).all()
        assert (sample_set.count, sample_set.drawn) == (20, 20)
        assert sample_set.grid_path.is_file()
    assert Evaluation.objects.filter(sample_set__in=sets).count() == 3
    assert experiment.entries.filter(kind=Entry.Kind.CONTROL).count() == 4


def test_an_entry_joins_an_experiment_by_its_name_or_number(
    tmp_path: Path, protocol: Protocol, manifest: Path
) -> None:
    experiment = factories.make_experiment(protocols=[protocol])

    hand_in(npz(tmp_path), "--manifest", manifest, "--experiment", experiment.name)
    hand_in(npz(tmp_path), "--manifest", manifest, "--experiment", experiment.pk, "--label=again")

    labels = experiment.entries.filter(kind=Entry.Kind.EXTERNAL).values_list("label", flat=True)
    assert list(labels) == ["Mixture 1.5", "again"]


def test_the_same_again_is_the_same_entry(
    tmp_path: Path, data_dir: Path, protocol: Protocol, manifest: Path
) -> None:
    arguments = (npz(tmp_path), "--manifest", manifest, "--protocol", protocol.fingerprint)
    hand_in(*arguments)
    before = written(data_dir)

    assert hand_in(*arguments).startswith("handed in already: entry ")

    assert written(data_dir) == before


def test_images_are_matched_to_prompts_by_their_captions(
    tmp_path: Path, asking: Protocol, manifest: Path
) -> None:
    mixed = [TEXTS[2], TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[1]]
    folder = asked_folder(tmp_path, mixed)

    hand_in(folder, "--manifest", manifest, "--protocol", asking.fingerprint)
    read_sets()

    sample_set = SampleSet.objects.exclude(source="").get()
    drawn = read_images(sample_set.path)
    assert sample_set.status == Status.COMPLETED, sample_set.reason
    assert drawn.captions == TEXTS * 2
    places = [1, 3, 0, 2, 5, 4]
    assert (drawn.pixels == np.concatenate([noise(1, seed=place) for place in places])).all()


def test_what_is_odd_is_found_and_stays(tmp_path: Path, protocol: Protocol, manifest: Path) -> None:
    train = read_images(protocol.dataset.train_path).pixels
    pixels = noise(30, seed=3)
    pixels[1], pixels[2] = pixels[0], 7
    pixels[10:20] = train[:10]
    write_npz(tmp_path / "s.npz", pixels, None)

    told = hand_in(tmp_path / "s.npz", "--manifest", manifest, "--protocol", protocol.fingerprint)
    read_sets()

    findings = SampleSet.objects.exclude(source="").get().findings
    assert findings[:4] == [
        "30 images, of which a seeded choice of 20 is scored",
        "1 of 30 images are exact copies of earlier ones; the first is image 1, a copy of image 0",
        "1 of 30 images are of one colour; the first is image 2",
        "10 of 30 images are training images, bit for bit",
    ]
    assert findings[4].startswith(
        "10 of 30 images looked at lie nearer to a training image than 99 %"
    )
    assert "exact copies of earlier ones" in told


def test_near_copies_are_found_and_unseen_images_are_not(
    tmp_path: Path, protocol: Protocol, manifest: Path
) -> None:
    train = read_images(protocol.dataset.train_path).pixels
    near = (train[:20].astype(int) + 3).clip(0, 255).astype(np.uint8)
    write_npz(tmp_path / "near.npz", near, None)
    npz(tmp_path, "new.npz", seed=9)

    for name in ("near", "new"):
        arguments = ("--manifest", manifest, "--protocol", protocol.fingerprint, f"--label={name}")
        hand_in(tmp_path / f"{name}.npz", *arguments)
    read_sets()

    found = {each.entry.label: each.findings for each in SampleSet.objects.exclude(source="")}
    assert found["new"] == []
    (text,) = found["near"]
    assert text.startswith("20 of 20 images looked at") and text.endswith("these may be copies")


def test_files_of_what_was_read_are_garbage_and_others_are_kept(
    tmp_path: Path, data_dir: Path, protocol: Protocol, manifest: Path
) -> None:
    arguments = ("--manifest", manifest, "--protocol", protocol.fingerprint)
    hand_in(npz(tmp_path), *arguments)
    (file,) = (data_dir / "submissions").iterdir()
    os.utime(file, (0, 0))
    assert list(garbage.find()) == []

    read_sets()

    assert [name for name, _ in garbage.find()] == [stored.name_of(file)]


# --- What is refused ----------------------------------------------------------------------------

Make = Callable[[Path], list[object]]


def files(**content: bytes) -> Make:
    return lambda place: [make_folder(place / "set", content)]


def one(name: str, content: bytes) -> Make:
    def write(place: Path) -> list[object]:
        (place / name).write_bytes(content)
        return [place / name]

    return write


def zipped(*entries: tuple[str, bytes]) -> Make:
    return lambda place: [make_zip(place / "s.zip", entries)]


def pictures(count: int = 20, more: dict[str, bytes] | None = None) -> dict[str, bytes]:
    return {f"{i:02}.png": png(i) for i in range(count)} | (more or {})


def array(**content: Any) -> Make:
    def write(place: Path) -> list[object]:
        np.savez(place / "s.npz", **content)
        return [place / "s.npz"]

    return write


MALFORMED: dict[str, tuple[Make, str]] = {
    "no such path": (lambda place: [place / "none"], "none does not exist"),
    "an empty folder": (files(**{"a.txt": b""}), "set: holds no images"),
    "an empty file": (one("s.zip", b""), "s.zip: not a zip file"),
    "no zip": (one("s.zip", b"no zip at all"), "s.zip: not a zip file"),
    "a zip that ends early": (
        lambda place: one("t.zip", make_zip(place / "s.zip", list(pictures().items())).read_bytes()[:-30])(place),
        "t.zip: a truncated or damaged zip file",
    ),
    "a picture that is none": (files(**pictures(20, {"20.png": b"no"})), "20.png: "),
    "a program": (files(**pictures(20, {"run.exe": b"MZ"})), "run.exe: "),
    "a pickle": (one("s.pkl", b"\x80\x04"), "s.pkl: "),
    "a path that leaves": (zipped(("../../a.png", PNG)), "../../a.png: a name that leaves"),
    "an absolute path": (zipped(("/etc/a.png", PNG)), "/etc/a.png: an absolute name"),
    "too few": (lambda place: [npz(place, count=19)], "expected at least 20 generated images, got 19"),
    "another size": (lambda place: [npz(place, side=16)], "expected channels, height and width (1, 8, 8), got (1, 16, 16)"),
    "colour for grey": (lambda place: [npz(place, channels=3)], "got (3, 8, 8)"),
    "two sizes": (files(**pictures(19, {"99.png": encode("L", (4, 4))})), "99.png: 4x4 pixels where"),
    "lossy files": (files(**{f"{i:02}.jpg": png(i, "JPEG") for i in range(20)}), "lossy"),
    "one lossy file": (files(**pictures(19, {"99.jpg": png(1, "JPEG")})), "99.jpg: "),
    "no arr_0": (array(other=noise()), "s.npz: holds no arr_0"),
    "floats": (array(arr_0=noise() / 255), "floats are not rounded here"),
    "objects": (array(arr_0=np.array([{}], object)), "s.npz: arr_0: "),
    "a bomb": (
        lambda place: [make_zip(place / "s.zip", [("a.png", b"\0" * 2_000_000)], 8)],
        "a.png: unpacks from",
    ),
    "the same for two seeds": (
        lambda place: [npz(place, "a.npz"), npz(place, "b.npz")],
        "files.1: the same content as files.0",
    ),
    "a folder of arrays": (lambda place: [npz(make_folder(place / "set", {"a.txt": b""})).parent], "s.npz: "),
    "no such manifest": (lambda place: [npz(place), "--manifest", place / "none.yaml"], "none.yaml"),
    "a manifest that is none": (lambda place: [npz(place), "--manifest", write_manifest(place, [1])], "expected field: value pairs"),
    "a manifest without a system": (
        lambda place: [npz(place), "--manifest", write_manifest(place, {"made_by": "Jo"})],
        "manifest.system: missing",
    ),
    "a manifest with a field too many": (
        lambda place: [npz(place), "--manifest", write_manifest(place, {**SAID, "fid": 1.8})],
        "manifest.fid: unknown",
    ),
    "a cost of 0": (
        lambda place: [npz(place), "--manifest", write_manifest(place, {**SAID, "costs": {"nfe": 0}})],
        "manifest.costs.nfe: expected a number above 0",
    ),
    "a day that is none": (
        lambda place: [npz(place), "--manifest", write_manifest(place, {**SAID, "date": "soon"})],
        "manifest.date: expected a day",
    ),
    "a control's name": (lambda place: [npz(place), "--label=Real test images"], "label: 'Real test images' is taken"),
    "a name too long": (lambda place: [npz(place), "--name=" + "x" * 201], "name: expected a name of 1 to 200 characters"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(MALFORMED))
def test_what_is_malformed_is_refused_and_leaves_nothing(
    case: str, tmp_path: Path, data_dir: Path, protocol: Protocol, manifest: Path
) -> None:
    make, reason = MALFORMED[case]
    given = make(tmp_path)
    before = written(data_dir)
    options = [] if "--manifest" in given else ["--manifest", manifest]
    errors = io.StringIO()

    with pytest.raises((CommandError, SystemExit)) as caught:
        call_command(
            "submit_samples",
            *map(str, [*given, *options, "--protocol", protocol.fingerprint]),
            stdout=io.StringIO(),
            stderr=errors,
        )

    assert reason in f"{caught.value} {errors.getvalue()}"
    assert written(data_dir) == before


ASKED: dict[str, tuple[list[str], str]] = {
    "missing": ([*TEXTS, TEXTS[0], TEXTS[1], TEXTS[1]], "'a blue circle' has 3 of 2 images; 'two crosses' has 1 of 2 images"),
    "no prompt": ([*TEXTS, TEXTS[0], TEXTS[1], "a pony"], "image 5 was asked with no prompt: 'a pony'"),
    "twice": ([*TEXTS * 2, TEXTS[0]], "'a red circle' has 3 of 2 images"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(ASKED))
def test_prompts_that_are_missing_or_there_twice_are_named(
    case: str, tmp_path: Path, data_dir: Path, asking: Protocol, manifest: Path
) -> None:
    texts, reason = ASKED[case]
    folder = asked_folder(tmp_path, texts)
    before = written(data_dir)

    with pytest.raises(CommandError, match=reason):
        hand_in(folder, "--manifest", manifest, "--protocol", asking.fingerprint)

    assert written(data_dir) == before


def test_images_without_captions_are_refused_where_prompts_ask(
    tmp_path: Path, asking: Protocol, manifest: Path
) -> None:
    with pytest.raises(CommandError, match="no captions; expected the prompt that each image"):
        hand_in(npz(tmp_path, count=6), "--manifest", manifest, "--protocol", asking.fingerprint)


@pytest.mark.parametrize("case", ["no zip", "a picture that is none", "too few", "another size"])
def test_a_worker_refuses_it_as_well_and_calls_the_file_what_its_owner_does(
    case: str, tmp_path: Path, protocol: Protocol
) -> None:
    make, reason = MALFORMED[case]
    (path,) = make(tmp_path)
    assert isinstance(path, Path)
    if path.is_dir():
        path = make_zip(tmp_path / "s.zip", [(p.name, p.read_bytes()) for p in path.iterdir()])
    spec = read_external({"manifest": SAID, "protocols": [protocol.fingerprint]})
    submit_external(spec, [GivenFile(path, "my samples" + path.suffix)], user=None)

    read_sets()

    sample_set = SampleSet.objects.exclude(source="").get()
    assert (sample_set.status, sample_set.cause) == (Status.FAILED, "bad input")
    assert reason.removeprefix("s.zip: ") in sample_set.reason
    assert sample_set.source.rpartition("/")[2] not in sample_set.reason
    assert not Evaluation.objects.filter(sample_set=sample_set).exists()


def test_wrong_fields_are_refused_together() -> None:
    with pytest.raises(SpecificationError) as caught:
        read_external({"manifest": {}, "experiment": "none", "protocols": ["x"], "colour": 1})

    assert set(caught.value.errors) == {"colour", "manifest.system", "experiment", "protocols"}


def test_another_entry_of_that_name_is_in_the_way(
    tmp_path: Path, protocol: Protocol, manifest: Path, data_dir: Path
) -> None:
    arguments = ("--manifest", manifest, "--protocol", protocol.fingerprint)
    hand_in(npz(tmp_path), *arguments)
    before = written(data_dir)
    errors = io.StringIO()

    with pytest.raises(SystemExit):
        call_command(
            "submit_samples",
            *map(str, [npz(tmp_path, seed=5), *arguments]),
            stdout=io.StringIO(),
            stderr=errors,
        )

    assert "name: an experiment is named 'Mixture 1.5' already" in errors.getvalue()
    assert written(data_dir) == before


def test_a_worker_that_is_lost_in_the_middle_doubles_nothing(
    tmp_path: Path, protocol: Protocol, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(npz(tmp_path), "--manifest", manifest, "--protocol", protocol.fingerprint)
    sample_set = SampleSet.objects.exclude(source="").get()
    with monkeypatch.context() as killed:
        killed.setattr("experiments.services.finish_sampling", lambda *_args, **_facts: None)
        while sample_set.status == Status.QUEUED:  # controls are older
            tasks.draw_samples(sample_set.pk)  # ends as kill -9 does: a file, and a row that runs
            sample_set.refresh_from_db()
    assert sample_set.status == Status.RUNNING and sample_set.path.is_file()
    assert requeue_lost(of=Worker.objects.all()) > 0

    read_sets()

    sample_set.refresh_from_db()
    assert (sample_set.status, sample_set.attempt) == (Status.COMPLETED, 2)
    assert Evaluation.objects.filter(sample_set=sample_set).count() == 1
    assert SampleSet.objects.exclude(source="").count() == 1

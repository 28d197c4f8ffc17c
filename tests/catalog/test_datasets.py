"""Datasets as rows: registered once, frozen, and only as good as their files."""

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from catalog.engine import RegistrationError
from catalog.models import Dataset, FrozenError
from catalog.preparation import prepare_path
from catalog.services import register_dataset, slug_of
from catalog.stored import DamagedError
from tests.evaluation.pictures import GREY, PNG, make_zip

pytestmark = pytest.mark.django_db


def make_archive(path: Path, picture: bytes = PNG) -> Path:
    parts = ("train", "test")
    return make_zip(path, [(f"{part}/{c}/1.png", picture) for part in parts for c in "ab"])


def register(archive: Path, name: str = "Pets", **fields: str) -> tuple[Dataset, bool]:
    with prepare_path(archive) as prepared:
        return register_dataset(name, prepared, **fields)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "pets.zip")


@pytest.fixture
def pets(archive: Path) -> Dataset:
    return register(archive)[0]


def folders(data_dir: Path) -> list[str]:
    return sorted(path.name for path in data_dir.glob("datasets/*"))


def test_a_registered_dataset_has_its_files_and_facts(archive: Path, data_dir: Path) -> None:
    dataset, is_new = register(archive, "My Pets", source="a friend", licence="CC0")

    assert is_new
    assert (dataset.slug, dataset.name) == ("my-pets", "My Pets")
    assert (dataset.source, dataset.licence) == ("a friend", "CC0")
    assert (dataset.resolution, dataset.channels, dataset.num_classes) == (4, 3, 2)
    assert (dataset.train_size, dataset.test_size) == (2, 2)
    assert dataset.train_path == data_dir / "datasets" / dataset.digest[:16] / "train.npz"
    assert folders(data_dir) == [dataset.digest[:16]]
    dataset.verify()


def test_registering_the_same_again_returns_the_first(
    pets: Dataset, archive: Path, data_dir: Path
) -> None:
    again, is_new = register(archive)

    assert again == pets and not is_new
    assert Dataset.objects.count() == 1
    assert folders(data_dir) == [pets.digest[:16]]


def test_the_same_name_with_other_content_is_refused(
    pets: Dataset, tmp_path: Path, data_dir: Path
) -> None:
    other = make_archive(tmp_path / "other.zip", GREY)

    with pytest.raises(RegistrationError) as caught:
        register(other)

    assert str(caught.value).startswith(
        f"pets: registered on {pets.created_at:%Y-%m-%d} with other content "
        f"({pets.digest[:12]}, not "
    )
    assert str(caught.value).endswith("); choose another name")
    assert folders(data_dir) == [pets.digest[:16]]


def test_the_same_content_under_another_name_is_refused(
    pets: Dataset, archive: Path, data_dir: Path
) -> None:
    with pytest.raises(RegistrationError) as caught:
        register(archive, "Animals")

    assert str(caught.value) == "animals: the same content is registered as pets"
    assert folders(data_dir) == [pets.digest[:16]]


@pytest.mark.parametrize("name", ["", "!?", "x" * 101])
def test_a_name_must_make_a_slug(archive: Path, name: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        register(archive, name)

    assert str(caught.value) == f"expected a name of 1 to 100 letters and digits, got {name!r}"


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\x1b", "\n"])
def test_a_name_that_would_look_like_another_is_refused(unseen: str) -> None:
    with pytest.raises(RegistrationError, match="no control characters and no marks of direction"):
        slug_of(f"Flow{unseen}ers", "dataset")


def test_a_rename_that_fails_leaves_neither_row_nor_files(
    archive: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "rename", refuse)

    with pytest.raises(PermissionError):
        register(archive)

    assert not Dataset.objects.exists()
    assert folders(data_dir) == []


def test_files_left_by_a_killed_process_are_replaced(archive: Path, data_dir: Path) -> None:
    with prepare_path(archive) as prepared:
        stale = data_dir / "datasets" / prepared.digest[:16]
        stale.mkdir()
        (stale / "train.npz").write_bytes(b"half")
        dataset, is_new = register_dataset("Pets", prepared)

    assert is_new
    dataset.verify()


def test_registering_again_puts_damaged_files_back(pets: Dataset, archive: Path) -> None:
    pets.test_path.write_bytes(b"oops")

    register(archive)

    pets.verify()


def test_a_damaged_file_is_noticed(pets: Dataset) -> None:
    damaged = bytearray(pets.test_path.read_bytes())
    damaged[-100] ^= 1
    pets.test_path.write_bytes(damaged)

    with pytest.raises(DamagedError) as caught:
        pets.verify()

    assert str(caught.value).startswith(f"pets: {pets.test_path}: has sha256 ")
    assert str(caught.value).endswith(f", but {pets.test_digest} was registered")


def test_a_missing_file_is_noticed(pets: Dataset) -> None:
    pets.train_path.unlink()

    with pytest.raises(DamagedError) as caught:
        pets.verify()

    assert str(caught.value) == f"pets: {pets.train_path}: No such file or directory"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "cats"),
        ("resolution", 8),
        ("classes", ["b", "a"]),
        ("digest", "0" * 64),
        ("train_digest", "0" * 64),
        ("test_size", 7),
        ("preparation", "none"),
    ],
)
def test_content_is_frozen(pets: Dataset, field: str, value: Any) -> None:
    dataset = Dataset.objects.get()
    setattr(dataset, field, value)

    with pytest.raises(FrozenError) as caught:
        dataset.save()

    assert str(caught.value).endswith(
        f": {field} cannot change; results depend on it, register another one instead"
    )
    assert Dataset.objects.filter(pk=pets.pk, slug="pets", digest=pets.digest).exists()


def test_the_words_about_a_dataset_may_change(pets: Dataset) -> None:
    pets.name, pets.source, pets.licence = "Cats and dogs", "the web", "CC BY 4.0"
    pets.save()

    assert Dataset.objects.get().licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("field", "value", "constraint"),
    [
        ("channels", 2, "dataset_is_grey_or_colour"),
        ("resolution", 0, "dataset_resolution_is_positive"),
        ("test_size", 0, "dataset_has_both_splits"),
    ],
)
def test_the_database_refuses_impossible_datasets(
    pets: Dataset, field: str, value: int, constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Dataset.objects.filter(pk=pets.pk).update(**{field: value})

"""The commands: what they print, what they refuse."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from PIL import Image
from pyarrow import parquet

from catalog import preparation
from catalog.admission import told
from catalog.models import Dataset, Protocol
from evaluation.imagesets import packaged
from evaluation.imagesets.in_memory import read_images
from evaluation.protocols.presets import PRESETS
from evaluation.scenes import packaged as scenes
from tests.evaluation.pictures import PNG, encode, make_folder, make_zip

pytestmark = pytest.mark.django_db
DIGITS = "128 : 131 : 128 : 132 : 131 : 131 : 131 : 129 : 126 : 130"  # in the train split
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def run(*arguments: str) -> tuple[str, str]:
    """Return what a command printed and what it said about its progress."""
    stdout, stderr = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=stdout, stderr=stderr)
    return stdout.getvalue(), stderr.getvalue()


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_zip(tmp_path / "x.zip", [(f"{c}/{i}.png", PNG) for c in "ab" for i in range(5)])


def test_digits_are_registered_by_one_word() -> None:
    printed, _ = run("register_dataset", "Digits", "--digits")

    dataset = Dataset.objects.get(slug="digits")
    assert printed == (
        "registered digits: 1,297 train and 500 test images, 8x8x1, 10 classes, "
        f"digest {dataset.digest}\n"
    )
    assert "Alpaydin" in dataset.source and dataset.licence == "CC BY 4.0"
    assert run("register_dataset", "Digits", "--digits")[0].startswith("registered already: digits")


def test_an_archive_is_registered_with_its_words(archive: Path) -> None:
    printed, progress = run(
        "register_dataset",
        "Pets",
        f"--archive={archive}",
        "--resolution=2",
        "--channels=1",
        "--licence=CC0",
        "--test-fraction=0.4",
    )

    dataset = Dataset.objects.get(slug="pets")
    assert printed.startswith("registered pets: 6 train and 4 test images, 2x2x1, 2 classes")
    assert progress == "images: 10 of 10 images\n"
    assert (dataset.source, dataset.licence) == ("x.zip", "CC0")
    assert "2x2 by centre crop" in dataset.preparation


def test_a_folder_is_registered(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "set", {f"{i}.png": PNG for i in range(5)})

    printed, _ = run("register_dataset", "Flat", f"--folder={folder}", "--source=a camera")

    assert "4 train and 1 test images, 4x4x3, unlabelled" in printed
    assert Dataset.objects.get(slug="flat").source == "a camera"


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    files = {f"{c}/{i}.png": PNG for c in "ab" for i in range(5)}
    folder = make_folder(tmp_path / "set", {**files, ".x": b"", "notes.txt": b"", "y.csv": b""})

    printed, _ = run("register_dataset", "Pets", f"--folder={folder}")

    assert printed.splitlines()[:2] == [
        "left out 1 hidden file (.x)",
        "left out 2 text files (notes.txt, …)",
    ]
    assert printed.splitlines()[2].startswith(
        "registered pets: 8 train and 2 test images, 4x4x3, 2 classes"
    )


def test_a_table_is_registered(tmp_path: Path) -> None:
    rows = [{"image": png, "label": label, "note": ""} for label in "ab" for png in [PNG] * 5]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")

    printed, _ = run("register_dataset", "Pets", f"--archive={tmp_path / 'x.parquet'}")

    assert printed.startswith("left out 1 column (note)\nregistered pets: 8 train and 2 test")
    assert Dataset.objects.get(slug="pets").classes == ["a", "b"]


def test_a_name_in_another_script_needs_a_word_for_its_address(archive: Path) -> None:
    assert refusal("register_dataset", "\u82b1", f"--archive={archive}") == (
        "expected a name of 1 to 100 letters and digits, got '\u82b1'; the dataset's address takes "
        "letters a to z and digits alone: add a word of them, as in '\u82b1 (flowers)', and the name "
        "is shown whole"
    )
    run("register_dataset", "\u82b1 (flowers)", f"--archive={archive}")
    assert Dataset.objects.get(slug="flowers").name == "\u82b1 (flowers)"


def test_a_refused_archive_leaves_nothing_behind(tmp_path: Path, data_dir: Path) -> None:
    path = make_zip(tmp_path / "x.zip", [("a/1.png", PNG), ("../1.png", PNG)])

    reason = refusal("register_dataset", "Pets", f"--archive={path}")

    assert reason == (
        "x.zip: ../1.png: a name that leaves its folder or has empty steps; "
        "expected plain relative names"
    )
    assert not Dataset.objects.exists()
    assert [path for path in data_dir.rglob("*") if path.is_file()] == []


def test_images_of_several_sizes_are_refused_with_the_option_that_helps(tmp_path: Path) -> None:
    large = io.BytesIO()
    Image.new("RGB", (9, 7)).save(large, format="PNG")
    path = make_zip(tmp_path / "x.zip", [("1.png", PNG), ("2.png", large.getvalue())])

    reason = refusal("register_dataset", "x", f"--archive={path}")

    assert reason.endswith("expected one size, or a resolution to resize to (--resolution)")


def test_wrong_options_are_refused(tmp_path: Path, archive: Path) -> None:
    assert refusal("register_dataset", "x", f"--folder={archive}") == f"{archive}: not a folder"
    assert refusal("register_dataset", "x", f"--archive={tmp_path}") == (
        f"{tmp_path}: a folder; use --folder"
    )
    assert refusal("register_dataset", "x", f"--archive={tmp_path}/none.zip") == (
        "none.zip: does not exist; expected a folder, a .zip or an .npz file"
    )
    assert refusal("register_dataset", "x", "--digits", "--test-fraction=0.5") == (
        "--test-fraction goes with --archive or --folder"
    )
    assert refusal("register_dataset", "?", "--digits") == (
        "expected a name of 1 to 100 letters and digits, got '?'"
    )
    assert (
        "one of the arguments --archive --folder --torchvision --digits --packaged is required"
        in refusal("register_dataset", "x")
    )
    assert refusal("register_dataset", "x", "--digits", "--resolution=0") == (
        "digits: expected a resolution of 1 to 8192 pixels, got 0"
    )


def test_a_full_disk_is_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(target))

    monkeypatch.setattr(Path, "rename", refuse)

    assert refusal("register_dataset", "x", f"--archive={archive}").endswith(": Permission denied")


def test_a_protocol_is_registered_and_its_fingerprint_printed() -> None:
    run("register_dataset", "Digits", "--digits")
    words = ("--extractor=pixels-pca64", "--metrics=fd, recall", "--admission-images=0")

    printed, progress = run("register_protocol", "digits", *words)

    assert progress.startswith("making pixels-pca64, fd, recall for digits: weights,")
    assert printed.splitlines() == [
        "registered pixels-pca64, fd, recall on digits: FD[pixels], PR[pixels] recall",
        f"labels of conditional samples: in the reference's shares of 10 classes ({DIGITS})",
        "extractor: not tested",
        Protocol.objects.get().fingerprint,
    ]


@pytest.mark.usefixtures("engine_here")
def test_the_rule_of_labels_is_chosen_and_part_of_the_name_and_the_fingerprint() -> None:
    run("register_dataset", "Digits", "--digits")
    words = ("--extractor=pixels-pca64", "--metrics=fd", "--admission-images=0")
    for more in ((), ("--labels=reference",), ("--labels=uniform",)):
        run("register_protocol", "digits", *words, *more)

    names = list(Protocol.objects.order_by("pk").values_list("name", flat=True))
    assert names == ["pixels-pca64, fd", "pixels-pca64, fd, labels uniform"]
    one, other = Protocol.objects.order_by("pk")
    assert one.differences(other) == [
        f"images labels: in the reference's shares of 10 classes ({DIGITS}) and in equal shares of "
        "the reference's 10 classes"
    ]
    assert refusal("register_protocol", "digits", *words, "--labels=odd") == (
        "expected reference, uniform or a whole number for each class, as in 7,2,1; got 'odd'"
    )
    assert refusal("register_protocol", "digits", *words, "--labels=7,2,1").endswith(
        "images.labels: expected a share for each of the reference's 10 classes, got 3"
    )


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"test_accuracy": 0.5}, ["extractor: not tested"]),
        (
            {"admission": {"version": 2, "passed": True, "count": 500, "reasons": []}},
            ["extractor: passed, its test on 500 images"],
        ),
        (
            {"admission": {"passed": True, "count": 500, "reasons": []}},
            ["extractor: passed by the rules of before, its test on 500 images"],
        ),
        (
            {
                "admission": {
                    "version": 2,
                    "passed": False,
                    "count": 500,
                    "reasons": ["blur: no"],
                    "unranked": {"fd": "FD: too few"},
                }
            },
            ["extractor: failed: blur: no", "no ranks: FD: too few"],
        ),
    ],
)
def test_what_the_extractors_test_found_is_printed(facts: dict[str, Any], lines: list[str]) -> None:
    assert told(Protocol(facts=facts, record={"metrics": {"fd": {}}})) == lines


def test_the_presets_are_those_of_the_engine() -> None:
    with pytest.raises(CommandError) as caught:
        run("register_protocol", "digits", "--preset=fid")

    assert all(f"'{preset}'" in str(caught.value) for preset in PRESETS)


def test_a_protocol_needs_a_registered_dataset() -> None:
    assert refusal("register_protocol", "digits") == (
        "expected a registered dataset (none yet), got 'digits'"
    )
    run("register_dataset", "Digits", "--digits")
    assert refusal("register_protocol", "cifar") == (
        "expected a registered dataset (digits), got 'cifar'"
    )


def shared(name: str) -> Path:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"no {name} in ../shared/data")
    return path


@pytest.mark.slow
def test_all_of_mnist_is_registered() -> None:
    printed, _ = run("register_dataset", "MNIST", f"--archive={shared('mnist.zip')}")

    assert printed.startswith(
        "registered mnist: 60,000 train and 10,000 test images, 28x28x1, 10 classes, digest 8995dcd"
    )


def test_cifar_is_read_from_jpeg() -> None:
    images = read_images(shared("cifar10.zip"), part="test")

    assert images.pixels.shape == (10_000, 3, 32, 32)
    assert images.classes[:3] == ("airplane", "automobile", "bird")
    assert images.labels is not None and set(np.bincount(images.labels)) == {1000}


@pytest.mark.usefixtures("engine_here")
def test_lossy_and_resized_images_are_noted_wherever_they_are_scored_against(
    tmp_path: Path, client: Client
) -> None:
    images = tmp_path / "jpeg.zip"
    pictures = [encode(size=(8, 8), kind="JPEG", quality=10 + i) for i in range(20)]
    make_zip(images, [(f"{i % 2}/{i}.jpg", data) for i, data in enumerate(pictures)])
    words = "16 of 16 train images are from lossy files (JPEG, lossy WebP); features see the"
    resized = "brought to 4x4 pixels by centre crop to a square"

    printed, _ = run("register_dataset", "Photos", f"--archive={images}", "--resolution=4")
    run("register_protocol", "photos", "--extractor=pixels-pca64", "--metrics=kd")
    # 4 images scored, 2 of each class: no test can tell anything

    assert f"note: {words}" in printed and f"note: {resized}" in printed
    dataset, protocol = Dataset.objects.get(), Protocol.objects.get()
    assert (dataset.train_lossy, dataset.test_lossy) == (16, 4)
    assert protocol.record["reference"]["lossy"] == 16
    assert protocol.record["held_out"]["lossy"] == 4
    assert protocol.parsed().fingerprint() == protocol.fingerprint
    assert protocol.image_notes == dataset.notes and len(dataset.notes) == 3
    for address in (
        "/datasets/photos/",
        f"/protocols/{protocol.fingerprint}/",
        f"/leaderboards/{protocol.fingerprint}/",
    ):
        page = client.get(address).content.decode()
        assert words in page and resized in page, address


def test_a_dataset_of_before_learns_of_its_lossy_files_when_it_is_registered_again(
    tmp_path: Path,
) -> None:
    pictures = [(f"{i}.jpg", encode(kind="JPEG", quality=10 + i)) for i in range(10)]
    command = ("register_dataset", "Photos", f"--archive={make_zip(tmp_path / 'x.zip', pictures)}")
    run(*command)
    Dataset.objects.update(train_lossy=None, test_lossy=None)
    assert Dataset.objects.get().notes == []

    printed, _ = run(*command)

    assert printed.startswith("registered already: photos")
    assert "note: 8 of 8 train images are from lossy files" in printed


def captioned(folder: Path) -> Path:
    """Return an archive of 2 train and 2 test images with captions, as imagefolder has them."""
    files = {}
    for part, captions in {
        "train": ["a red circle", "Ein größerer Kreis, rot"],
        "test": ["a blue circle", "a red square & 円"],
    }.items():
        rows = [f'{{"file_name": "{i}.png", "text": "{text}"}}' for i, text in enumerate(captions)]
        files[f"{part}/metadata.jsonl"] = "\n".join(rows).encode()
        files |= {f"{part}/{i}.png": PNG for i in range(len(captions))}
    return make_zip(folder / "told.zip", files.items())


def test_captions_are_kept_and_their_words_are_told_everywhere(
    tmp_path: Path, client: Client, admin_client: Client
) -> None:
    printed, _ = run("register_dataset", "Told", f"--archive={captioned(tmp_path)}")

    dataset = Dataset.objects.get()
    assert "4x4x3, captions of 7 words, digest" in printed
    assert read_images(dataset.train_path).captions == ("a red circle", "Ein größerer Kreis, rot")
    assert dataset.captions is not None
    assert dataset.captions["words"] == ["a", "circle", "ein", "größerer", "kreis", "red", "rot"]
    assert dataset.captions["unknown_words"] == ["blue", "square", "円"]
    told = client.get("/api/datasets/told/").json()
    assert told["has_captions"] and (told["train_lossy"], told["test_lossy"]) == (0, 0)
    assert (told["distinct_words"], told["longest_caption"], told["unknown_words"]) == (7, 4, 3)
    page = client.get("/datasets/told/").content.decode()
    assert "a, circle, ein, größerer, kreis, red, rot" in page
    assert "3 of the test split that no train caption has: blue, square, 円" in page
    assert "2 distinct of 2, 3 to 4 words, 3.5 on average" in page
    assert ">7</td>" in client.get("/datasets/").content.decode()
    admin = admin_client.get(f"/admin/catalog/dataset/{dataset.pk}/change/").content.decode()
    assert "7: a, circle, ein, größerer" in admin and "3: blue, square, 円" in admin


def test_a_dataset_of_before_has_no_captions(client: Client) -> None:
    run("register_dataset", "Digits", "--packaged=digits")

    told = client.get("/api/datasets/digits/").json()

    assert Dataset.objects.get().captions is None
    assert not told["has_captions"]
    assert (told["distinct_words"], told["longest_caption"], told["unknown_words"]) == (None,) * 3


def test_packaged_scenes_are_registered_with_their_captions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenes, "SIZES", {"train": 60, "test": 40})

    printed, _ = run("register_dataset", "Scenes32", "--packaged=scenes32")

    dataset = Dataset.objects.get()
    assert printed.startswith("registered scenes32: 60 train and 40 test images, 32x32x3, captions")
    images = read_images(dataset.test_path)
    assert np.array_equal(images.pixels, scenes.packaged_scenes(32, "test").pixels)
    assert images.captions == scenes.packaged_scenes(32, "test").captions
    assert dataset.source == "drawn by Trilemma"


def test_every_packaged_set_can_be_registered() -> None:
    assert preparation.PACKAGED.keys() == packaged.PACKAGED.keys()


def test_other_captions_make_another_dataset(tmp_path: Path) -> None:
    archive = captioned(tmp_path)
    run("register_dataset", "Told", f"--archive={archive}")
    files = {name: data for name, data in members(archive).items() if name.endswith(".png")}
    silent = make_zip(tmp_path / "silent.zip", files.items())
    half = make_zip(
        tmp_path / "half.zip", (files | {"train/0.txt": b"a", "train/1.txt": b"b"}).items()
    )

    run("register_dataset", "Silent", f"--archive={silent}")
    refused = refusal("register_dataset", "Half", f"--archive={half}")

    told, silent_one = Dataset.objects.get(slug="told"), Dataset.objects.get(slug="silent")
    assert told.digest != silent_one.digest
    assert refused == (
        "half.zip: 2 of 4 images have no caption, the first is test/0.png; expected one for every "
        "image or for none"
    )


def members(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}

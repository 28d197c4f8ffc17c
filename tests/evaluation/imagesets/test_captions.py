"""Captions beside images: how they are kept in arrays and tables, carried along and counted."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets import arrays
from evaluation.imagesets.in_memory import Images, convert_images, read_images
from evaluation.imagesets.lint import lint
from evaluation.imagesets.opening import images_digest, open_images
from evaluation.imagesets.splits import split_images
from evaluation.imagesets.texts import CaptionFacts, caption_facts, vocabulary, words
from evaluation.imagesets.writing import write_npz
from tests.evaluation.pictures import PNG, make_folder, message

PIXELS = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 1, 2, 2)
CAPTIONS = [
    "a red circle",
    "zwei größere 円, left of a square",
    "\u0645\u06cc\u200c\u062e\u0648",
    "x" * 1000,
]
PLAIN = "expected text of 1 to 1,000 printable characters"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder; tmp_path itself holds the site's data folder."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_captions_are_written_and_read_beside_the_images(place: Path) -> None:
    write_npz(place / "x.npz", PIXELS, np.arange(4), seeds=range(4), captions=CAPTIONS)

    stream, images = open_images(place / "x.npz"), read_images(place / "x.npz")

    assert stream.captions == images.captions == tuple(CAPTIONS)
    assert images.left_out == ()
    assert images.labels is not None and images.labels.tolist() == [0, 1, 2, 3]
    assert open_images(place / "x.npz", labelled=False).captions is None
    assert stream.digest() == images_digest(PIXELS)
    with np.load(place / "x.npz") as file:
        assert file.files == ["arr_0", "labels", "seeds", "captions"]
        assert file["captions"].dtype == np.dtype("<U1000")


def test_captions_stay_with_their_images(place: Path) -> None:
    captions = tuple(f"image {value}" for value in range(10))
    pixels = np.repeat(np.arange(10, dtype=np.uint8), 4).reshape(10, 1, 2, 2)
    images = Images(pixels, np.arange(10) % 2, ("a", "b"), captions=captions)

    splits = split_images(images, 4)
    large = convert_images(splits["test"], name="x", resolution=4, channels=3)

    for part in (*splits.values(), large):
        assert part.captions == tuple(f"image {image[0, 0, 0]}" for image in part.pixels)
    assert len(large.captions or ()) == 4


def array(**others: object) -> dict[str, object]:
    return {"arr_0": PIXELS.transpose(0, 2, 3, 1), **others}


REFUSED = {
    "too few": (
        np.array(["a", "b"]),
        "x.npz: captions: <U1 (2,); expected text of fixed width for each of 4 images",
    ),
    "several for an image": (
        np.array([["a", "b"]] * 4),
        "x.npz: captions: <U1 (4, 2); expected text of fixed width for each of 4 images",
    ),
    "bytes": (
        np.array([b"a"] * 4),
        "x.npz: captions: |S1 (4,); expected text of fixed width for each of 4 images",
    ),
    "objects": (
        np.array(["a"] * 4, object),
        "x.npz: captions: object (4,) does not fit its size; expected a plain array",
    ),
    "empty": (
        np.array(["a", "b", " ", "c"]),
        f"x.npz: captions: image 2: an empty caption; {PLAIN}",
    ),
    "long": (
        np.array(["a", "b" * 5000, "c", "d"]),
        f"x.npz: captions: image 1: a caption of 5,000 characters; {PLAIN}",
    ),
    "control characters": (
        np.array(["a", "b", "c", "d\x07e"]),
        f"x.npz: captions: image 3: the caption 'd\\x07e' has control characters; {PLAIN}",
    ),
    "reordering characters": (
        np.array(["a\u202eb", "b", "c", "d"]),
        f"x.npz: captions: image 0: the caption 'a\\u202eb' has control characters; {PLAIN}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_array_that_is_no_captions_is_refused(place: Path, case: str) -> None:
    captions, expected = REFUSED[case]
    np.savez(place / "x.npz", **array(captions=captions))  # type: ignore[arg-type]  # any array

    assert message(lambda: read_images(place / "x.npz")) == expected


def test_numbers_that_are_no_characters_are_damage(place: Path) -> None:
    codes = np.full(4, 0x110000, np.uint32)
    reasons = set()
    for order in "<>":
        captions = codes.astype(f"{order}u4").view(f"{order}U1")
        np.savez(place / "x.npz", **array(captions=captions))  # type: ignore[arg-type]  # any array
        reasons.add(message(lambda: read_images(place / "x.npz")))

    assert reasons == {"x.npz: captions: damaged (no characters); expected text"}


def test_captions_of_either_byte_order_are_read(place: Path) -> None:
    np.savez(place / "x.npz", **array(captions=np.array(CAPTIONS, ">U1000")))  # type: ignore[arg-type]  # any array

    assert read_images(place / "x.npz").captions == tuple(CAPTIONS)


def test_what_could_not_be_read_again_is_not_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(captions: list[str]) -> str:
        return message(lambda: write_npz(place / "x.npz", PIXELS, None, captions=captions))

    assert write(["a"]) == "x.npz: captions: 1 captions for 4 images; expected one for each"
    assert write(["a", "", "b", "c"]) == f"x.npz: captions: image 1: an empty caption; {PLAIN}"
    monkeypatch.setattr(arrays, "MAX_WHOLE_BYTES", 100)
    assert write(["a", "b", "c", "d" * 10]) == (
        "x.npz: captions: 160 bytes, as the longest has 10 characters; expected at most 100"
    )
    assert not any(place.iterdir())


def test_words_are_those_of_any_script_without_punctuation() -> None:
    assert words("A red-and-blue Circle, 2 px; left_of…") == [
        "a", "red", "and", "blue", "circle", "2", "px", "left", "of",
    ]  # fmt: skip
    assert words("Größe 大きい円 नमस्ते مرحبا") == ["größe", "大きい円", "नमस्ते", "مرحبا"]
    assert words("cafe\u0301") == words("CAFÉ") == ["café"]
    assert words("!?") == []
    assert vocabulary(["b a", "a c", "B"]) == ["a", "b", "c"]


def test_captions_are_told_in_numbers(place: Path) -> None:
    captions = ["a cat", "a cat", "a big, red dog", "?"]
    write_npz(place / "x.npz", PIXELS, None, captions=captions)

    facts = caption_facts(captions)

    assert facts == CaptionFacts(count=4, distinct=3, words=5, shortest=0, mean=2.0, longest=4)
    assert str(facts) == (
        "4 captions, 3 distinct, of 5 distinct words; 0 to 4 words each, 2 on average"
    )
    assert lint(open_images(place / "x.npz")).to_record()["captions"] == {
        "count": 4,
        "distinct": 3,
        "words": 5,
        "shortest": 0,
        "mean": 2.0,
        "longest": 4,
    }


def test_the_captions_of_a_part_are_those_of_its_images(place: Path) -> None:
    folder = make_folder(
        place / "set",
        {
            **{f"train/{name}.png": PNG for name in ("b", "a")},
            **{f"train/{name}.txt": name.encode() for name in ("b", "a")},
            "test/c.png": PNG,
            "test/c.txt": b"c",
        },
    )

    assert open_images(folder, part="train").captions == ("a", "b")
    assert open_images(folder, part="test").captions == ("c",)

"""Linting: what is found, how it is named, and that it takes one pass."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import given, strategies as st

from evaluation.imagesets.lint import find_duplicates, is_constant, lint, shared_images
from evaluation.imagesets.opening import image_digests, images_digest, open_images
from tests.evaluation.pictures import encode, make_folder, png_of


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 4), np.uint8)


def test_a_clean_set_has_no_warnings() -> None:
    pixels = pictures(300)

    found = lint(open_images(pixels))

    assert found.is_clean and found.warnings() == []
    assert found.to_record() == {
        "count": 300,
        "channels": 3,
        "height": 4,
        "width": 4,
        "digest": images_digest(pixels),
        "duplicates": 0,
        "first_duplicate": None,
        "constant": 0,
        "first_constant": None,
        "lossy": 0,
    }
    json.dumps(found.to_record())


def test_what_spoils_a_score_is_named_by_file(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    one, other = (png_of(image.transpose(1, 2, 0)) for image in pictures(2))
    folder = make_folder(
        tmp_path / "set",
        {
            "a.png": one,
            "b.png": png_of(red),
            "c.png": one,
            "d.png": one,
            "e.png": other,
            "f.png": png_of(red),
            "g.jpg": encode(kind="JPEG"),
        },
    )

    found = lint(open_images(folder, lossy="accept"))

    assert not found.is_clean
    assert found.warnings() == [
        "3 of 7 images are exact copies of earlier ones; the first is c.png, a copy of a.png",
        "2 of 7 images are of one colour; the first is b.png",
        "1 of 7 images are from lossy files",
    ]
    assert found.to_record()["first_duplicate"] == ["c.png", "a.png"]


def test_an_iterator_is_linted_in_its_one_pass() -> None:
    pixels = pictures(300)
    pixels[290] = 7
    pixels[299] = pixels[3]

    found = lint(open_images(iter([pixels[:100], pixels[100:]])))

    assert found.count == 300
    assert found.first_constant == "image 290"
    assert found.first_duplicate == ("image 299", "image 3")


def test_an_image_of_one_colour_has_it_in_every_pixel() -> None:
    pixels = np.zeros((3, 3, 2, 2), np.uint8)
    pixels[1] = np.array([10, 20, 30])[:, None, None]
    pixels[2, 1, 1, 1] = 1

    assert is_constant(pixels).tolist() == [True, True, False]


@given(values=st.lists(st.integers(0, 5)))
def test_duplicates_are_what_a_set_would_lose(values: list[int]) -> None:
    count, first = find_duplicates([bytes([value]) for value in values])

    assert count == len(values) - len(set(values))
    if first is not None:
        index, original = first
        assert values[index] == values[original] and original < index
        assert len(set(values[:index])) == index


def test_exact_copies_of_reference_images_are_counted_each_time() -> None:
    reference, others = pictures(50), pictures(20, seed=1)
    generated = np.concatenate([others, reference[[3, 3, 9]]])

    assert shared_images(image_digests(generated), image_digests(reference)) == 3
    assert shared_images(image_digests(others), image_digests(reference)) == 0

"""Copies are found whatever was done to them, and unseen real images are not taken for copies."""

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from torch import Tensor

from evaluation.features.base import ExtractionStopped
from evaluation.features.classifier import LabelledImages
from evaluation.metrics.copies import copied_share, copies
from evaluation.metrics.pairs.thumbnails import (
    NearestThumbnails,
    nearest_thumbnails,
    shift_of,
    thumbnails,
)
from evaluation.protocols.replication import copies_p_value
from tests.evaluation.factories import make_images
from tests.evaluation.metrics.changes import CHANGES, brighter

Digits = tuple[LabelledImages, LabelledImages]


def ratios(values: list[float] | np.ndarray) -> NearestThumbnails:
    found = np.asarray(values, dtype=np.float64)
    return NearestThumbnails(found * 2, np.arange(len(found)), found)


# --- The share --------------------------------------------------------------------------------


def test_what_is_nearer_than_the_nearest_hundredth_of_held_out_images_counts() -> None:
    held_out, generated = np.arange(1000) / 1000, np.full(500, 0.5)
    generated[:50] = 0.001

    found = copied_share(ratios(generated), ratios(held_out), shift=2)

    assert found.value == 0.1
    facts = {
        name: found.details[name]
        for name in ("generated", "below", "held_out", "rank", "threshold")
    }
    assert facts == {
        "generated": 500,
        "below": 50,
        "held_out": 1000,
        "rank": 10,
        "threshold": 0.009,
    }
    assert found.details["p_value"] == copies_p_value(50, 500, 1000, 10) < 1e-15
    assert found.details["expected"] == pytest.approx(0.01, abs=1e-4)
    assert found.interval is not None
    assert 0.07 < found.interval[0] < 0.1 < found.interval[1] < 0.14


def test_the_held_out_images_themselves_have_a_hundredth_and_are_not_accused() -> None:
    values = ratios(np.random.default_rng(0).random(1000))

    found = copied_share(values, values, shift=2)

    assert found.value == 0.009  # all but the threshold itself
    assert found.details["p_value"] > 0.3


def test_ties_do_not_accuse() -> None:
    held_out = ratios([0.0] * 5 + [0.5] * 995)  # some of them are in the training set
    same = copied_share(ratios([0.0] * 10 + [0.5] * 990), held_out, shift=2)
    tied = copied_share(ratios([0.5] * 1000), held_out, shift=2)

    assert (same.value, tied.value) == (0.01, 0.0)
    assert same.details["p_value"] > 0.05
    assert tied.details["p_value"] == 1


def test_it_is_absent_where_held_out_images_are_copies_themselves() -> None:
    held_out = ratios([0.0] * 20 + [0.5] * 980)

    found = copied_share(ratios([0.0] * 1000), held_out, shift=2)

    assert found.value is None
    assert found.reason == "1% of the held-out images are copies of training images themselves"
    assert found.details["p_value"] == 1


def test_few_held_out_images_give_no_interval_but_an_exact_p_value() -> None:
    found = copied_share(ratios([0.1] * 50), ratios(np.linspace(0.2, 1, 100)), shift=1)

    assert (found.value, found.interval, found.standard_error) == (1.0, None, None)
    assert found.reason == "no interval: 100 held-out images are fewer than 300"
    assert found.details["p_value"] < 1e-15


def test_the_nearest_images_are_named_by_their_place_in_the_set() -> None:
    found = copied_share(
        ratios([0.3, 0.1, 0.2]), ratios([0.5]), shift=2, positions=np.array([4, 7, 9])
    )

    assert found.details["nearest"] == [
        {"generated": 7, "training": 1, "distance": 0.2, "ratio": 0.1},
        {"generated": 9, "training": 2, "distance": 0.4, "ratio": 0.2},
        {"generated": 4, "training": 0, "distance": 0.6, "ratio": 0.3},
    ]


def test_the_p_value_is_uniform_or_larger_without_copies() -> None:
    rng = np.random.default_rng(0)
    p = [
        copied_share(ratios(rng.random(200)), ratios(rng.random(300)), shift=1).details["p_value"]
        for _ in range(500)
    ]

    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p) <= level) <= level + 3 * (level / 500) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("copied", "power"), [(0.0, 1.0), (0.02, 1.0), (0.1, 1.0), (0.5, 1.0), (0.0, 0.6), (0.0, 1.3)]
)
@pytest.mark.parametrize(("generated", "held_out"), [(500, 360), (1000, 1000), (2000, 5000)])
def test_the_interval_holds_the_share_under_the_true_threshold(
    copied: float, power: float, generated: int, held_out: int
) -> None:
    """Held-out ratios are uniform; generated ones are 0, or have distribution r^power."""
    rng = np.random.default_rng(1)
    truth, hits = copied + (1 - copied) * 0.01**power, 0

    for _ in range(400):
        near = rng.random(generated) ** (1 / power) * (rng.random(generated) >= copied)
        found = copied_share(ratios(near), ratios(rng.random(held_out)), shift=2)
        assert found.interval is not None
        hits += found.interval[0] <= truth <= found.interval[1]

    assert hits / 400 > 0.92  # conservative where few held-out images lie below


# --- The distance -----------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_a_tenth_of_copied_digits_is_found(digits: Digits, change: str) -> None:
    train, test = (split.pixels for split in digits)
    copied = CHANGES[change](train[:25])

    found = copies(train, test[:275], np.concatenate([copied, test[275:]]))

    assert found.value is not None
    assert found.value > 0.05
    assert found.details["p_value"] < 0.05 / 32


def test_unseen_digits_are_no_copies(digits: Digits) -> None:
    train, test = (split.pixels for split in digits)

    found = copies(train, test[:250], test[250:])

    assert found.value is not None
    assert found.value < 0.06
    assert found.details["p_value"] > 0.05
    assert found.details["transformations"] == [
        "shifts by at most 1 pixel of the thumbnail",
        "mirror image",
        "brightness and contrast",
    ]


def pictures(count: int, *, seed: int, side: int = 40, channels: int = 3) -> np.ndarray:
    """Return smooth coloured pictures, as photographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, channels, 8, 8))
    wave = np.cos(np.pi * np.outer(np.arange(8), np.arange(side) + 0.5) / side)
    fine = np.einsum("ncuv,uy,vx->ncyx", coarse, wave, wave)
    pixels: np.ndarray = (fine * 20 + 128).clip(0, 255).astype(np.uint8)
    return pixels


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[:, ::-1],
        lambda images: images[..., ::-1],
        lambda images: np.roll(images, (2, -2), (2, 3)),
        brighter,
    ],
    ids=["blue for red", "mirrored", "two pixels", "brighter"],
)
def test_copies_of_larger_coloured_images_are_found(
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    train = pictures(300, seed=0)

    found = copies(train, pictures(100, seed=1), change(train[:50]))

    assert found.value == 1.0


def test_a_distance_is_the_least_over_all_crops_and_mirror_images(digits: Digits) -> None:
    few, many = (split.pixels[:, 0] for split in digits)
    few, many = few[:20], many[:30]

    found = nearest_thumbnails(*map(as_thumbnails, (few, many)), candidates=30)

    for at, image in enumerate(few):
        least = [
            min(
                float(np.linalg.norm(standard(side[1:7, 1:7]) - standard(other[y:][:6, x:][:, :6])))
                for side in (image, image[:, ::-1])
                for y in range(3)
                for x in range(3)
            )
            for other in many
        ]
        assert found.distances[at] == pytest.approx(min(least), abs=1e-6)
        assert 0 < found.ratios[at] <= 1
        assert least[found.positions[at]] == pytest.approx(min(least), abs=1e-6)


def as_thumbnails(images: np.ndarray) -> Tensor:
    return thumbnails([images[:, None]])


def standard(crop: np.ndarray) -> np.ndarray:
    centred = crop - crop.mean()
    norm = np.linalg.norm(centred)
    found: np.ndarray = centred / norm if norm else centred
    return found


def test_copies_bit_for_bit_are_at_0_and_flat_images_are_each_others_copies() -> None:
    train = np.concatenate([make_images(50, side=20), np.full((1, 1, 20, 20), 7, np.uint8)])
    black = np.zeros((1, 1, 20, 20), np.uint8)

    found = nearest_thumbnails(
        thumbnails([np.concatenate([train, black])]), thumbnails([train]), candidates=3
    )

    assert found.distances.tolist() == [0.0] * 52
    assert found.positions.tolist() == [*range(51), 50]


def test_three_copies_among_training_images_hide_nothing_and_four_accuse_nobody() -> None:
    others, image = make_images(50, side=20), make_images(1, seed=1, side=20)
    image = np.maximum(image, image[..., ::-1])  # near to its training image in two ways

    def ratio(copies: int) -> float:
        train = np.concatenate([others, image.repeat(copies, axis=0)])
        return float(nearest_thumbnails(thumbnails([image]), thumbnails([train])).ratios[0])

    assert [ratio(copies) for copies in (1, 3, 4)] == [0, 0, 1]
    assert 0.8 < ratio(0) < 1


def test_an_image_with_much_of_its_kind_around_it_is_no_copy() -> None:
    """Pictures of one kind are nearer to each other than unseen ones of many kinds to theirs."""
    kinds = pictures(400, seed=0, side=16, channels=1)
    train = np.concatenate([kinds, alike(600, seed=1)])
    unseen = pictures(400, seed=2, side=16, channels=1)

    found = copies(train, unseen, alike(200, seed=3))

    assert found.value is not None
    assert found.value < 0.05
    assert max(row["distance"] for row in found.details["nearest"]) < 0.3


def alike(count: int, *, seed: int) -> np.ndarray:
    one = pictures(1, seed=9, side=16, channels=1)
    noise = np.random.default_rng(seed).normal(size=(count, 1, 16, 16)) * 8
    pixels: np.ndarray = (one + noise).clip(0, 255).astype(np.uint8)
    return pixels


def test_candidates_do_not_depend_on_how_many_are_looked_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many = thumbnails([make_images(30)]), thumbnails([make_images(200, seed=1)])
    whole = nearest_thumbnails(few, many)

    monkeypatch.setattr("evaluation.metrics.pairs.thumbnails.BLOCK", 64)
    monkeypatch.setattr("evaluation.metrics.pairs.thumbnails.TILE", 7)
    tiled = nearest_thumbnails(few, many)

    np.testing.assert_array_equal(tiled.positions, whole.positions)
    np.testing.assert_array_equal(tiled.distances, whole.distances)


# --- Thumbnails -------------------------------------------------------------------------------


def test_thumbnails_are_grey_means_of_areas() -> None:
    images = make_images(3, channels=3, side=64)

    found = thumbnails([images[:2], images[2:]])

    expected = images.reshape(3, 3, 32, 2, 32, 2).mean((1, 3, 5))
    assert found.shape == (3, 32, 32)
    np.testing.assert_array_less(abs(found.numpy() - expected), 0.502)


def test_a_side_that_is_no_multiple_is_divided_into_equal_areas() -> None:
    column = np.arange(48, dtype=np.uint8)[None, None, :, None].repeat(3, axis=3)

    found = thumbnails([column])

    assert found.shape == (1, 32, 3)
    assert found[0, :4, 0].tolist() == [0, 2, 3, 5]  # (0 + 1/2) / 1.5 = 1/3, (1/2 + 2) / 1.5, …


def test_thumbnails_take_a_kibibyte_an_image() -> None:
    def chunks() -> Iterator[np.ndarray]:
        for seed in range(40):
            yield make_images(16, seed=seed, channels=3, side=128)  # 31 MB in all

    tracemalloc.start()
    found = thumbnails(chunks())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.numel() == 640 * 1024
    assert most < 6e6


@pytest.mark.parametrize(("side", "shift"), [(3, 0), (4, 1), (15, 1), (16, 2), (32, 2)])
def test_small_images_are_shifted_less(side: int, shift: int) -> None:
    assert shift_of(side, side) == shift

    images = make_images(5, side=side)
    assert nearest_thumbnails(*[thumbnails([images])] * 2).distances.tolist() == [0] * 5


# --- What cannot be measured ------------------------------------------------------------------


def test_without_images_of_each_kind_it_is_absent() -> None:
    found = copies(make_images(5), make_images(0), make_images(3))

    assert found.value is None
    assert found.reason == (
        "needs images of each kind, got 5 training, 0 held-out and 3 generated ones"
    )


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected others, and of one size"):
        copies(make_images(5), make_images(5), make_images(5, side=9))


def test_it_ends_when_asked() -> None:
    def stop() -> None:
        raise ExtractionStopped

    with pytest.raises(ExtractionStopped):
        copies(*[make_images(5)] * 3, keep_going=stop)


# --- Over many draws --------------------------------------------------------------------------


@pytest.mark.slow
def test_copied_digits_are_marked_and_unseen_ones_are_not(digits: Digits) -> None:
    """The small form of tests/benchmarks/judgements/test_copies.py: 200 draws of each."""
    train, test = (split.pixels for split in digits)
    small = thumbnails([train])

    def near(images: np.ndarray) -> np.ndarray:
        return nearest_thumbnails(thumbnails([np.ascontiguousarray(images)]), small).ratios

    unseen = near(test)
    marked = {name: marks(unseen, near(change(train[:400]))) for name, change in CHANGES.items()}

    assert marks(unseen, unseen[:0]) <= 0.05 / 32 + 0.01
    assert {name: share for name, share in marked.items() if share < 0.8} == {}


def marks(unseen: np.ndarray, copied: np.ndarray) -> float:
    """Return how many of 200 sets, a tenth of which is copied if any is, are marked among 32."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(200):
        order = rng.permutation(unseen)
        held_out, generated = order[:350], order[350:]
        if len(copied):
            generated[:15] = rng.choice(copied, 15, replace=False)
        p_value = copied_share(ratios(generated), ratios(held_out), shift=1).details["p_value"]
        found += p_value < 0.05 / 32
    return found / 200

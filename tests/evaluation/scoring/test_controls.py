"""Control images are what they say, the same every time, and made without torch."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from evaluation.scoring.controls import (
    blurred,
    copied_indices,
    disjoint_halves,
    training_copy,
    uniform_noise,
)
from tests.evaluation.factories import make_images

SEEDS = st.integers(0, 2**32 - 1)


def test_a_copy_holds_different_training_images_bit_for_bit() -> None:
    train = make_images(50)

    copies = training_copy(train, 20, seed=3)

    chosen = copied_indices(50, 20, seed=3)
    assert len(set(chosen)) == 20
    assert (copies == train[chosen]).all()


def test_a_copy_of_all_images_is_the_training_set_in_its_order() -> None:
    train = make_images(12)

    assert (training_copy(train, 12, seed=1) == train).all()


def test_a_copy_leaves_the_training_images_alone() -> None:
    train = make_images(4)

    training_copy(train, 4, seed=0)[:] = 0

    assert (train == make_images(4)).all()


def test_more_copies_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at most the 5 images there are, got 6"):
        training_copy(make_images(5), 6, seed=0)


def test_noise_is_uniform_over_all_values() -> None:
    noise = uniform_noise((3, 32, 32), 100, seed=0)

    counts = np.bincount(noise.ravel(), minlength=256)
    assert noise.shape == (100, 3, 32, 32)
    assert len(counts) == 256
    # Pearson's statistic over 256 values has mean 255 and standard deviation 22.6.
    expected = noise.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 255 + 5 * 22.6


@given(count=st.integers(0, 9), more=st.integers(0, 9), seed=SEEDS)
def test_the_first_noise_images_do_not_depend_on_the_count(
    count: int, more: int, seed: int
) -> None:
    shape = (1, 3, 5)

    longer = uniform_noise(shape, count + more, seed=seed)

    assert (longer[:count] == uniform_noise(shape, count, seed=seed)).all()


def test_another_seed_is_other_noise() -> None:
    assert (uniform_noise((1, 8, 8), 2, seed=0) != uniform_noise((1, 8, 8), 2, seed=1)).any()


def test_a_blurred_point_is_the_gaussian() -> None:
    image = np.zeros((1, 1, 41, 41), np.uint8)
    image[0, 0, 20, 20] = 255

    row = blurred(image, sigma=1.0)[0, 0, 20]

    offsets = np.arange(-4, 5)
    weights = np.exp(-(offsets**2) / 2)
    weights /= weights.sum()
    expected = np.floor(255 * weights[4] * weights + 0.5)
    assert row[16:25].tolist() == expected.tolist()
    assert row[:16].sum() == row[25:].sum() == 0


def test_the_default_blur_grows_with_the_resolution() -> None:
    small, large = make_images(2, side=16), make_images(2, side=64)

    assert (blurred(small) == blurred(small, sigma=1)).all()
    assert (blurred(large) == blurred(large, sigma=4)).all()


def test_channels_are_blurred_apart() -> None:
    images = make_images(3, channels=3)

    apart = np.concatenate([blurred(images[:, [c]], sigma=1.5) for c in range(3)], axis=1)

    assert (blurred(images, sigma=1.5) == apart).all()


def test_an_image_is_blurred_alike_in_any_company() -> None:
    images = make_images(300)

    assert (blurred(images)[290:] == blurred(images[290:])).all()


@given(value=st.integers(0, 255), sigma=st.floats(0, 20))
def test_an_even_surface_stays_as_it_is(value: int, sigma: float) -> None:
    flat = np.full((1, 1, 6, 9), value, np.uint8)

    assert (blurred(flat, sigma=sigma) == flat).all()


def test_blur_takes_detail_away() -> None:
    images = make_images(20, side=32)

    spreads = [blurred(images, sigma=sigma).std() for sigma in (0, 0.5, 1, 2, 4)]

    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] == images.std()


@given(count=st.integers(2, 200), seed=SEEDS)
def test_halves_share_nothing_and_are_equally_large(count: int, seed: int) -> None:
    first, second = disjoint_halves(count, seed=seed)

    together = np.concatenate([first, second])
    assert len(first) == len(second) == count // 2
    assert len(set(together)) == len(together)
    assert set(together) <= set(range(count))


def test_one_image_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="at least 2 images to halve, got 1"):
        disjoint_halves(1, seed=0)


@pytest.mark.parametrize("images", [np.zeros((2, 1, 4, 4)), np.zeros((2, 4, 4), np.uint8)])
def test_other_formats_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 images \(N, 1 or 3, H, W\)"):
        blurred(images)
    with pytest.raises(ValueError, match=r"expected uint8 images \(N, 1 or 3, H, W\)"):
        training_copy(images, 1, seed=0)


def test_controls_do_not_load_torch() -> None:
    program = "import sys, evaluation.scoring.controls; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""PSNR and SSIM of pairs: published values, references, directions and calibration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import structural_similarity_index_measure

from evaluation.metrics.reconstruction import psnr, signal_to_noise, ssim, structural_similarity
from evaluation.metrics.uncertainty import MetricResult
from evaluation.scoring.controls import blurred
from tests.evaluation.factories import coverage, make_images, numbers


def smooth_images(count: int, *, seed: int = 0, channels: int = 1, side: int = 24) -> np.ndarray:
    return blurred(make_images(count, seed=seed, channels=channels, side=side), sigma=1.5)


def noisy(images: np.ndarray, spread: float, *, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=images.shape) * spread
    return (images + noise).round().clip(0, 255).astype(np.uint8)


# --- PSNR ---


def test_a_mean_squared_error_of_one_is_48_decibels() -> None:
    images = np.full((3, 1, 8, 8), 100, np.uint8)

    assert psnr(images, images + 1).value == pytest.approx(48.1308036087, abs=1e-9)


def test_an_offset_of_a_tenth_of_the_range_is_20_decibels() -> None:
    assert signal_to_noise(np.array([0.1**2]), data_range=1.0)[0] == pytest.approx(20, abs=1e-9)


def test_black_for_white_is_no_decibel() -> None:
    black = np.zeros((2, 3, 4, 4), np.uint8)

    assert psnr(black, black + 255).value == pytest.approx(0, abs=1e-12)


def test_ratios_are_averaged_over_images_and_not_errors() -> None:
    originals = np.zeros((2, 1, 4, 4), np.uint8)
    reconstructions = originals.copy()
    reconstructions[0] += 1
    reconstructions[1] += 100

    expected = (48.1308036087 + 48.1308036087 - 40) / 2

    assert psnr(originals, reconstructions).value == pytest.approx(expected, abs=1e-9)


def test_an_exact_image_is_left_out_and_counted() -> None:
    originals = np.full((40, 1, 4, 4), 100, np.uint8)
    reconstructions = originals + np.arange(40, dtype=np.uint8)[:, None, None, None] % 5

    result = psnr(originals, reconstructions)

    assert result.reason == "8 of 40 images come back exactly and are left out"
    assert result.details == {"exact": 8, "images": 40}
    assert result.value == pytest.approx(
        np.mean([48.1308036087 - 20 * math.log10(gap) for gap in (1, 2, 3, 4)]), abs=1e-9
    )
    assert result.interval is not None


def test_exact_images_alone_have_no_ratio() -> None:
    images = make_images(5)

    result = psnr(images, images)

    assert result.value is None
    assert result.reason == "infinite: all 5 images come back exactly"


# --- SSIM ---


def test_even_images_of_a_half_and_six_tenths_are_the_closed_form() -> None:
    half = torch.full((1, 1, 16, 16), 0.5, dtype=torch.float64)

    similarity = structural_similarity(half, half + 0.1, data_range=1.0)

    assert float(similarity) == pytest.approx(0.9836092443661763, abs=1e-10)


def test_an_exact_image_has_a_similarity_of_one() -> None:
    images = smooth_images(40, channels=3)

    result = ssim(images, images.copy())

    assert result.value == 1
    assert result.reason == "no interval: every image gives 1, so the spread is unknown"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_similarity_is_that_of_torchmetrics_inside_its_padding(channels: int) -> None:
    originals = smooth_images(6, channels=channels)
    reconstructions = noisy(originals, 20)

    _, whole = structural_similarity_index_measure(
        torch.from_numpy(originals).double(),
        torch.from_numpy(reconstructions).double(),
        data_range=255.0,
        return_full_image=True,
    )

    # They pad by reflection and average over the padded image; Wang et al. do neither.
    inside = whole[..., 5:-5, 5:-5].mean().item()
    assert ssim(originals, reconstructions).value == pytest.approx(inside, abs=1e-9)


def test_the_similarity_is_that_of_scipys_filter() -> None:
    x, y = smooth_images(1), noisy(smooth_images(1), 30)

    def mean(values: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]
        return filtered

    a, b = x[0, 0].astype(float), y[0, 0].astype(float)
    c_1, c_2 = 2.55**2, 7.65**2
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    expected = ((2 * mean(a) * mean(b) + c_1) * (2 * covariance + c_2)) / (
        (mean(a) ** 2 + mean(b) ** 2 + c_1) * (variances + c_2)
    )
    assert ssim(x, y).value == pytest.approx(expected.mean(), abs=1e-12)


def test_images_smaller_than_the_window_have_no_similarity() -> None:
    result = ssim(make_images(3, side=8), make_images(3, side=8))

    assert result.value is None
    assert result.reason == "images of 8x8 are smaller than the window of 11x11"


def test_a_negative_has_a_negative_similarity() -> None:
    images = make_images(4, side=16)

    assert numbers([ssim(images, 255 - images)], "value")[0] < 0


# --- Both ---


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_more_noise_and_more_blur_are_worse(metric: type) -> None:
    images = smooth_images(20)

    by_noise = numbers([metric(images, noisy(images, spread)) for spread in (5, 15, 40)], "value")
    by_blur = numbers([metric(images, blurred(images, sigma=s)) for s in (0.5, 1, 3)], "value")

    assert (np.diff(by_noise) < 0).all()
    assert (np.diff(by_blur) < 0).all()


@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]))
def test_order_and_swap_do_not_matter(seed: int, channels: int) -> None:
    x = smooth_images(5, seed=seed, channels=channels, side=12)
    y = noisy(x, 20, seed=seed)
    order = np.random.default_rng(seed).permutation(5)

    for metric in (psnr, ssim):
        plain = metric(x, y).value
        assert metric(y, x).value == pytest.approx(plain, abs=1e-12)
        assert metric(x[order], y[order]).value == pytest.approx(plain, abs=1e-12)


def test_the_parts_that_are_worked_on_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = smooth_images(7)
    y = noisy(x, 20)
    whole = [psnr(x, y).value, ssim(x, y).value]

    monkeypatch.setattr("evaluation.metrics.reconstruction._PIXELS", 24 * 24 * 2)

    assert [psnr(x, y).value, ssim(x, y).value] == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_the_interval_over_images_covers_the_mean(metric: type) -> None:
    x = smooth_images(1000, side=12)
    rng = np.random.default_rng(0)
    spreads = rng.uniform(5, 40, (1000, 1, 1, 1))
    y = (x + rng.normal(size=x.shape) * spreads).round().clip(0, 255).astype(np.uint8)
    truth = metric(x, y).value

    results: list[MetricResult] = []
    for _ in range(300):
        chosen = rng.choice(1000, 40)
        results.append(metric(x[chosen], y[chosen]))

    assert 0.91 <= coverage(results, truth) <= 0.975


def test_few_images_have_no_interval() -> None:
    x = smooth_images(10)

    result = ssim(x, noisy(x, 10))

    assert (result.interval, result.standard_error) == (None, None)
    assert result.reason == "no interval: 10 images are fewer than 30"


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_no_images_have_no_mean(metric: type) -> None:
    none = np.zeros((0, 1, 16, 16), np.uint8)

    assert metric(none, none).reason == "needs at least 1 image, got 0"


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pairs_must_be_of_one_shape_and_type(metric: type) -> None:
    images = make_images(3, side=16)

    with pytest.raises(ValueError, match="one reconstruction of each original"):
        metric(images, images[:2])
    with pytest.raises(ValueError, match="expected uint8 images"):
        metric(images, images / 255)

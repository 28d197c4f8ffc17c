from collections.abc import Callable

import numpy as np
import pytest
import torch

from generators.algorithm.contract import Undefined
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.specs.options import DirectSampler
from generators.specs.registry import ALGORITHMS, parse_sampler
from generators.trained.inspection import (
    add_noise,
    as_pixels,
    chosen_steps,
    encode,
    interpolate,
    reconstruct,
    through_autoencoder,
    trace,
)
from generators.trained.measure import measure
from generators.trained.sampling import SamplingStopped, draw_all, load_generator
from generators.training.loop import TrainingResult
from tests.generators.conftest import exactly, make_data
from tests.generators.toy import SAMPLER, STEPS, toy_generator

PIXELS = np.random.default_rng(0).integers(0, 256, (130, 1, 8, 12)).astype(np.uint8)
LABELS = np.arange(130) % 3


# --- encoders -----------------------------------------------------------------------------------


def test_images_are_reconstructed_and_encoded_in_batches() -> None:
    generator = toy_generator()

    found = reconstruct(generator, PIXELS, LABELS)
    codes = encode(generator, PIXELS, LABELS)

    images = PIXELS / 127.5 - 1
    assert found.dtype == np.float32 and found.shape == PIXELS.shape
    assert np.allclose(found, images + 0.1, atol=1e-6)
    assert np.allclose(codes, images.mean(axis=(2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    "algorithm", [name for name, spec in ALGORITHMS.items() if spec.config.has_autoencoder]
)
def test_images_go_through_an_autoencoder_without_a_word_about_them(
    algorithm: str, trained: dict[str, TrainingResult]
) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)
    pixels, labels = PIXELS[:, :, :, :8], LABELS
    done: list[int] = []

    found = through_autoencoder(generator, pixels, on_batch=done.append)

    assert np.array_equal(found, as_pixels(reconstruct(generator, pixels, labels)))
    assert done == [100, 130]


def test_going_through_an_autoencoder_can_be_stopped(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["vae.vq"].checkpoint.path)

    with pytest.raises(SamplingStopped):
        through_autoencoder(generator, PIXELS[:, :, :, :8], should_stop=lambda: True)


def test_models_of_an_autoencoder_are_the_latent_ones_and_vq() -> None:
    named = {name for name, spec in ALGORITHMS.items() if spec.config.has_autoencoder}

    assert named == {"vae.vq", *(name for name in ALGORITHMS if name.startswith("latent."))}


def test_an_algorithm_without_an_encoder_says_so(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["gan.sngan"].checkpoint.path)

    with pytest.raises(Undefined, match=exactly("SNGAN has no encoder")):
        reconstruct(generator, PIXELS[:3, :, :, :8], LABELS[:3])


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (
            PIXELS[:, :, :, :8],
            LABELS,
            "expected images of 1x8x12 (channels, height, width), got 1x8x8",
        ),
        (PIXELS[:0], LABELS[:0], "expected at least one image"),
        (PIXELS, None, "expected 130 labels, got none"),
        (PIXELS, LABELS + 1, "expected labels in 0..2, got 1..3"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(
    pixels: np.ndarray, labels: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        reconstruct(toy_generator(), pixels, labels)


# --- walks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "moments", "expected"),
    [
        (5, 1, [0]),
        (5, 2, [0, 4]),
        (5, 3, [0, 2, 4]),
        (5, 99, [0, 1, 2, 3, 4]),
        (1, 3, [0]),
        (50, 4, [0, 16, 33, 49]),
    ],
)
def test_moments_are_spread_over_the_walk(count: int, moments: int, expected: list[int]) -> None:
    assert chosen_steps(count, moments) == expected


def test_a_walk_is_kept_as_it_was() -> None:
    labels = np.array([0, 1])

    path = trace(toy_generator(), SAMPLER, seeds=[7, 8], labels=labels, moments=3)

    start = NoiseSource([7, 8]).normal(1, 8, 12).clamp(-1, 1).numpy()
    assert path.steps.tolist() == [0, 2, 4] and path.times.tolist() == [5.0, 3.0, 1.0]
    assert np.array_equal(path.x, np.stack([start, start / 4, start / 16]))
    assert np.array_equal(path.x_0, 0 * path.x)
    assert np.array_equal(path.pixels, as_pixels(start / 2**STEPS))


def test_a_sampler_without_steps_has_no_walk(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["gan.sngan"].checkpoint.path)

    message = "gan.sngan walks in no steps with the sampler direct"
    with pytest.raises(Undefined, match=exactly(message)):
        trace(generator, DirectSampler(), seeds=[1], labels=np.array([0]), moments=3)
    with pytest.raises(ValueError, match=exactly("expected at least one moment, got 0")):
        trace(generator, DirectSampler(), seeds=[1], labels=np.array([0]), moments=0)


# --- between two seeds --------------------------------------------------------------------------


def test_a_path_begins_and_ends_at_the_images_of_its_seeds(
    trained: dict[str, TrainingResult],
) -> None:
    generator = load_generator(trained["gan.sngan"].checkpoint.path)
    labels = np.array([1, 1])

    path = interpolate(generator, DirectSampler(), first=3, second=4, count=6, label=1)

    ends = draw_all(generator, DirectSampler(), seeds=[3, 4], labels=labels, batch_size=2).pixels
    assert path.shape == (6, 1, 8, 8) and path.dtype == np.uint8
    assert np.abs(path[[0, -1]].astype(int) - ends).max() <= 1
    steps = np.abs(np.diff(path.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() < np.abs(ends[0].astype(int) - ends[1]).mean()


def test_a_path_needs_two_images_and_a_label_that_fits() -> None:
    generator = toy_generator()

    with pytest.raises(ValueError, match=exactly("expected at least 2 images, got 1")):
        interpolate(generator, SAMPLER, first=1, second=2, count=1, label=0)
    with pytest.raises(ValueError, match=exactly("expected 2 labels, got none")):
        interpolate(generator, SAMPLER, first=1, second=2, count=2)
    with pytest.raises(
        ValueError, match=exactly("expected no labels: the generator is unconditional")
    ):
        interpolate(toy_generator(0), SAMPLER, first=1, second=2, count=2, label=0)


# --- forward noise ------------------------------------------------------------------------------


def test_noise_grows_from_the_image_to_what_sampling_begins_with() -> None:
    pixels, seeds = PIXELS[:2], [5, 6]

    noisy = add_noise(toy_generator(), pixels, times=[0, 0.5, 1], seeds=seeds)

    images, noise = pixels / 127.5 - 1, NoiseSource(seeds).normal(1, 8, 12).numpy()
    assert noisy.shape == (3, 2, 1, 8, 12)
    assert np.allclose(noisy[0], images, atol=1e-6)
    assert np.allclose(noisy[1], (images + noise) / 2, atol=1e-6)
    assert np.array_equal(noisy[2], noise)


@pytest.mark.parametrize("times", [[], [0.5, 1.5], [-0.1]])
def test_times_outside_0_to_1_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^expected times in 0\.\.1, got "):
        add_noise(toy_generator(), PIXELS[:1], times=times, seeds=[1])


def test_floats_become_pixels_by_the_one_rounding_rule() -> None:
    assert np.array_equal(as_pixels(to_float(torch.from_numpy(PIXELS)).numpy()), PIXELS)


# --- every algorithm ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_every_algorithm_shows_what_it_can_and_says_what_it_cannot(
    algorithm: str, trained: dict[str, TrainingResult]
) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)
    data = make_data(4)
    labels = data.labels
    sampler = parse_sampler(algorithm, {})
    if hasattr(sampler, "steps"):
        sampler = parse_sampler(algorithm, {"steps": 3})

    reasons: list[str] = []

    def shown(function: Callable[[], np.ndarray]) -> np.ndarray | None:
        try:
            return function()
        except Undefined as error:
            reasons.append(str(error))
            return None

    found = [
        shown(lambda: reconstruct(generator, data.images, labels)),
        shown(lambda: add_noise(generator, data.images, times=[0, 0.5, 1], seeds=range(4))),
        shown(lambda: trace(generator, sampler, seeds=[1], labels=labels[:1], moments=3).x),
        shown(lambda: interpolate(generator, sampler, first=1, second=2, count=3, label=0)),
    ]
    codes = shown(lambda: encode(generator, data.images, labels))

    shapes = [(4, 1, 8, 8), (3, 4, 1, 8, 8), (3, 1, 1, 8, 8), (3, 1, 8, 8)]
    for array, shape in zip(found, shapes, strict=True):
        assert array is None or (array.shape == shape and np.isfinite(array).all())
    assert found[-1] is not None and all(reasons)
    assert (codes is None) == (found[0] is None)
    if found[1] is not None:
        assert np.abs(found[1][0] - (data.images / 127.5 - 1)).max() < 0.1


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_every_algorithm_is_measured(algorithm: str, trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)
    data = make_data(6)

    found = measure(generator, data.images, data.labels)

    assert found == measure(generator, data.images, data.labels)
    for one in found:
        assert (one.value is None) == bool(one.reason), one
        if one.name.startswith("bits_per_dimension/"):
            assert one.value is not None and one.value > 0
        if one.name == "psnr" and one.value is not None:
            assert 0 < one.value < 100

"""Films of how models make images: their pictures are what the mathematics says."""

import numpy as np
import pytest
import torch

from generators.algorithm.contract import Undefined
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float, to_uint8
from generators.specs.registry import ALGORITHMS, parse_sampler, preview_sampler
from generators.trained import films, inspection, verdicts
from generators.trained.films import Film
from generators.trained.levels import level_of_step, noise_levels
from generators.trained.sampling import LoadedGenerator, draw, load_generator
from generators.training.loop import TrainingResult
from tests.generators.conftest import make_data

NOISY = [name for name in ALGORITHMS if name.startswith(("diffusion.", "latent."))]
Trained = dict[str, TrainingResult]


def load(trained: Trained, algorithm: str) -> LoadedGenerator:
    return load_generator(trained[algorithm].checkpoint.path)


def of_class(generator: LoadedGenerator, label: int, count: int = 1) -> np.ndarray | None:
    return np.full(count, label) if generator.conditions.given else None


def images_of(generator: LoadedGenerator, count: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, *generator.shape)).astype(np.uint8)


def sample(generator: LoadedGenerator, seed: int, sampler: object = None) -> np.ndarray:
    wanted = of_class(generator, 0)
    chosen = sampler or preview_sampler(generator.algorithm, generator.config)
    (pixels,) = draw(generator, chosen, seeds=[seed], labels=wanted, batch_size=1)  # type: ignore[arg-type]  # a sampler
    found: np.ndarray = pixels[0]
    return found


# --- forward ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", NOISY)
def test_noising_begins_with_the_image_and_what_is_left_of_it_only_falls(
    trained: Trained, algorithm: str
) -> None:
    generator = load(trained, algorithm)
    pixels = images_of(generator)

    film = films.noising(generator, pixels, seeds=[5, 6], frames=9)

    assert film.pixels.shape == (2, 9, *generator.shape) and film.pixels.dtype == np.uint8
    assert np.array_equal(film.pixels[:, 0], pixels)
    left = [float(frame["alpha_bar"] or 0) for frame in film.frames]
    assert left[0] == 1 and left == sorted(left, reverse=True) and left[-1] < 0.01
    assert film.frames[0]["snr_db"] is None  # without bound
    assert [frame["time"] for frame in film.frames] == np.linspace(0, 1, 9).tolist()


@pytest.mark.parametrize("algorithm", ["diffusion.ddpm", "diffusion.edm", "diffusion.flow"])
def test_a_noisy_picture_is_the_mixture_of_image_and_noise_at_variance_one(
    trained: Trained, algorithm: str
) -> None:
    generator = load(trained, algorithm)
    pixels = images_of(generator)

    film = films.noising(generator, pixels, seeds=[5, 6], frames=5)

    level = noise_levels(generator, [0.5])[0]
    epsilon = NoiseSource([5, 6]).normal(*generator.shape)
    x = level.signal * to_float(torch.from_numpy(pixels)) + level.noise * epsilon
    expected = to_uint8(x / max(1.0, np.hypot(level.signal, level.noise))).numpy()
    assert np.abs(film.pixels[:, 2].astype(int) - expected.astype(int)).max() <= 1


def test_times_stand_beside_those_of_the_papers(trained: Trained) -> None:
    ddpm, edm = load(trained, "diffusion.ddpm"), load(trained, "diffusion.edm")

    first, *_, last = films.noising(ddpm, images_of(ddpm, 1), seeds=[0], frames=3).frames
    loud = films.noising(edm, images_of(edm, 1), seeds=[0], frames=3).frames[-1]

    assert (first["timestep"], last["timestep"]) == (None, ddpm.config.timesteps - 1)  # type: ignore[attr-defined]  # its own
    assert loud["sigma"] == pytest.approx(edm.config.sigma_max)  # type: ignore[attr-defined]  # its own


# --- backward -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", NOISY)
def test_a_walk_ends_with_the_sample_of_the_same_seed(trained: Trained, algorithm: str) -> None:
    generator = load(trained, algorithm)
    sampler = preview_sampler(algorithm, generator.config)

    film = films.reverse(
        generator, sampler, seeds=[3, 4], wanted=of_class(generator, 0, 2), moments=4
    )

    x, x_0 = film.pixels[2:]  # of seed 4
    own = sample(generator, 4).astype(int)
    for picture in (x[-1], x_0[-1], x_0[-2]):  # the last step's expectation is the image
        assert np.abs(picture.astype(int) - own).max() <= 1
    assert film.tracks[2:] == ["seed 4, xₜ", "seed 4, x̂₀"]
    decibels = [float(frame["snr_db"]) for frame in film.frames[:-1] if frame["snr_db"]]
    assert decibels == sorted(decibels)  # ever less noise
    assert film.frames[-1] == {"end": "the image"}


def test_levels_of_steps_are_those_of_the_times_that_they_begin_at(trained: Trained) -> None:
    ddpm, edm, flow = (load(trained, f"diffusion.{name}") for name in ("ddpm", "edm", "flow"))
    timesteps = ddpm.config.timesteps  # type: ignore[attr-defined]  # its own

    assert level_of_step(ddpm, timesteps - 1) == noise_levels(ddpm, [1.0])[0]
    assert level_of_step(edm, 3.0).snr_db == pytest.approx(-20 * np.log10(3))
    assert level_of_step(flow, 0.25).alpha_bar == pytest.approx(0.9)
    with pytest.raises(Undefined):
        level_of_step(load(trained, "gan.dcgan"), 0.5)


def test_what_walks_in_no_steps_has_no_reverse_film(trained: Trained) -> None:
    generator = load(trained, "gan.sngan")

    with pytest.raises(Undefined, match="walks in no steps"):
        films.reverse(
            generator, parse_sampler("gan.sngan", {}), seeds=[0], wanted=of_class(generator, 0)
        )


# --- from seed to seed --------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_way_between_seeds_begins_and_ends_with_their_samples(
    trained: Trained, algorithm: str
) -> None:
    generator = load(trained, algorithm)
    sampler = preview_sampler(algorithm, generator.config)
    labels = [0, 0] if generator.conditions.given else None

    film = films.between(generator, sampler, pairs=[(3, 4), (4, 5)], labels=labels, frames=3)

    for picture, seed in ((film.pixels[0, 0], 3), (film.pixels[0, -1], 4), (film.pixels[1, -1], 5)):
        assert np.abs(picture.astype(int) - sample(generator, seed).astype(int)).max() <= 2
    assert [frame["weight"] for frame in film.frames] == [0, 0.5, 1]


# --- samplers -----------------------------------------------------------------------------------


def test_samplers_stand_side_by_side_with_what_they_cost(trained: Trained) -> None:
    generator = load(trained, "diffusion.edm")

    film = films.side_by_side(generator, seed=3, wanted=of_class(generator, 0), counts=(1, 2, 4))

    assert film.tracks == ["Heun", "Euler", "DPM-Solver++"]
    assert [frame["steps"] for frame in film.frames] == [1, 2, 4]
    assert [cell["nfe"] for cell in film.cells[0]] == [1, 3, 7]  # two a step but the last
    assert [cell["nfe"] for cell in film.cells[1]] == [1, 2, 4]
    heun = parse_sampler("diffusion.edm", {"name": "heun", "steps": 4})
    own = sample(generator, 3, heun).astype(int)
    assert np.abs(film.pixels[0, 2].astype(int) - own).max() <= 1


def test_what_a_sampler_cannot_do_is_grey_with_the_reason(trained: Trained) -> None:
    ddpm, ect = load(trained, "diffusion.ddpm"), load(trained, "diffusion.ect")

    film = films.side_by_side(ddpm, seed=3, wanted=of_class(ddpm, 0), counts=(1, 2, 9999))
    jumps = films.side_by_side(ect, seed=3, wanted=of_class(ect, 0), counts=(1, 4, 8))

    solver = film.tracks.index("DPM-Solver++")
    assert "nfe" not in film.cells[solver][0] and "2" in str(film.cells[solver][0]["reason"])
    assert np.unique(film.pixels[solver, 0]).tolist() == [films.GREY]
    assert [frame["steps"] for frame in film.frames] == [1, 2]  # nobody can do 9,999
    assert [frame["steps"] for frame in jumps.frames] == [1, 4]
    with pytest.raises(Undefined, match=r"no sampler of vae\.conv has steps"):
        films.side_by_side(load(trained, "vae.conv"), seed=0, wanted=None)


# --- encoders and discriminators ----------------------------------------------------------------


def test_reconstructions_stand_between_the_images_and_what_was_lost(trained: Trained) -> None:
    generator = load(trained, "vae.conv")
    pixels, wanted = images_of(generator, 4), of_class(generator, 1, 4)

    film = films.reconstructions(generator, pixels, wanted, first=20)

    left = inspection.as_pixels(inspection.reconstruct(generator, pixels, wanted))
    assert np.array_equal(film.pixels[0], pixels) and np.array_equal(film.pixels[1], left)
    assert np.array_equal(film.pixels[2], np.abs(pixels.astype(int) - left))
    mse = ((pixels[3].astype(float) - left[3]) ** 2).mean()
    assert film.frames[3] == {"image": 23, "psnr_db": pytest.approx(10 * np.log10(255**2 / mse))}
    assert films.psnr_db(pixels[0], pixels[0]) is None


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name.startswith("gan.")])
def test_the_verdict_is_that_of_the_networks_last_weights(trained: Trained, algorithm: str) -> None:
    generator = load(trained, algorithm)
    path = trained[algorithm].checkpoint.path
    data = make_data(6)
    pixels, labels = data.images, data.labels
    wanted = labels if generator.conditions.given else None

    discriminator = verdicts.load_discriminator(generator, path)
    found = verdicts.logits(generator, discriminator, pixels, wanted)

    assert found.shape == (6,) and np.isfinite(found).all() and found.std() > 0
    one_by_one = [
        verdicts.logits(generator, discriminator, pixels[i : i + 1], labels[i : i + 1])[0]
        for i in range(6)
    ]
    assert np.allclose(found, one_by_one, atol=1e-4)  # no statistics of a batch


def test_pictures_stand_in_the_order_of_their_verdicts() -> None:
    pixels = np.arange(5, dtype=np.uint8).repeat(64).reshape(5, 1, 8, 8)
    of_drawn, of_real = np.array([0.0, 3, 1, 4, 2]), np.array([2.0, 9, 8, 7, 6])

    film = verdicts.verdicts(pixels, pixels, of_drawn, of_real)

    assert film.pixels[0, :, 0, 0, 0].tolist() == [0, 2, 4, 1, 3]
    assert [cell["logit"] for cell in film.cells[1]] == [2, 6, 7, 8, 9]
    assert film.summary["passes"] == pytest.approx((1 + 1 + 0.5) / 25)
    assert (film.summary["mean_drawn"], film.summary["mean_real"]) == (2, 6.4)


def test_who_has_no_discriminator_of_images_says_so(trained: Trained) -> None:
    generator = load(trained, "vae.conv")

    with pytest.raises(Undefined, match="no discriminator"):
        verdicts.load_discriminator(generator, trained["vae.conv"].checkpoint.path)


def test_a_film_is_json_but_for_its_pictures() -> None:
    film = Film(np.zeros((1, 1, 1, 8, 8), np.uint8), ["a"], [{"t": 1.0}])

    assert film.as_record() == {"tracks": ["a"], "frames": [{"t": 1.0}], "cells": [], "summary": {}}

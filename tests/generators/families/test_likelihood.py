"""Bounds on the likelihood against closed forms, integrals and entropies of known data."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from generators.diffusion.ddpm import DDPM
from generators.diffusion.likelihood import (
    Path,
    continuous_vlb,
    discrete_vlb,
    discretised_log_density,
    gaussian_kl,
)
from generators.diffusion.schedules import Schedule, make_schedule
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DDPMConfig

TWO = torch.tensor([-1.0, 1.0])
ALL = torch.linspace(-1, 1, 256)
PIXELS = 8 * 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_images(levels: Tensor, count: int = 64) -> Tensor:
    """Return images of independent pixels, each level as likely as any other."""
    return levels[torch.randint(len(levels), (count, 1, 8, 8), generator=generator(9))]


def exact(levels: Tensor, alpha_sigma: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the exact E[x_0] of such images."""

    def predict(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (part.view(-1, 1, 1, 1, 1) for part in alpha_sigma(t))
        distance = (x[..., None] - alpha.float() * levels) / sigma.float()
        return (-0.5 * distance.square()).softmax(dim=-1) @ levels

    return predict


def on_schedule(schedule: Schedule) -> Path:
    return lambda t: (schedule.alpha_bars[t].sqrt(), (1 - schedule.alpha_bars[t]).sqrt())


def variance_preserving(t: Tensor) -> tuple[Tensor, Tensor]:
    log_snr = 14 - 22 * t
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def variance_exploding(t: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(t), torch.exp(math.log(0.002) + t * math.log(80 / 0.002))


def mixing(t: Tensor) -> tuple[Tensor, Tensor]:
    time = 0.001 + 0.998 * t
    return 1 - time, time


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.1, 0.99, 2.0])
@pytest.mark.parametrize("std", [1e-3, 0.1, 3.0])
def test_the_probabilities_of_all_levels_sum_to_one(mean: float, std: float) -> None:
    images = ALL.view(1, 1, 16, 16)

    log_mass = discretised_log_density(
        images, torch.full_like(images, mean), torch.tensor([std], dtype=torch.float64)
    )

    assert float(log_mass.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert (log_mass <= 0).all()


def test_far_from_the_mean_the_log_probability_is_the_densitys() -> None:
    x, mean, std = torch.full((1, 1, 1, 1), ALL[200].item()), torch.zeros(1, 1, 1, 1), 0.01

    log_mass = discretised_log_density(x, mean, torch.tensor([std], dtype=torch.float64))
    nearest = (float(x) - 1 / 255) / std

    # mass beyond z of a Gaussian is about its density over z
    expected = -0.5 * nearest**2 - math.log(nearest * math.sqrt(2 * math.pi))
    assert float(log_mass) == pytest.approx(expected, rel=1e-4)


def test_the_kl_of_gaussians_is_its_closed_form() -> None:
    images = torch.full((1, 1, 2, 2), 0.5)

    def kl(alpha: float, sigma: float, prior_std: float) -> float:
        mean, std = (torch.tensor([v], dtype=torch.float64) for v in (alpha, sigma))
        return float(gaussian_kl(images, mean, std, prior_std))

    assert kl(0, 1, 1) == kl(0, 80, 80) == 0
    assert kl(0.6, 0.8, 1) == pytest.approx(4 * (0.5 * (0.09 + 0.64 - 1) - math.log(0.8)))
    assert kl(1, 80, 80) == pytest.approx(4 * 0.5 * (0.5 / 80) ** 2)


# --- the chain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [False, True])
def test_the_bound_of_a_model_that_knows_nothing_is_its_closed_form(zero: bool) -> None:
    schedule = make_schedule("linear", 50, zero_terminal_snr=zero)
    images = draw_images(ALL)

    bound = discrete_vlb(
        lambda x, _: torch.zeros_like(x),
        images,
        schedule=schedule,
        generator=generator(),
        samples=49,
    )

    squares = images.double().square().flatten(1).sum(dim=1)
    last = 1 - schedule.alpha_bars[-1]
    prior = 0.5 * (1 - last) * squares + PIXELS * 0.5 * (last - 1 - last.log())
    walk = 0.5 * (schedule.snr[0] - schedule.snr[-1]) * squares
    decoder = discretised_log_density(images, torch.zeros_like(images), schedule.betas[:1].sqrt())
    nats = prior + walk - decoder.flatten(1).sum(dim=1)
    assert torch.allclose(bound, nats / (PIXELS * math.log(2)), rtol=1e-9)


def mmse_of_two(snr: float) -> float:
    """Return E[(x_0 - E[x_0 | x])^2] for x_0 = -1 or 1 by an integral over the noise."""
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid(density * (1 - torch.tanh(snr + math.sqrt(snr) * z)), z))


@pytest.mark.parametrize("timesteps", [10, 100])
def test_the_bound_of_the_exact_denoiser_is_its_integral(timesteps: int) -> None:
    schedule = make_schedule("cosine", timesteps)
    images = draw_images(TWO, 256)

    bound = discrete_vlb(
        exact(TWO, on_schedule(schedule)),
        images,
        schedule=schedule,
        generator=generator(),
        samples=timesteps,
    )

    snr = [float(value) for value in schedule.snr]
    falls = [0.5 * (snr[t - 1] - snr[t]) * mmse_of_two(snr[t]) for t in range(1, timesteps)]
    last = 1 - float(schedule.alpha_bars[-1])
    prior = 0.5 * ((1 - last) + last - 1 - math.log(last))
    half_bin = 1 / 255 / schedule.betas[0].sqrt()
    decoder = -float(torch.special.log_ndtr(half_bin))  # E[x_0] is all but certain of the level
    expected = (prior + sum(falls) + decoder) / math.log(2)
    assert float(bound.mean()) == pytest.approx(expected, abs=0.03)


def test_looking_at_some_of_the_steps_is_without_bias() -> None:
    schedule = make_schedule("cosine", 40, zero_terminal_snr=True)
    images = draw_images(TWO, 2000)

    def bound(samples: int) -> Tensor:
        predict = exact(TWO, on_schedule(schedule))
        return discrete_vlb(
            predict, images, schedule=schedule, generator=generator(), samples=samples
        )

    whole, some, one = bound(39), bound(6), bound(1)

    assert float(some.mean()) == pytest.approx(float(whole.mean()), rel=0.01)
    assert float(one.mean()) == pytest.approx(float(whole.mean()), rel=0.03)
    assert whole.std() < some.std() < one.std()


# --- infinitely many steps ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "entropy", "count"), [(TWO, 1.0, 1000), (ALL, 8.0, 200)], ids=["two", "all"]
)
@pytest.mark.parametrize(
    ("path", "prior_std"), [(variance_preserving, 1.0), (variance_exploding, 80.0), (mixing, 1.0)]
)
def test_the_bound_of_the_exact_denoiser_is_the_entropy(
    levels: Tensor, entropy: float, count: int, path: Path, prior_std: float
) -> None:
    bound = continuous_vlb(
        exact(levels, path),
        draw_images(levels, count),
        alpha_sigma=path,
        generator=generator(),
        samples=10,
        prior_std=prior_std,
    )

    assert bound.shape == (count,) and bound.dtype == torch.float64
    assert float(bound.mean()) == pytest.approx(entropy, abs=0.15)


def test_a_worse_denoiser_has_a_larger_bound() -> None:
    perfect = exact(ALL, variance_preserving)

    def bound(predict: Callable[[Tensor, Tensor], Tensor]) -> float:
        images, random = draw_images(ALL, 16), generator()
        return float(
            continuous_vlb(
                predict, images, alpha_sigma=variance_preserving, generator=random, samples=10
            ).mean()
        )

    assert bound(lambda x, t: 0.9 * perfect(x, t)) > bound(perfect) + 0.5


def test_a_path_without_ends_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected a finite log SNR at both ends, got inf and -inf"
    ):
        continuous_vlb(
            lambda x, _: x,
            draw_images(TWO, 1),
            alpha_sigma=lambda t: (1 - t, t),
            generator=generator(),
            samples=1,
        )


# --- the algorithm ------------------------------------------------------------------------------


def test_ddpm_bounds_each_image_alone() -> None:
    model = DDPM(
        DDPMConfig(base_channels=8, timesteps=20),
        shape=(1, 8, 8),
        conditions=Conditions.of_classes(3),
    )
    images, labels = draw_images(ALL, 3), torch.tensor([[0], [1], [2]])

    bounds = model.bits_per_dimension(model.networks, images, labels, generator(), samples=100)

    assert list(bounds) == ["vlb"]
    assert bounds["vlb"].shape == (3,) and bounds["vlb"].dtype == torch.float64
    assert (bounds["vlb"] > 8).all()  # the entropy of these images; the network knows nothing

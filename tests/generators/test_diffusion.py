import math

import pytest
import torch
from torch import Tensor

from generators.diffusion.configs import (
    DDIMSampler,
    DDPMConfig,
    DDPMSampler,
    DiffusionSampler,
    DPMSolverSampler,
)
from generators.diffusion.ddpm import DDPM
from generators.diffusion.denoiser import Denoiser
from generators.diffusion.samplers import PredictX0, log_snr_grid, sample_path, timestep_grid
from generators.diffusion.schedules import Schedule, make_schedule
from generators.noise import NoiseSource

DATA_STD = 0.25


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("timesteps", [10, 100, 1000])
def test_a_schedule_goes_from_image_to_noise_at_any_length(name: str, timesteps: int) -> None:
    schedule = make_schedule(name, timesteps)

    assert len(schedule) == timesteps
    assert (schedule.alpha_bars.diff() < 0).all()
    assert schedule.alpha_bars[0] > 0.75
    assert 0 < schedule.alpha_bars[-1] < 1e-3


def test_the_linear_schedule_is_the_papers_at_a_thousand_steps() -> None:
    betas = make_schedule("linear", 1000).betas

    assert betas[0] == pytest.approx(1e-4) and betas[-1] == pytest.approx(0.02)


def test_the_cosine_schedule_is_half_signal_about_half_way() -> None:
    alpha_bars = make_schedule("cosine", 1000).alpha_bars

    assert float(alpha_bars[499]) == pytest.approx(0.5, abs=0.02)


def test_the_grid_of_timesteps_begins_at_the_last() -> None:
    assert timestep_grid(1000, 4) == [999, 749, 499, 249]
    assert timestep_grid(10, 10) == list(range(9, -1, -1))
    assert timestep_grid(1000, 1) == [999]
    with pytest.raises(ValueError, match="expected at most 10 steps, got 11"):
        timestep_grid(10, 11)


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 15, 20, 100, 999, 1000])
def test_the_grid_in_log_snr_falls_to_the_first_timestep(name: str, steps: int) -> None:
    grid = log_snr_grid(make_schedule(name, 1000), steps)

    assert len(grid) == steps
    assert grid == sorted(set(grid), reverse=True)
    assert grid[-1] == 0
    assert grid[0] <= 999 and (steps < 15 or grid[0] > 970)


def gaussian_denoiser(schedule: Schedule) -> PredictX0:
    """Return the exact E[x_0 | x_t] where every pixel is N(0, DATA_STD^2)."""

    def predict(x: Tensor, t: int) -> Tensor:
        alpha_bar = float(schedule.alpha_bars[t])
        variance = alpha_bar * DATA_STD**2 + 1 - alpha_bar
        return math.sqrt(alpha_bar) * DATA_STD**2 / variance * x

    return predict


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize(
    "sampler",
    [
        DDIMSampler(steps=500),
        DDIMSampler(steps=1000, eta=1.0),
        DDPMSampler(),
        DPMSolverSampler(steps=20),
        DPMSolverSampler(steps=20, order=3),
    ],
    ids=str,
)
def test_a_walk_with_the_exact_denoiser_ends_in_the_data_distribution(
    name: str, sampler: DiffusionSampler
) -> None:
    schedule = make_schedule(name, 1000)

    images = sample_path(
        schedule, gaussian_denoiser(schedule), NoiseSource(range(8)), (3, 16, 16), sampler
    )

    assert images.shape == (8, 3, 16, 16)
    assert float(images.mean()) == pytest.approx(0, abs=0.02)
    assert float(images.std()) == pytest.approx(DATA_STD, rel=0.06)


def test_ddim_without_noise_is_a_function_of_the_first_noise() -> None:
    schedule = make_schedule("cosine", 100)
    predict = gaussian_denoiser(schedule)
    noise = NoiseSource([1])

    images = sample_path(schedule, predict, noise, (1, 8, 8), DDIMSampler(steps=100))

    first = NoiseSource([1]).normal(1, 8, 8)
    assert torch.corrcoef(torch.stack([images.flatten(), first.flatten()]))[0, 1] > 0.999


def test_ancestral_sampling_is_ddim_with_all_its_noise() -> None:
    schedule = make_schedule("linear", 50)
    predict = gaussian_denoiser(schedule)

    ancestral = sample_path(schedule, predict, NoiseSource([5]), (1, 8, 8), DDPMSampler())
    ddim = sample_path(schedule, predict, NoiseSource([5]), (1, 8, 8), DDIMSampler(50, eta=1.0))

    assert torch.allclose(ancestral, ddim, atol=1e-4)


def test_the_denoiser_begins_by_predicting_nothing() -> None:
    denoiser = Denoiser(DDPMConfig(base_channels=8), (1, 8, 8), 3)

    prediction = denoiser(torch.randn(2, 1, 8, 8), torch.tensor([0, 999]), torch.tensor([0, 3]))

    assert prediction.eq(0).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_clean_image_is_recovered_from_a_perfect_prediction(prediction: str) -> None:
    config = DDPMConfig(base_channels=8, prediction=prediction, timesteps=100)
    model = DDPM(config, shape=(1, 8, 8), num_classes=0)
    x_0, epsilon = torch.rand(2, 1, 8, 8) * 2 - 1, torch.randn(2, 1, 8, 8)
    alpha_bar = float(model.schedule.alpha_bars[40])
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    perfect = epsilon if prediction == "epsilon" else signal * epsilon - noise * x_0

    class Perfect(torch.nn.Module):
        def forward(self, *_: Tensor) -> Tensor:
            return perfect

    recovered = model._predict_x_0(Perfect(), signal * x_0 + noise * epsilon, 40, None, 1.0)

    assert torch.allclose(recovered, x_0, atol=1e-5)


def test_guidance_moves_away_from_the_prediction_without_a_label() -> None:
    model = DDPM(DDPMConfig(base_channels=8, prediction="v"), shape=(1, 8, 8), num_classes=3)

    class ByLabel(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return torch.where(labels == 3, 0.0, -0.2).view(-1, 1, 1, 1).expand_as(x)

    x, labels = torch.zeros(2, 1, 8, 8), torch.tensor([0, 2])
    plain = model._predict_x_0(ByLabel(), x, 999, labels, 1.0)
    guided = model._predict_x_0(ByLabel(), x, 999, labels, 3.0)

    assert torch.allclose(guided, 3 * plain, atol=1e-5)
    with pytest.raises(ValueError, match="expected guidance 1: the model is unconditional"):
        model._predict_x_0(ByLabel(), x, 999, None, 3.0)

"""DDPM against closed forms: schedules, walks, losses and what the network is told."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from generators.algorithm.contract import Batch, Context, Step
from generators.algorithm.noise import NoiseSource
from generators.diffusion.ddpm import DDPM
from generators.diffusion.losses import by_quarter, chances_of
from generators.diffusion.samplers import (
    PredictX0,
    log_snr_grid,
    sample_path,
    timestep_grid,
    walk_ddim,
    walk_dpmsolver,
)
from generators.diffusion.schedules import Schedule, make_schedule
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import DDPMConfig
from generators.specs.diffusion_samplers import (
    DDIMSampler,
    DDPMSampler,
    DiffusionSampler,
    DPMSolverSampler,
)
from generators.specs.options import ConfigError, parse
from generators.trained.labels import balanced_labels
from generators.trained.sampling import draw_all, load_generator
from tests.generators.conftest import train_tiny

DATA_STD = 0.25
NAMES = ["cosine", "linear", "sigmoid"]

# --- schedules ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("timesteps", [10, 100, 1000])
@pytest.mark.parametrize("zero", [False, True])
def test_a_schedule_goes_from_image_to_noise_at_any_length(
    name: str, timesteps: int, zero: bool
) -> None:
    schedule = make_schedule(name, timesteps, zero_terminal_snr=zero)

    assert len(schedule) == timesteps
    assert (schedule.alpha_bars.diff() < 0).all()
    assert schedule.alpha_bars[0] > 0.75
    assert schedule.alpha_bars[-1] == 0 if zero else 0 < schedule.alpha_bars[-1] < 1e-3


CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "cosine": lambda t: (
        math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    ),
    # the product of 1 - beta_t for small betas: exp(-sum), beta_t rising evenly from 0.1/T to 20/T
    "linear": lambda t: math.exp(-0.1 * t - 19.9 * t**2 / 2),
    "sigmoid": lambda t: (
        (1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(3 - 6 * t)))
        / (1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(3)))
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("timesteps", [10, 100, 1000, 4000])
def test_a_schedule_is_its_closed_form(name: str, timesteps: int) -> None:
    schedule = make_schedule(name, timesteps)
    times = [(step + 1) / timesteps for step in range(timesteps)]
    expected = torch.tensor([CLOSED_FORMS[name](t) for t in times], dtype=torch.float64)
    # the linear one is its closed form only in the limit, the others exactly
    tolerance = 2 / timesteps if name == "linear" else 1e-10

    assert torch.allclose(schedule.alpha_bars[:-1], expected[:-1], rtol=0, atol=tolerance)
    assert float(schedule.alpha_bars[-1]) <= max(float(expected[-1]), 1e-3)
    assert torch.allclose(torch.cumprod(1 - schedule.betas, 0), schedule.alpha_bars, rtol=1e-12)
    ratio = schedule.alpha_bars / (1 - schedule.alpha_bars)
    assert torch.allclose(schedule.snr, ratio) and torch.allclose(
        schedule.lambdas, ratio.sqrt().log()
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("timesteps", [10, 1000])
def test_a_schedule_without_signal_at_the_end_is_shifted_and_scaled(
    name: str, timesteps: int
) -> None:
    plain = make_schedule(name, timesteps).alpha_bars.sqrt()
    schedule = make_schedule(name, timesteps, zero_terminal_snr=True)

    roots = schedule.alpha_bars.sqrt()

    slope = float(plain[0] / (plain[0] - plain[-1]))
    assert torch.allclose(roots, slope * (plain - plain[-1]), atol=1e-12)
    assert roots[0] == pytest.approx(float(plain[0])) and roots[-1] == 0
    assert schedule.betas[-1] == 1 and (schedule.betas[:-1] < 1).all()
    assert torch.allclose(torch.cumprod(1 - schedule.betas, 0), schedule.alpha_bars, atol=1e-12)


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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 15, 20, 100, 999, 1000])
def test_the_grid_in_log_snr_falls_to_the_first_timestep(name: str, steps: int) -> None:
    grid = log_snr_grid(make_schedule(name, 1000), steps)

    assert len(grid) == steps
    assert grid == sorted(set(grid), reverse=True)
    assert grid[-1] == 0
    assert grid[0] <= 999 and (steps < 15 or grid[0] > 970)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [2, 15, 1000])
def test_the_grid_in_log_snr_begins_where_no_signal_is(name: str, steps: int) -> None:
    grid = log_snr_grid(make_schedule(name, 1000, zero_terminal_snr=True), steps)

    assert len(grid) == steps
    assert grid == sorted(set(grid), reverse=True)
    assert grid[0] == 999 and grid[-1] == 0


# --- walks --------------------------------------------------------------------------------------


def gaussian_denoiser(schedule: Schedule) -> PredictX0:
    """Return the exact E[x_0 | x_t] where every pixel is N(0, DATA_STD^2)."""

    def predict(x: Tensor, t: int) -> Tensor:
        alpha_bar = float(schedule.alpha_bars[t])
        variance = alpha_bar * DATA_STD**2 + 1 - alpha_bar
        return math.sqrt(alpha_bar) * DATA_STD**2 / variance * x

    return predict


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    "sampler",
    [
        DDIMSampler(steps=200),
        DDIMSampler(steps=200, eta=1.0),
        DDPMSampler(),
        DPMSolverSampler(steps=20),
        DPMSolverSampler(steps=20, order=3),
    ],
    ids=lambda sampler: sampler.label(),
)
def test_a_walk_with_the_exact_denoiser_ends_in_the_data_distribution(
    name: str, zero: bool, sampler: DiffusionSampler
) -> None:
    schedule = make_schedule(name, 200, zero_terminal_snr=zero)

    images = sample_path(
        schedule, gaussian_denoiser(schedule), NoiseSource(range(8)), (3, 16, 16), sampler
    )

    assert images.shape == (8, 3, 16, 16)
    assert float(images.mean()) == pytest.approx(0, abs=0.02)
    assert float(images.std()) == pytest.approx(DATA_STD, rel=0.08)


MEAN, STD = torch.tensor([0.5, -0.2, 0.0]), torch.tensor([0.1, 0.3, 0.5])  # of three pixels


def even_schedule(timesteps: int) -> Schedule:
    """Return a schedule even in lambda, 4 to -5, so that walks take equal steps in it."""
    lambdas = torch.linspace(4, -5, timesteps, dtype=torch.float64)
    alpha_bars = torch.sigmoid(2 * lambdas)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
    return Schedule(1 - alpha_bars / before, alpha_bars)


def affine_map(schedule: Schedule, walk: Callable[[PredictX0, Tensor], Tensor]) -> Tensor:
    """Return a walk's mean and standard deviation of three Gaussian pixels, (2, 3) float64.

    With the exact denoiser a walk is an affine map of the noise: two walks tell it.
    """

    def predict(x: Tensor, t: int) -> Tensor:
        alpha_bar = float(schedule.alpha_bars[t])
        gain = math.sqrt(alpha_bar) * STD**2 / (alpha_bar * STD**2 + 1 - alpha_bar)
        return MEAN + gain * (x - math.sqrt(alpha_bar) * MEAN)

    zero, one = (walk(predict, torch.full((3,), level, dtype=torch.float64)) for level in (0, 1))
    return torch.stack([zero, one - zero])


def exact_map(schedule: Schedule) -> Tensor:
    """Return the same for the probability flow from T-1 to 0, and E[x_0] there.

    Along the flow (x - alpha mean) / sqrt(alpha^2 std^2 + sigma^2) stays as it is.
    """

    def marginal_std(alpha_bar: float) -> Tensor:
        return (alpha_bar * STD**2 + 1 - alpha_bar).sqrt()

    begin, end = float(schedule.alpha_bars[-1]), float(schedule.alpha_bars[0])
    gain = math.sqrt(end) * STD**2 / marginal_std(end) ** 2
    std = gain * marginal_std(end) / marginal_std(begin)
    return torch.stack([MEAN - std * math.sqrt(begin) * MEAN, std])


def measured_order(errors: dict[int, float]) -> float:
    """Return how fast errors fall with the number of steps: minus the slope of their logarithms."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (list(errors), [*errors.values()]))
    x, y = x - x.mean(), y - y.mean()
    return -float((x * y).sum() / x.square().sum())


@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (DDIMSampler, 1),
        (DPMSolverSampler, 1),
        (DPMSolverSampler, 2),
        (DPMSolverSampler, 3),
    ],
)
def test_mean_and_covariance_converge_at_the_methods_order(
    sampler: type[DDIMSampler] | type[DPMSolverSampler], order: int
) -> None:
    schedule = even_schedule(4801)
    exact = exact_map(schedule)

    def walk(predict: PredictX0, x: Tensor) -> Tensor:
        if sampler is DDIMSampler:
            return walk_ddim(schedule, predict, x, NoiseSource([0]), DDIMSampler(steps=steps))
        chosen = DPMSolverSampler(steps=steps, order=order)
        return walk_dpmsolver(schedule, predict, x, chosen)

    errors: dict[int, float] = {}
    for steps in (41, 81, 161, 321):
        errors[steps] = float((affine_map(schedule, walk) - exact).abs().max())

    assert measured_order(errors) == pytest.approx(order, abs=0.4), errors
    assert errors[321] < 0.03


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [2, 5, 20])
def test_dpmsolver_walks_as_diffusers_does(name: str, order: int, steps: int) -> None:
    schedule = make_schedule(name, 1000)
    x = NoiseSource([1, 2]).normal(1, 8, 8)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        trained_betas=schedule.betas.numpy(),
        prediction_type="sample",
        solver_order=order,
        final_sigmas_type="zero",
    )
    with warnings.catch_warnings():
        # diffusers 0.42 hands torch tensors to numpy.array in the way numpy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        scheduler.set_timesteps(timesteps=log_snr_grid(schedule, steps))

    def predict(x: Tensor, t: int) -> Tensor:
        return (0.7 * x + 0.3 * torch.sin(3 * x + t / 200)).clamp(-1, 1)

    theirs = x
    for t in scheduler.timesteps:
        theirs = scheduler.step(predict(theirs, int(t)), t, theirs, return_dict=False)[0]
    ours = walk_dpmsolver(schedule, predict, x, DPMSolverSampler(steps=steps, order=order))

    assert torch.allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    "sampler",
    [DDIMSampler(steps=6), DDPMSampler(steps=6), DPMSolverSampler(steps=6, order=3)],
    ids=lambda sampler: sampler.name,
)
def test_a_walk_tells_of_each_step(sampler: DiffusionSampler, zero: bool) -> None:
    schedule = make_schedule("cosine", 100, zero_terminal_snr=zero)
    predict = gaussian_denoiser(schedule)
    told: list[Step] = []

    images = sample_path(schedule, predict, NoiseSource([3]), (1, 8, 8), sampler, told.append)

    assert [step.index for step in told] == list(range(6))
    assert {step.count for step in told} == {6}
    times = [step.time for step in told]
    assert times == sorted(set(times), reverse=True)
    assert torch.equal(told[0].x, NoiseSource([3]).normal(1, 8, 8))
    assert all(torch.equal(step.x_0, predict(step.x, int(step.time))) for step in told)
    assert torch.equal(told[-1].x_0, images)


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


# --- losses and predictions ---------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_the_clean_image_is_recovered_from_a_perfect_prediction(prediction: str) -> None:
    config = DDPMConfig(base_channels=8, prediction=prediction, timesteps=100)
    model = DDPM(config, shape=(1, 8, 8), conditions=Conditions())
    x_0, epsilon = torch.rand(2, 1, 8, 8) * 2 - 1, torch.randn(2, 1, 8, 8)
    alpha_bar = float(model.schedule.alpha_bars[40])
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    perfect = {"epsilon": epsilon, "v": signal * epsilon - noise * x_0, "x0": x_0}[prediction]

    class Perfect(torch.nn.Module):
        def forward(self, *_: Tensor) -> Tensor:
            return perfect

    recovered = model._predict_x_0(Perfect(), signal * x_0 + noise * epsilon, 40, None, 1.0)

    assert torch.allclose(recovered, x_0, atol=1e-5)


def test_guidance_moves_away_from_the_prediction_without_a_label() -> None:
    model = DDPM(
        DDPMConfig(base_channels=8, prediction="v"),
        shape=(1, 8, 8),
        conditions=Conditions.of_classes(3),
    )

    class ByLabel(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return torch.where(labels == 3, 0.0, -0.2).view(-1, 1, 1, 1).expand_as(x)

    x, labels = torch.zeros(2, 1, 8, 8), torch.tensor([[0], [2]])
    plain = model._predict_x_0(ByLabel(), x, 999, labels, 1.0)
    guided = model._predict_x_0(ByLabel(), x, 999, labels, 3.0)

    assert torch.allclose(guided, 3 * plain, atol=1e-5)
    with pytest.raises(ValueError, match="expected guidance 1: the model is unconditional"):
        model._predict_x_0(ByLabel(), x, 999, None, 3.0)


class Constant(torch.nn.Module):
    """A network that predicts one number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return torch.full_like(x, self.number)


def loss_of(model: DDPM, batch: Batch, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    return model.loss("denoising", batch, Context(torch.Generator().manual_seed(seed)))


def test_the_simple_loss_of_predicting_nothing_is_the_targets_mean_square() -> None:
    batch = Batch(torch.full((4000, 1, 8, 8), 0.5), None)

    def loss(prediction: str) -> float:
        config = DDPMConfig(base_channels=8, prediction=prediction, timesteps=1000)
        model = DDPM(config, shape=(1, 8, 8), conditions=Conditions())
        model.networks = {"denoiser": Constant(0)}
        return float(loss_of(model, batch)[0])

    alpha_bars = make_schedule("cosine", 1000).alpha_bars
    velocity = float((alpha_bars + (1 - alpha_bars) * 0.25).mean())
    assert loss("epsilon") == pytest.approx(1, rel=0.01)
    assert loss("x0") == pytest.approx(0.25)
    assert loss("v") == pytest.approx(velocity, rel=0.02)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_min_snr_weighs_errors_of_the_clean_image_alike_whatever_is_predicted(
    prediction: str,
) -> None:
    config = DDPMConfig(base_channels=8, prediction=prediction, min_snr_gamma=5.0)
    model = DDPM(config, shape=(1, 8, 8), conditions=Conditions())
    t = torch.arange(1000)
    snr = model.schedule.snr
    # one unit of error of x_0 is so much of an error of what is predicted
    error = {"epsilon": snr, "v": snr + 1, "x0": torch.ones(1000, dtype=torch.float64)}[prediction]

    weights = model._weights(t).double() * error

    assert torch.allclose(weights, snr.clamp_max(5), rtol=1e-3)


def test_errors_are_told_by_quarters_of_the_noise() -> None:
    t = torch.arange(1002).repeat(4)
    errors = (t >= 501).double() + 2.0 * (t >= 752)

    told = by_quarter("mse", errors, t / 1002, chances=chances_of(1002))

    assert [float(value) for value in told.values()] == pytest.approx([0, 0, 1, 3], abs=0.02)
    assert list(told) == ["mse_q0", "mse_q1", "mse_q2", "mse_q3"]
    first = torch.tensor([0, 1, 2])
    of_one_quarter = by_quarter("mse", torch.ones(3), first / 1002, chances=chances_of(1002))
    assert all(value.isfinite() for value in of_one_quarter.values())


def test_noise_is_added_as_the_schedule_has_it() -> None:
    model = DDPM(
        DDPMConfig(base_channels=8, timesteps=10), shape=(1, 8, 8), conditions=Conditions()
    )
    images, epsilon = torch.rand(2, 1, 8, 8) * 2 - 1, NoiseSource([5, 6]).normal(1, 8, 8)

    for time, step in [(0.1, 0), (0.52, 4), (1.0, 9)]:
        alpha_bar = float(model.schedule.alpha_bars[step])
        expected = math.sqrt(alpha_bar) * images + math.sqrt(1 - alpha_bar) * epsilon
        assert torch.allclose(model.add_noise(images, time, NoiseSource([5, 6])), expected)
    assert torch.equal(model.add_noise(images, 0.0, NoiseSource([5, 6])), images)


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        (
            {"zero_terminal_snr": True, "prediction": "epsilon"},
            "zero_terminal_snr",
            "expected false: pure noise tells a network nothing that predicts noise",
        ),
        (
            {"zero_terminal_snr": True, "min_snr_gamma": 5},
            "min_snr_gamma",
            "expected 0: the last timestep would have no weight",
        ),
    ],
)
def test_noise_levels_that_cannot_be_learnt_are_refused(
    values: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(DDPMConfig, values)

    assert caught.value.errors == {field: message}


@pytest.mark.parametrize(
    ("config", "images"),
    [
        (DDPMConfig(base_channels=8, learning_rate=4e-3), 2400),
        pytest.param(
            DDPMConfig(backbone="dit", base_channels=64, residual_blocks=2, patch=2),
            9600,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["unet", "dit"],
)
def test_labels_are_obeyed(config: DDPMConfig, images: int, tmp_path: Path) -> None:
    """The three classes are bright above, bright below and dark."""
    config = dataclasses.replace(config, batch_size=32, timesteps=40)
    result = train_tiny("diffusion.ddpm", tmp_path, config=config, images=images)
    generator = load_generator(result.checkpoint.path)
    labels = balanced_labels(30, 3)

    samples = draw_all(
        generator, DPMSolverSampler(steps=10), seeds=range(30), labels=labels, batch_size=30
    )

    above = samples.pixels[:, :, :4].mean(axis=(1, 2, 3))
    below = samples.pixels[:, :, 4:].mean(axis=(1, 2, 3))
    seen = np.where(np.abs(above - below) < 90, 2, np.where(above > below, 0, 1))
    assert (seen == labels).mean() >= 0.9

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from torch import Tensor, nn

from generators.algorithm.contract import Batch, Context, Step
from generators.algorithm.noise import NoiseSource
from generators.diffusion.flow import TIME_SCALE, Flow, draw_times, shifted
from generators.diffusion.walks import even_levels, walk_ancestral, walk_euler, walk_heun
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import FlowConfig
from generators.specs.diffusion_samplers import EulerSampler, HeunSampler
from tests.generators.gaussian import (
    COVARIANCE,
    MEAN,
    IdealFlow,
    ends_of,
    expected_x_0,
    orders,
)


class Told(nn.Module):
    """A network that is a function."""

    def __init__(self, answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return self._answer(x, t, labels)


def make_flow(num_classes: int = 0, **values: Any) -> Flow:
    return Flow(
        FlowConfig(base_channels=8, **values),
        shape=(1, 8, 8),
        conditions=Conditions.of_classes(num_classes),
    )


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_sampling", "middle", "rate"),
    [("uniform", 0.5, None), ("logit-normal", 0.5, 1), ("edm", 0.2315, 1.2)],
)
def test_times_have_the_distribution_that_is_named(
    time_sampling: str, middle: float, rate: float | None
) -> None:
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0))

    t = draw_times(z, time_sampling)

    assert t.min() >= 0 and t.max() <= 1
    assert (t[z.argsort()].diff() >= 0).all()
    assert float(t.median()) == pytest.approx(middle, abs=0.01)
    if rate is None:
        assert float(t.std()) == pytest.approx(math.sqrt(1 / 12), rel=0.02)
    else:
        assert float(torch.logit(t.double()).std()) == pytest.approx(rate, rel=0.02)


def test_a_shift_multiplies_the_noise_levels() -> None:
    t = torch.linspace(0, 0.99, 50, dtype=torch.float64)

    assert torch.allclose(shifted(t, 3) / (1 - shifted(t, 3)), 3 * t / (1 - t))
    assert shifted(1.0, 3) == 1
    assert torch.equal(shifted(t, 1.0), t)  # as models of before were trained


def test_a_model_is_shown_shifted_times() -> None:
    shown: list[float] = []
    images = torch.zeros(2000, 1, 8, 8)
    for shift in (1, 3):
        model = make_flow(time_sampling="logit-normal", time_shift=shift)

        def note(_x: Tensor, t: Tensor, _labels: Tensor) -> Tensor:
            shown.append(float(torch.logit(t / TIME_SCALE).median()))
            return torch.zeros_like(images)

        model.networks["denoiser"] = Told(note)
        model.loss("denoising", Batch(images, None), Context(torch.Generator().manual_seed(1)))

    assert shown[1] - shown[0] == pytest.approx(math.log(3), abs=1e-3)


def test_a_shifted_walk_has_shifted_times() -> None:
    shown: list[float] = []

    def note(x: Tensor, t: Tensor, _labels: Tensor) -> Tensor:
        shown.append(float(t[0]) / TIME_SCALE)
        return torch.zeros_like(x)

    make_flow(time_shift=3).sample(
        {"denoiser": Told(note)}, None, NoiseSource([1]), EulerSampler(4)
    )

    assert shown == pytest.approx([1, 0.9, 0.75, 0.5])


def test_the_loss_is_that_of_the_velocity_and_zero_for_the_true_one() -> None:
    model = make_flow()
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(image.expand(256, -1, -1, -1), None)

    first, values = model.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))
    model.networks["denoiser"] = IdealFlow(lambda *_: image.double())
    perfect, _ = model.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))

    # the network begins with velocity 0: E[(epsilon - x_0)^2] = 1 + x_0^2
    assert first.item() == pytest.approx(1 + float(image.square().mean()), rel=0.03)
    assert values["velocity"] is first
    assert perfect.item() == pytest.approx(0, abs=1e-4)


def test_noise_is_mixed_in_on_a_line() -> None:
    model, images, noise = make_flow(), torch.ones(2, 1, 8, 8), NoiseSource([1, 2]).normal(1, 8, 8)

    assert torch.equal(model.add_noise(images, 0, NoiseSource([1, 2])), images)
    assert torch.equal(model.add_noise(images, 1, NoiseSource([1, 2])), noise)
    assert torch.allclose(
        model.add_noise(images, 0.25, NoiseSource([1, 2])), 0.75 * images + 0.25 * noise
    )


# --- walks --------------------------------------------------------------------------------------


def velocity(x: Tensor, t: float) -> Tensor:
    return (x - expected_x_0(x, 1 - t, t)) / t


WALKS = {"euler": partial(walk_euler, velocity), "heun": partial(walk_heun, velocity)}


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_the_covariance_converges_to_the_data_at_the_order_of_the_walk(
    name: str, order: int
) -> None:
    _, found = orders(
        lambda x, steps: WALKS[name](x, even_levels(steps)), scale=1, exact=(MEAN, COVARIANCE)
    )

    assert found == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("name", "error"), [("euler", 0.01), ("heun", 1e-4)])
def test_the_exact_velocity_carries_noise_to_the_data(name: str, error: float) -> None:
    mean, covariance = ends_of(lambda x: WALKS[name](x, even_levels(200)), scale=1)

    assert torch.allclose(mean, MEAN, atol=1e-9)  # it goes along a straight line
    assert torch.allclose(covariance, COVARIANCE, atol=error)


class Drawn(NoiseSource):
    """Noise for many rows from one stream."""

    def __init__(self, count: int) -> None:
        self._count, self._generator = count, torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self._count, *shape, generator=self._generator, dtype=torch.float64)


@pytest.mark.parametrize("eta", [0.5, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_walk_with_new_noise_ends_at_the_data(eta: float) -> None:
    noise = Drawn(50_000)

    ends = walk_ancestral(velocity, noise.normal(2), even_levels(1000), eta=eta, noise=noise)

    assert torch.allclose(ends.mean(0), MEAN, atol=0.005)
    assert torch.allclose(ends.T.cov(), COVARIANCE, atol=0.003)


def test_a_walk_without_new_noise_is_eulers() -> None:
    noise = Drawn(10)
    x = noise.normal(2)

    found = walk_ancestral(velocity, x, even_levels(7), eta=0, noise=noise)

    assert torch.allclose(found, walk_euler(velocity, x, even_levels(7)))
    assert not torch.allclose(
        found, walk_ancestral(velocity, x, even_levels(7), eta=0.5, noise=noise), atol=0.01
    )


def test_times_fall_evenly_from_noise_to_image() -> None:
    assert even_levels(4) == [1, 0.75, 0.5, 0.25, 0]
    assert even_levels(1) == [1, 0]


# --- sampling -----------------------------------------------------------------------------------


class Toy(nn.Module):
    """A network whose output depends on all that it is told."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        away = 0.1 * labels.view(-1, 1, 1, 1)
        return torch.sin(3 * x) + (t / TIME_SCALE).view(-1, 1, 1, 1) * x - away


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_eulers_walk_is_that_of_diffusers(steps: int) -> None:
    model, toy, labels = make_flow(num_classes=3), Toy(), torch.tensor([[0], [2]])
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))

    images = model.sample({"denoiser": toy}, labels, NoiseSource([1, 2]), EulerSampler(steps))
    x = NoiseSource([1, 2]).normal(1, 8, 8)
    for t in scheduler.timesteps:
        x = scheduler.step(toy(x, t.expand(2), labels), t, x, return_dict=False)[0]

    assert torch.allclose(images, x.clamp(-1, 1), atol=1e-5)


@pytest.mark.parametrize(
    "sampler",
    [EulerSampler(5), EulerSampler(5, eta=1), HeunSampler(5)],
    ids=lambda s: s.label(),
)
def test_every_step_is_reported(sampler: EulerSampler | HeunSampler) -> None:
    model, steps = make_flow(), list[Step]()

    images = model.sample(model.networks, None, NoiseSource([1]), sampler, steps.append)

    assert [(step.index, step.count) for step in steps] == [(i, 5) for i in range(5)]
    assert [step.time for step in steps] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert torch.equal(steps[0].x, NoiseSource([1]).normal(1, 8, 8))
    assert torch.allclose(steps[-1].x_0.clamp(-1, 1), images, atol=1e-6)


def test_guidance_goes_beyond_the_velocity_without_a_label() -> None:
    model, x, labels = make_flow(num_classes=3), torch.zeros(2, 1, 8, 8), torch.tensor([[0], [2]])

    plain, guided, free = (
        model.velocity(Toy(), x, 0.5, labels, guidance) for guidance in (1.0, 3.0, 0.0)
    )

    assert torch.allclose(guided - free, 3 * (plain - free), atol=1e-6)
    with pytest.raises(ValueError, match="expected guidance 1: the model is unconditional"):
        model.velocity(Toy(), x, 0.5, None, 3.0)


# --- predicting the clean image -----------------------------------------------------------------


class Clean(nn.Module):
    """A network that returns the expected clean image of a velocity's network."""

    def __init__(self, velocity: nn.Module) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        expected: Tensor = x - (t / TIME_SCALE).view(-1, 1, 1, 1) * self.velocity(x, t, labels)
        return expected


@pytest.mark.parametrize("sampler", [EulerSampler(5), HeunSampler(5)], ids=lambda s: s.label())
def test_a_clean_image_is_walked_to_as_its_velocity_is(sampler: EulerSampler | HeunSampler) -> None:
    by_velocity, by_image = make_flow(3), make_flow(3, prediction="x0")
    labels, toy = torch.tensor([0, 2]), Toy()

    expected = by_velocity.sample({"denoiser": toy}, labels, NoiseSource([1, 2]), sampler)
    found = by_image.sample({"denoiser": Clean(toy)}, labels, NoiseSource([1, 2]), sampler)

    assert torch.allclose(found, expected, atol=1e-5)
    assert expected.abs().max() > 0.1


def test_the_error_of_a_clean_image_counts_as_that_of_its_velocity() -> None:
    by_velocity, by_image = make_flow(), make_flow(prediction="x0")
    batch = Batch(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), None)
    late = ("mse_q1", "mse_q2", "mse_q3")  # where t is above the least divisor

    by_velocity.networks["denoiser"] = Toy()
    _, expected = by_velocity.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))
    by_image.networks["denoiser"] = Clean(Toy())
    _, found = by_image.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))

    for name in late:
        assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-3)
    assert found["mse_q0"] < expected["mse_q0"]  # some are divided by 0.05 instead of less


def test_the_bound_on_the_likelihood_is_the_same_for_both_predictions() -> None:
    by_velocity, by_image = make_flow(), make_flow(prediction="x0")
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def bound(model: Flow, network: nn.Module) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return model.bits_per_dimension({"denoiser": network}, images, None, generator)["vlb"]

    found, expected = bound(by_image, Clean(Toy())), bound(by_velocity, Toy())
    assert torch.allclose(found, expected, rtol=1e-4)


# --- self-conditioning --------------------------------------------------------------------------


class Shown(nn.Module):
    """A network that notes the estimates it is shown, and makes 0.25 of every value."""

    def __init__(self) -> None:
        super().__init__()
        self.estimates: list[Tensor | None] = []
        self.recorded: list[bool] = []  # whether gradients were

    def forward(
        self, x: Tensor, _t: Tensor, _labels: Tensor, estimate: Tensor | None = None
    ) -> Tensor:
        self.estimates.append(estimate)
        self.recorded.append(torch.is_grad_enabled())
        return torch.full_like(x, 0.25)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_half_of_the_steps_are_trained_on_an_estimate(prediction: str) -> None:
    model, network = make_flow(prediction=prediction, self_conditioning=True), Shown()
    model.networks["denoiser"] = network
    batch, generator = Batch(torch.zeros(2, 1, 8, 8), None), torch.Generator().manual_seed(0)

    for _ in range(400):
        model.loss("denoising", batch, Context(generator))

    shown = [estimate for estimate in network.estimates if estimate is not None]
    assert len(network.estimates) == 400 + len(shown)
    assert 160 < len(shown) < 240
    assert network.recorded.count(False) == len(shown)  # an estimate is not trained through
    if prediction == "x0":
        assert all((estimate == 0.25).all() for estimate in shown)
    else:
        assert torch.cat(shown).std() > 0.1  # x - t / 4
    assert torch.cat(shown).abs().max() <= 1


@pytest.mark.parametrize("guidance", [1, 2])
def test_each_step_is_shown_the_last_estimate(guidance: float) -> None:
    model, network = make_flow(3, prediction="x0", self_conditioning=True), Shown()
    sampler, labels = EulerSampler(3, guidance=guidance), torch.tensor([[0], [2]])

    model.sample({"denoiser": network}, labels, NoiseSource([1, 2]), sampler)

    first, *others = network.estimates
    assert first is None
    assert len(others) == 2
    for estimate in others:
        assert estimate is not None
        assert estimate.shape == (2 * guidance, 1, 8, 8)
        assert torch.allclose(estimate, torch.tensor(0.25))


def test_an_estimate_changes_what_is_predicted_and_none_is_zeros() -> None:
    model = make_flow(self_conditioning=True)
    network = model.networks["denoiser"]
    nn.init.normal_(network.unet.conv_out.weight)  # type: ignore[union-attr, arg-type]  # as diffusers has it
    x, t, labels = NoiseSource([1, 2]).normal(1, 8, 8), torch.full((2,), 500.0), torch.zeros(2, 1)

    plain, zeros, ones = (
        network(x, t, labels.long(), estimate)
        for estimate in (None, torch.zeros_like(x), torch.ones_like(x))
    )

    assert torch.equal(plain, zeros)
    assert not torch.allclose(plain, ones, atol=1e-3)


def test_new_noise_is_named() -> None:
    assert EulerSampler(20, eta=1.0).label() == "Euler 20 η=1"
    assert EulerSampler(20).label() == "Euler 20"

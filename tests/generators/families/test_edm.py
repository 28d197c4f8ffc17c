import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.contract import Batch, Context, Step
from generators.algorithm.noise import NoiseSource
from generators.diffusion.edm import EDM, TIME_SCALE
from generators.diffusion.flow import Flow
from generators.diffusion.losses import by_quarter
from generators.diffusion.walks import (
    Churn,
    karras_levels,
    walk_dpmsolver,
    walk_euler,
    walk_heun,
)
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import EDMConfig, FlowConfig
from generators.specs.diffusion_samplers import (
    EDMEulerSampler,
    EDMHeunSampler,
    EDMSampler,
    EDMSolverSampler,
)
from generators.specs.options import ConfigError, parse
from generators.specs.registry import parse_config, parse_sampler
from tests.generators.gaussian import (
    COVARIANCE,
    IDENTITY,
    MEAN,
    IdealEDM,
    IdealFlow,
    ends_of,
    expected_x_0,
    orders,
    power,
)

LOWEST, HIGHEST = 1e-4, 80.0


def make_edm(num_classes: int = 0, **values: Any) -> EDM:
    return EDM(
        EDMConfig(base_channels=8, **values),
        shape=(1, 8, 8),
        conditions=Conditions.of_classes(num_classes),
    )


class Recorder(nn.Module):
    """A network that keeps what it was given and returns a constant."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.x, self.t, self.labels = x, t, labels
        return torch.full_like(x, self.value)


# --- preconditioning and loss -------------------------------------------------------------------


def test_an_image_without_noise_is_its_own_expectation() -> None:
    x, none = torch.randn(3, 1, 8, 8), torch.zeros(3, 1, dtype=torch.int64)

    assert torch.equal(make_edm().denoise(Recorder(5.0), x, torch.zeros(3), none), x)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_inputs_and_targets_of_the_network_have_unit_variance(sigma: float) -> None:
    model, network = make_edm(sigma_data=0.4), Recorder()
    generator = torch.Generator().manual_seed(0)
    x_0 = 0.4 * torch.randn(64, 1, 32, 32, generator=generator, dtype=torch.float64)
    x = x_0 + sigma * torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
    levels, none = torch.full((64,), sigma).double(), torch.zeros(64, 1, dtype=torch.int64)

    skipped = model.denoise(network, x, levels, none)
    c_out = model.denoise(Recorder(1.0), x, levels, none) - skipped

    assert network.x.dtype == torch.float32
    assert float(network.x.std()) == pytest.approx(1, rel=0.02)
    assert float(((x_0 - skipped) / c_out).std()) == pytest.approx(1, rel=0.02)
    assert float(network.t[0]) == pytest.approx(TIME_SCALE * math.log(sigma) / 4, rel=1e-5)


def test_the_loss_begins_at_one_and_ends_at_zero() -> None:
    model = make_edm(sigma_data=0.4)
    images = 0.4 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch((images / images.std() * 0.4).expand(512, -1, -1, -1), None)

    first, values = model.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))
    model.networks["denoiser"] = IdealEDM(lambda *_: batch.images.double(), 0.4)
    perfect, _ = model.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))

    assert first.item() == pytest.approx(1, rel=0.05)
    assert values["denoising"] is first
    assert perfect.item() == pytest.approx(0, abs=1e-5)


def test_losses_are_told_apart_by_quarters_of_the_noise() -> None:
    losses, rank = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0.1, 0.2, 0.3, 1.0])

    assert by_quarter("mse", losses, rank) == {
        "mse_q0": 3,
        "mse_q1": 4,
        "mse_q2": 0,
        "mse_q3": 8,
    }
    assert sum(by_quarter("mse", losses, rank).values()) == 4 * losses.mean()


# --- the clean image as what is predicted -------------------------------------------------------


class Clean(nn.Module):
    """The clean images that a network expects which predicts EDM's mixture."""

    def __init__(self, model: EDM, network: nn.Module) -> None:
        super().__init__()
        self.model, self.network = model, network

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        sigma = torch.exp(4 * t.double() / TIME_SCALE)
        root = (sigma**2 + self.model.config.sigma_data**2).sqrt().view(-1, 1, 1, 1)
        return self.model.denoise(self.network, root * x.double(), sigma, labels).float()


class Toy(nn.Module):
    """Some smooth function of image, noise level and label."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        more = 0.01 * t.view(-1, 1, 1, 1) + 0.1 * labels.float().view(-1, 1, 1, 1)
        return torch.tanh(0.5 * x + more)


def pair() -> tuple[EDM, EDM]:
    return make_edm(3), make_edm(3, prediction="x0")


@pytest.mark.parametrize(
    "sampler",
    [EDMEulerSampler(5), EDMHeunSampler(5, s_churn=3.0), EDMSolverSampler(5)],
    ids=lambda s: s.label(),
)
def test_a_clean_image_is_walked_to_as_edms_mixture_is(sampler: EDMSampler) -> None:
    mixed, by_image = pair()
    labels, toy = torch.tensor([[0], [2]]), Toy()

    expected = mixed.sample({"denoiser": toy}, labels, NoiseSource([1, 2]), sampler)
    found = by_image.sample({"denoiser": Clean(mixed, toy)}, labels, NoiseSource([1, 2]), sampler)

    assert torch.allclose(found, expected, atol=1e-4)
    assert expected.abs().max() > 0.1 and expected.std() > 0.01


def test_the_network_says_the_clean_image_itself() -> None:
    x, labels = torch.randn(3, 1, 8, 8), torch.zeros(3, 1, dtype=torch.int64)
    network, sigma = Recorder(0.25), torch.tensor([0.002, 0.5, 80.0])

    found = make_edm(prediction="x0", sigma_data=0.4).denoise(network, x, sigma, labels)

    assert torch.equal(found, torch.full_like(x, 0.25))
    c_in = 1 / (sigma**2 + 0.4**2).sqrt()
    assert torch.allclose(network.x, c_in.view(3, 1, 1, 1) * x)


def test_an_error_of_the_image_counts_as_ever_but_at_the_lowest_levels() -> None:
    mixed, by_image = make_edm(sigma_data=0.4), make_edm(sigma_data=0.4, prediction="x0")
    levels = torch.logspace(-4, 2, 200)
    floor = 0.4 / 19

    ours, theirs = by_image.weight(levels), mixed.weight(levels)

    above = levels > floor
    assert torch.equal(ours[above], theirs[above]) and bool((ours < theirs)[~above].all())
    assert torch.allclose(ours[~above], torch.tensor((19**2 + 1) / 0.4**2))
    t = levels / (levels + 0.4)  # of the straight line whose mixture has this part of noise
    velocity = 1 / t.clamp_min(0.05) ** 2 / 0.4**2  # of an error in deviations of the data
    ratio = velocity / ours
    assert ratio.min() >= 1 - 1e-5 and ratio.max() <= 2 + 1e-5
    assert float(ratio[(levels - 0.4).abs().argmin()]) == pytest.approx(2, abs=0.01)


def test_the_loss_of_a_clean_image_is_that_of_edms_mixture() -> None:
    mixed, by_image = (
        make_edm(p_mean=0.0, p_std=0.5),
        make_edm(p_mean=0.0, p_std=0.5, prediction="x0"),
    )  # levels above the least one
    batch = Batch(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), None)

    mixed.networks["denoiser"] = Toy()
    expected, _ = mixed.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))
    by_image.networks["denoiser"] = Clean(mixed, Toy())
    found, _ = by_image.loss("denoising", batch, Context(torch.Generator().manual_seed(1)))

    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert found.item() > 0.1


def test_the_bound_on_the_likelihood_is_the_same_for_both_predictions() -> None:
    mixed, by_image = make_edm(), make_edm(prediction="x0")
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def bound(model: EDM, network: nn.Module) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return model.bits_per_dimension({"denoiser": network}, images, None, generator)["vlb"]

    found, expected = bound(by_image, Clean(mixed, Toy())), bound(mixed, Toy())
    assert torch.allclose(found, expected, rtol=1e-4)


def test_guidance_of_clean_images_is_that_of_edms_mixture() -> None:
    mixed, by_image = pair()
    x, labels = torch.randn(2, 1, 8, 8), torch.tensor([[0], [2]])
    clean = Clean(mixed, Toy())

    for guidance in (0.0, 1.0, 3.0):
        expected = mixed.predict_x_0(Toy(), x, 0.7, labels, guidance)
        found = by_image.predict_x_0(clean, x, 0.7, labels, guidance)
        assert torch.allclose(found, expected, atol=1e-4)


def test_latents_inherit_the_clean_image_and_jumps_do_not_have_it() -> None:
    assert parse_config("latent.edm", {"prediction": "x0"}).prediction == "x0"  # type: ignore[attr-defined]  # it has one
    for name in ("diffusion.ect", "latent.ect"):
        with pytest.raises(ConfigError, match="prediction: unknown field"):
            parse_config(name, {"prediction": "x0"})


# --- walks --------------------------------------------------------------------------------------


def test_the_noise_levels_are_those_of_the_paper() -> None:
    levels = karras_levels(18, 0.002, 80.0)

    assert levels[0] == pytest.approx(80) and levels[-2:] == [pytest.approx(0.002), 0]
    assert levels[1] == pytest.approx(
        (80 ** (1 / 7) + 1 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    )
    assert karras_levels(3, 1.0, 5.0, rho=1.0) == pytest.approx([5, 3, 1, 0])
    assert karras_levels(1, 0.002, 80.0) == pytest.approx([80, 0])


def predict(x: Tensor, sigma: float) -> Tensor:
    return expected_x_0(x, 1.0, sigma)


def slope(x: Tensor, sigma: float) -> Tensor:
    return (x - predict(x, sigma)) / sigma


WALKS = {
    "euler": partial(walk_euler, slope),
    "heun": partial(walk_heun, slope),
    "dpmsolver++": partial(walk_dpmsolver, predict),
}


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmsolver++", 2)])
def test_mean_and_covariance_converge_at_the_order_of_the_walk(name: str, order: int) -> None:
    gain = power(COVARIANCE, 0.5) @ power(COVARIANCE + HIGHEST**2 * IDENTITY, -0.5)
    exact = MEAN - gain @ MEAN, HIGHEST**2 * gain @ gain.T  # the flow's solution

    found = orders(
        lambda x, steps: WALKS[name](x, karras_levels(steps, LOWEST, HIGHEST)),
        scale=HIGHEST,
        exact=exact,
    )

    assert found == pytest.approx((order, order), abs=0.15)


@pytest.mark.parametrize("name", ["heun", "dpmsolver++"])
def test_a_walk_of_few_steps_ends_near_the_data(name: str) -> None:
    mean, covariance = ends_of(
        lambda x: WALKS[name](x, karras_levels(40, 0.002, HIGHEST)), scale=HIGHEST
    )

    assert mean.tolist() == pytest.approx(MEAN.tolist(), abs=0.005)
    assert covariance.flatten().tolist() == pytest.approx(COVARIANCE.flatten().tolist(), abs=0.003)


@pytest.mark.parametrize("amount", [0.0, 10.0, 40.0])
def test_churn_leaves_the_distribution_as_it_is(amount: float) -> None:
    noise, deviation = NoiseSource(range(8)), 0.25
    begin = HIGHEST * noise.normal(1, 64, 64).double()
    churn = Churn(amount, lowest=0.01, highest=50.0, scale=1.0)

    ends = walk_heun(
        lambda x, sigma: x * sigma / (deviation**2 + sigma**2),
        begin,
        karras_levels(150, 0.002, HIGHEST),
        churn=churn,
        noise=noise,
    )

    likeness = float(torch.corrcoef(torch.stack([begin.flatten(), ends.flatten()]))[0, 1])
    assert float(ends.std()) == pytest.approx(deviation, rel=0.02)
    assert float(ends.mean()) == pytest.approx(0, abs=0.005)
    assert likeness > 0.999 if amount == 0 else likeness < 0.9


def test_churn_goes_up_by_at_most_its_share_and_within_its_limits() -> None:
    churn = Churn(40.0, lowest=0.05, highest=50.0, scale=1.0)

    assert churn.level(1.0, 400) == pytest.approx(1.1)
    assert churn.level(1.0, 10) == pytest.approx(math.sqrt(2))
    assert churn.level(0.01, 10) == 0.01 and churn.level(60.0, 10) == 60.0


# --- sampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampler",
    [EDMHeunSampler(), EDMHeunSampler(s_churn=20), EDMEulerSampler(), EDMSolverSampler()],
    ids=EDMSampler.label,
)
def test_a_perfect_network_draws_the_image_it_knows(sampler: EDMSampler) -> None:
    model = make_edm()
    image = torch.rand(1, 8, 8) * 2 - 1
    network = IdealEDM(lambda *_: image.double(), 0.5)

    images = model.sample({"denoiser": network}, None, NoiseSource([1, 2]), sampler)

    assert images.dtype == torch.float32
    assert torch.allclose(images, image.expand(2, -1, -1, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "count"),
    [(EDMHeunSampler(4), 4), (EDMEulerSampler(4), 4), (EDMSolverSampler(4), 4)],
)
def test_every_step_is_reported(sampler: EDMSampler, count: int) -> None:
    model, steps = make_edm(), list[Step]()

    images = model.sample(model.networks, None, NoiseSource([1]), sampler, steps.append)

    assert [step.index for step in steps] == list(range(count))
    assert {step.count for step in steps} == {count}
    assert [step.time for step in steps] == pytest.approx(karras_levels(4, 0.002, 80.0)[:4])
    assert torch.allclose(steps[-1].x_0.float().clamp(-1, 1), images, atol=1e-6)


def test_guidance_moves_away_from_the_expectation_without_a_label() -> None:
    model = make_edm(num_classes=3)

    class ByLabel(nn.Module):
        def forward(self, x: Tensor, _t: Tensor, labels: Tensor) -> Tensor:
            return torch.where(labels == 3, 0.0, 0.2).view(-1, 1, 1, 1).expand_as(x)

    x, labels = torch.zeros(2, 1, 8, 8), torch.tensor([[0], [2]])
    plain = model.predict_x_0(ByLabel(), x, 1.0, labels, 1.0)
    guided = model.predict_x_0(ByLabel(), x, 1.0, labels, 3.0)

    assert plain.min() > 0
    assert torch.allclose(guided, 3 * plain)
    with pytest.raises(ValueError, match="expected guidance 1: the model is unconditional"):
        model.predict_x_0(ByLabel(), x, 1.0, None, 3.0)


def test_noise_is_added_from_none_to_what_sampling_begins_with() -> None:
    model, images = make_edm(), torch.zeros(2, 1, 8, 8)

    added = [model.add_noise(images, time, NoiseSource([1, 2])) for time in (0, 0.3, 0.6, 1)]

    assert torch.equal(added[0], images)
    assert [float(x.std()) for x in added] == sorted(float(x.std()) for x in added)
    assert torch.allclose(added[3], 80 * NoiseSource([1, 2]).normal(1, 8, 8))


def test_the_bound_on_the_likelihood_is_that_of_flow_matching() -> None:
    """Kingma et al., 2021, section 5.1: it depends on the ends of the path alone."""
    centre = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)).double() - 0.5
    spread = 0.1

    def expected(x: Tensor, alpha: Tensor | float, sigma: Tensor) -> Tensor:
        gain = alpha * spread**2 / ((alpha * spread) ** 2 + sigma**2)
        return centre + gain * (x - alpha * centre)

    edm, flow = (
        make_edm(),
        Flow(FlowConfig(base_channels=8), shape=(1, 8, 8), conditions=Conditions()),
    )
    networks = (
        IdealEDM(lambda x, sigma: expected(x, 1.0, sigma), 0.5),
        IdealFlow(lambda x, t: expected(x, 1 - t, t)),
    )
    noise = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    images = (((centre + spread * noise) * 127.5 + 127.5).round() / 127.5 - 1).float()

    bounds = [
        model.bits_per_dimension(
            {"denoiser": network}, images, None, torch.Generator().manual_seed(2), samples=50
        )["vlb"]
        for model, network in zip((edm, flow), networks, strict=True)
    ]

    # the entropy of a Gaussian, in units of a grey level
    entropy = 0.5 * math.log2(2 * math.pi * math.e * (spread * 127.5) ** 2)
    assert float(bounds[0].mean()) == pytest.approx(float(bounds[1].mean()), abs=0.03)
    assert float(bounds[0].mean()) == pytest.approx(entropy, abs=0.1)
    assert bounds[0].shape == (64,) and bounds[0].dtype == torch.float64


# --- configuration ------------------------------------------------------------------------------


def test_a_walk_must_go_down() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(EDMConfig, {"sigma_min": 1, "sigma_max": 1})

    assert caught.value.errors == {"sigma_max": "expected more than sigma_min, 1"}


def test_churned_levels_must_be_an_interval() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sampler("diffusion.edm", {"s_min": 2, "s_max": 1}, EDMConfig())

    assert caught.value.errors == {"s_max": "expected at least s_min, 2"}


def test_labels_of_samplers_name_what_is_unusual() -> None:
    assert EDMHeunSampler().label() == "Heun 18"
    assert EDMHeunSampler(s_churn=40, rho=5, guidance=2).label() == "Heun 18 ρ=5 churn=40 w=2"
    assert EDMSolverSampler(steps=12).label() == "DPM-Solver++ 12"

"""The hierarchical VAE: its likelihood and its Gaussians in closed form, its sizes, its hooks."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from generators.algorithm.contract import Batch, Context, Shape, Step
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError, parse
from generators.specs.registry import parse_config
from generators.specs.vae import HierarchicalSampler, HierarchicalVAEConfig
from generators.trained.sampling import draw_all, load_generator
from generators.vae.hierarchical import HierarchicalVAE
from generators.vae.hierarchical_latents import Latent, kl_divergence, kl_of_units, log_ratio
from generators.vae.hierarchical_sizes import Grid, grids_of, patch_of
from generators.vae.logistic import LogisticMixtures, parameters_per_pixel
from tests.generators.conftest import TINY, make_data, train_tiny

CONFIG = cast("HierarchicalVAEConfig", TINY["vae.hierarchical"])
STEPS = 60
LEVELS = to_float(torch.arange(256, dtype=torch.uint8)).view(256, 1, 1, 1)

# --- the likelihood -------------------------------------------------------------------------------


def random_mixtures(channels: int, mixtures: int, *, count: int = 1, spread: float = 1) -> Tensor:
    torch.manual_seed(0)
    return spread * torch.randn(count, parameters_per_pixel(channels, mixtures), 1, 1)


def test_a_pixel_has_as_many_parameters_as_the_paper_says() -> None:
    assert parameters_per_pixel(3, 10) == 100
    assert parameters_per_pixel(1, 10) == 30


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_the_probabilities_of_256_levels_sum_to_one(spread: float) -> None:
    parameters = random_mixtures(1, 4, spread=spread).expand(256, -1, -1, -1)

    total = LogisticMixtures(parameters, 1).log_probability(LEVELS).double().exp().sum()

    assert total.item() == pytest.approx(1, abs=1e-5)


def test_the_probabilities_of_a_channel_given_those_before_it_sum_to_one() -> None:
    parameters = random_mixtures(3, 1).expand(256, -1, -1, -1)
    others = torch.tensor([0.2, -0.6]).view(1, 2, 1, 1).expand(256, -1, -1, -1)

    joint = LogisticMixtures(parameters, 3).log_probability(torch.cat([others, LEVELS], 1))

    red = LogisticMixtures(parameters[:1, [0, 1, 4]], 1).log_probability(others[:1, :1])
    mean = parameters[:1, [2]] + parameters[:1, [7]].tanh() * 0.2  # of green, given red
    green_parameters = torch.cat([parameters[:1, [0]], mean, parameters[:1, [5]]], 1)
    green = LogisticMixtures(green_parameters, 1).log_probability(others[:1, 1:])
    assert joint.logsumexp(0).item() == pytest.approx((red + green).item(), abs=1e-4)


def test_a_narrow_component_is_sure_of_its_level_and_its_slope_is_finite() -> None:
    level = LEVELS[100:101]
    parameters = torch.tensor([0.0, level.item(), -7.0]).view(1, 3, 1, 1).requires_grad_()

    right = LogisticMixtures(parameters, 1).log_probability(level)
    wrong = LogisticMixtures(parameters, 1).log_probability(LEVELS[255:])
    wrong.backward()  # type: ignore[no-untyped-call]  # torch's

    assert right.item() == pytest.approx(math.log(math.tanh(math.exp(7) / 255 / 2)), rel=1e-3)
    assert wrong.item() < -100
    assert parameters.grad is not None and parameters.grad.isfinite().all()


def test_the_mean_is_that_of_the_weighted_centres() -> None:
    # three parameters of two components each: logits, means, log scales
    parameters = torch.tensor([math.log(3), 0.0, -0.8, 0.4, -3, -3]).view(1, 6, 1, 1)

    mean = LogisticMixtures(parameters, 1).mean()

    assert mean.item() == pytest.approx(0.75 * -0.8 + 0.25 * 0.4)


def test_samples_come_as_often_as_their_probability_says() -> None:
    count = 40_000
    parameters = random_mixtures(1, 3, spread=1)
    generator = torch.Generator().manual_seed(0)
    choice = torch.rand(count, 3, 1, 1, generator=generator)
    noise = torch.rand(count, 1, 1, 1, generator=generator)

    drawn = LogisticMixtures(parameters.expand(count, -1, -1, -1), 1).sample(choice, noise)

    levels = (drawn.flatten() * 127.5 + 127.5).round().long()
    found = torch.bincount(levels, minlength=256).cumsum(0) / count
    expected = LogisticMixtures(parameters.expand(256, -1, -1, -1), 1).log_probability(LEVELS).exp()
    assert (found - expected.cumsum(0)).abs().max() < 1.63 / math.sqrt(count)  # Kolmogorov, 1 %


def test_later_channels_follow_those_before_them() -> None:
    # logit, means, log scales, couplings: green = red, blue = red - green + 0.5
    couplings = [20.0, 20.0, -20.0]
    parameters = torch.tensor([0.0, 0.3, 0, 0.5, -7, -7, -7, *couplings]).view(1, 10, 1, 1)

    mean = LogisticMixtures(parameters, 3).mean()

    assert mean.flatten().tolist() == pytest.approx([0.3, 0.3, 0.5])


# --- Gaussians ------------------------------------------------------------------------------------


def latent(z: float, mean: float, scale: float, prior_mean: float, prior_scale: float) -> Latent:
    values = (z, mean, math.log(scale), prior_mean, math.log(prior_scale))
    return Latent(*(torch.full((1, 2, 1, 1), value) for value in values))


def test_the_kl_is_zero_between_equals_and_half_a_square_for_a_shift() -> None:
    assert kl_divergence(latent(9, 3, 2, 3, 2)).item() == 0
    assert kl_divergence(latent(9, 3, 2, 7, 2)).item() == pytest.approx(2 * 0.5 * 2**2)
    wide = kl_of_units(latent(9, 0, 2, 0, 1)).flatten()
    assert wide.tolist() == pytest.approx([0.5 * (4 - 1) - math.log(2)] * 2)


def test_the_ratio_of_densities_is_that_of_two_normal_distributions() -> None:
    def log_density(z: float, mean: float, scale: float) -> float:
        return -0.5 * ((z - mean) / scale) ** 2 - math.log(scale)

    expected = log_density(0.7, -1, 2) - log_density(0.7, 1, 0.5)

    assert log_ratio(latent(0.7, 1, 0.5, -1, 2)).item() == pytest.approx(2 * expected, abs=1e-5)


# --- sizes ----------------------------------------------------------------------------------------


def test_grids_halve_rounded_up_and_empty_ones_are_passed_over() -> None:
    config = HierarchicalVAEConfig(stochastic_layers="0,2,1,0,3", encoder_blocks="0,1,2,0,4")

    assert grids_of(config, (9, 16)) == [Grid(1, 1, 3, 4), Grid(3, 4, 1, 2), Grid(5, 8, 2, 1)]
    assert patch_of(grids_of(config, (9, 16)), (9, 16)) == 2


def test_grids_without_stochastic_layers_have_residual_blocks_alone() -> None:
    config = replace(CONFIG, stochastic_layers="0,0,1", encoder_blocks="2,1,1,7")
    grids = grids_of(config, (8, 8))
    model = HierarchicalVAE(config, shape=(1, 8, 8), conditions=Conditions())

    assert grids == [Grid(1, 1, 0, 7), Grid(2, 2, 1, 1), Grid(4, 4, 0, 1), Grid(8, 8, 0, 2)]
    assert model.latent_shapes == [(CONFIG.latent_channels, 2, 2)]
    assert patch_of(grids, (8, 8)) == 1


def test_the_papers_layers_are_those_of_the_paper() -> None:
    config = parse_config("vae.hierarchical", {}, preset="paper")
    assert isinstance(config, HierarchicalVAEConfig)

    grids = grids_of(config, (32, 32))

    assert [(grid.width, grid.layers) for grid in grids] == [
        (1, 1),
        (4, 2),
        (8, 5),
        (16, 10),
        (32, 21),
    ]
    assert [grid.blocks for grid in grids] == [3, 3, 6, 6, 11]


@pytest.mark.parametrize("shape", [(1, 9, 16), (3, 13, 8), (1, 11, 31)])
@pytest.mark.parametrize("layers", ["1,1,0,1", "0,1,1", "0,0,1", "", "1,0,0,0,0,0,0,1,5"])
def test_any_size_works_with_any_layers(shape: Shape, layers: str) -> None:
    config = replace(CONFIG, stochastic_layers=layers)
    model = HierarchicalVAE(config, shape=shape, conditions=Conditions())
    batch = Batch(torch.rand(2, *shape) * 2 - 1, None)

    loss, _ = model.loss("elbo", batch, Context(torch.Generator()))
    with torch.inference_mode():
        drawn = model.sample(model.networks, None, NoiseSource([1]), HierarchicalSampler())

    assert loss.isfinite()
    assert drawn.shape == (1, *shape)


@pytest.mark.parametrize("name", ["stochastic_layers", "encoder_blocks"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,x", "expected whole numbers in 0..99 with commas between them, got '1,x'"),
        ("1,,2", "expected whole numbers in 0..99 with commas between them, got '1,,2'"),
        ("1,-1", "expected whole numbers in 0..99 with commas between them, got '1,-1'"),
        ("100", "expected whole numbers in 0..99 with commas between them, got '100'"),
    ],
)
def test_counts_that_are_none_are_refused_with_the_fields_name(
    name: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(HierarchicalVAEConfig, {name: text})

    assert caught.value.errors == {name: message}


def test_layers_on_none_of_the_four_finest_grids_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(HierarchicalVAEConfig, {"stochastic_layers": "0,0,0,0,1", "microbatch": 100})

    assert caught.value.errors == {
        "stochastic_layers": "expected at least 1 on one of the finest 4 grids",
        "microbatch": "expected at most the batch size, 64",
    }


# --- the model ------------------------------------------------------------------------------------


def build(config: HierarchicalVAEConfig = CONFIG, *, num_classes: int = 3) -> HierarchicalVAE:
    torch.manual_seed(0)
    return HierarchicalVAE(config, shape=(1, 8, 8), conditions=Conditions.of_classes(num_classes))


def batch_of(count: int) -> Batch:
    data = make_data(count)
    return Batch(to_float(torch.from_numpy(data.images)), torch.from_numpy(data.labels)[:, None])


def checkers() -> Tensor:
    """Return images of four squares, each dark or bright: all 16 of them, (16, 1, 8, 8)."""
    bits = torch.arange(16).unsqueeze(1) >> torch.arange(4) & 1
    squares = bits.view(16, 1, 2, 2).float() * 1.2 - 0.6
    return squares.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.fixture(scope="module")
def trained() -> HierarchicalVAE:
    """Return a model that has learned 16 images by heart; tests only read it."""
    model = build(replace(CONFIG, width=16, kl_warmup=1.0), num_classes=0)
    batch = Batch(checkers(), None)
    parameters = [p for network in model.networks.values() for p in network.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=5e-3)
    for step in range(STEPS):
        optimiser.zero_grad()
        context = Context(torch.Generator().manual_seed(step), fraction=0.5 * step / STEPS)
        loss, _ = model.loss("elbo", batch, context)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
    for network in model.networks.values():
        network.eval().requires_grad_(False)
    return model


def test_the_priors_begin_as_standard_normal_distributions() -> None:
    model = build()
    zeros = model._zeros(torch.zeros(1, 1, 8, 8))

    _, latents = model.networks["decoder"](torch.zeros(1, 1, dtype=torch.int64), zeros)

    assert len(latents) == 3
    assert all(not latent.prior_mean.any() for latent in latents)
    assert all(not latent.prior_log_scale.any() for latent in latents)


def test_the_weight_of_the_kl_rises_over_the_warm_up() -> None:
    model, batch = build(replace(CONFIG, kl_warmup=0.5)), batch_of(4)

    for fraction, weight in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.9, 1.0)):
        context = Context(torch.Generator().manual_seed(0), fraction)
        loss, values = model.loss("elbo", batch, context)
        expected = values["distortion"] + weight * values["kl"]
        assert loss.item() == pytest.approx(expected.item())
        assert values["bpd"].item() == pytest.approx(values["elbo"].item() / math.log(2))


def test_a_part_of_each_layers_kl_is_free() -> None:
    model, batch = build(replace(CONFIG, free_nats=1e3)), batch_of(4)

    loss, values = model.loss("elbo", batch, Context(torch.Generator().manual_seed(0)))

    # all three layers cost what is free, whatever they hold
    expected = values["distortion"].item() + 3 * 1e3 / 64
    assert loss.item() == pytest.approx(expected)
    assert 0 < values["kl"].item() < 1e3 / 64


def test_what_was_seen_is_recognised_in_its_reconstruction(trained: HierarchicalVAE) -> None:
    images = checkers()

    rebuilt = trained.reconstruct(trained.networks, images, None)

    distances = torch.cdist(rebuilt.flatten(1), images.flatten(1))
    assert rebuilt.shape == images.shape
    assert (distances.argmin(1) == torch.arange(16)).float().mean() > 0.8


def test_codes_are_the_latents_of_the_coarsest_grid(trained: HierarchicalVAE) -> None:
    codes = trained.encode(trained.networks, checkers(), None)

    assert codes.shape == (16, CONFIG.latent_channels)  # one layer on the grid of 1x1


def test_more_samples_tighten_the_importance_weighted_bound(trained: HierarchicalVAE) -> None:
    images = checkers()[3:7]

    def bits(samples: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return trained.bits_per_dimension(
            trained.networks, images, None, generator, samples=samples
        )

    one = [bits(1, seed) for seed in range(40)]
    many = bits(40, 100)

    drawn = torch.stack([found["iwae"] for found in one])
    elbo = torch.stack([found["elbo"] for found in one]).mean(0)
    error = 4 * drawn.std(0) / math.sqrt(len(one))
    assert ((drawn.mean(0) - elbo).abs() < error + 1e-6).all()  # IWAE-1 is the ELBO, on average
    assert (many["iwae"] < many["elbo"]).all()
    assert many["iwae"].dtype == torch.float64


def test_units_are_active_where_posteriors_leave_their_priors(trained: HierarchicalVAE) -> None:
    batch, idle = batch_of(8), build()
    for block in idle.networks["encoder"].get_submodule("posteriors").children():
        torch.nn.init.zeros_(block[-1].weight)  # type: ignore[index]  # a Sequential

    units = sum(math.prod(shape) for shape in trained.latent_shapes)
    active = trained.diagnose(trained.networks, checkers(), None)["active_units"]
    none = idle.diagnose(idle.networks, batch.images, batch.labels)

    assert 1 <= float(active) <= units
    assert none == {"active_units": 0, "codebook_usage": "its codes are continuous"}


def drawn(model: HierarchicalVAE, sampler: HierarchicalSampler, **options: object) -> Tensor:
    return model.sample(
        model.networks,
        None,
        NoiseSource(range(8)),
        sampler,
        **options,  # type: ignore[arg-type]  # the test's choice
    )


def test_a_low_temperature_gives_images_that_differ_less(trained: HierarchicalVAE) -> None:
    cold, warm = (drawn(trained, HierarchicalSampler(temperature=t)) for t in (0.01, 1.0))

    assert cold.std(0).mean() < 0.1 * warm.std(0).mean()


def test_pixels_are_drawn_about_their_means(trained: HierarchicalVAE) -> None:
    means = drawn(trained, HierarchicalSampler())
    pixels = drawn(trained, HierarchicalSampler(pixels="sample"))

    assert not torch.equal(means, pixels)
    assert pixels.abs().max() <= 1
    assert (means - pixels).mean().abs() < 0.1


def test_each_step_shows_one_more_layer_and_the_last_one_the_image(
    trained: HierarchicalVAE,
) -> None:
    steps: list[Step] = []

    images = drawn(trained, HierarchicalSampler(), on_step=steps.append)
    cold = drawn(trained, HierarchicalSampler(temperature=0.01))

    assert [(step.index, step.count) for step in steps] == [(0, 3), (1, 3), (2, 3)]
    assert [step.time for step in steps] == pytest.approx([2 / 3, 1 / 3, 0])
    assert torch.equal(steps[-1].x_0, images)
    assert torch.allclose(steps[0].x, cold, atol=0.1)  # all latents at their means
    assert all(torch.equal(a.x_0, b.x) for a, b in itertools.pairwise(steps))


def test_one_evaluation_of_the_decoder_is_counted_for_an_image(tmp_path: Path) -> None:
    result = train_tiny("vae.hierarchical", tmp_path, images=16)
    generator = load_generator(result.checkpoint.path)

    samples = draw_all(generator, HierarchicalSampler(), seeds=range(9), labels=np.zeros(9, int))

    assert samples.stats.nfe == 1


def test_labels_say_what_differs_from_the_defaults() -> None:
    assert HierarchicalSampler().label() == "hierarchical"
    assert HierarchicalSampler(0.7, "sample").label() == "hierarchical T=0.7 pixels=sample"

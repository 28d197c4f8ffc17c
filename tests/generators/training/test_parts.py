"""Noise, averages, layers and losses in closed form."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from generators.algorithm.conditioning import Encoded
from generators.algorithm.contract import expect_sampler
from generators.algorithm.layers import ConditionalBatchNorm2d, halvings
from generators.algorithm.noise import NoiseSource, derive_seed
from generators.algorithm.numerics import flushing_denormals
from generators.specs.conditions import Conditions
from generators.specs.diffusion_samplers import DDIMSampler
from generators.specs.options import DirectSampler
from generators.specs.vae import ConvVAEConfig
from generators.training import ema
from generators.vae.conv import ConvVAE, kl_to_standard_normal

# --- noise --------------------------------------------------------------------------------------


def test_a_derived_seed_depends_on_every_part_and_on_nothing_else() -> None:
    assert derive_seed(0, "step", 1) == 2111436579075594638
    seeds = {derive_seed(0, "step", 1), derive_seed(0, "step", 2), derive_seed(1, "step", 1)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_each_image_has_its_own_stream_of_noise() -> None:
    together, alone = NoiseSource([3, 4, 5]), NoiseSource([4])

    for _ in range(2):
        assert torch.equal(together.normal(2, 3)[1], alone.normal(2, 3)[0])
    assert not torch.equal(NoiseSource([3]).normal(4), NoiseSource([4]).normal(4))


def test_denormals_are_flushed_within_the_block_only() -> None:
    smallest_normal = 2.0**-1022

    with flushing_denormals():
        with flushing_denormals():
            pass
        within = smallest_normal / 2
    after = smallest_normal / 2

    assert within == 0
    assert after > 0


# --- averages -----------------------------------------------------------------------------------


def test_the_average_follows_its_formula_and_copies_buffers() -> None:
    network = nn.BatchNorm1d(3)
    kept = ema.Average(network)
    average = kept.network
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(7.0)  # type: ignore[union-attr]  # it tracks statistics

    kept.update(0.75)

    averaged = average.state_dict()
    assert averaged["weight"].tolist() == [1.5] * 3
    assert averaged["running_mean"].tolist() == [7.0] * 3
    assert not average.training and not any(p.requires_grad for p in average.parameters())


def test_the_half_life_is_a_fraction_of_the_images_seen() -> None:
    half_life = 0.05 * 100_000

    assert ema.decay(100_000, int(half_life), halflife=0.05) == pytest.approx(0.5)
    assert ema.decay(100_000, 64, halflife=0.05) == pytest.approx(0.5 ** (64 / half_life))
    assert ema.decay(64, 64, halflife=0.0) == 0


# --- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(8, 8, 1), (16, 16, 2), (28, 28, 2), (32, 32, 3), (64, 64, 4), (9, 16, 0), (12, 20, 1)],
)
def test_sides_are_halved_while_they_stay_whole_and_large_enough(
    height: int, width: int, count: int
) -> None:
    assert halvings(height, width) == count


def test_conditional_batch_norm_is_batch_norm_until_classes_differ() -> None:
    layer, x = ConditionalBatchNorm2d(4, Conditions.of_classes(3)), torch.randn(6, 4, 5, 5) * 3 + 1
    classes = Encoded(torch.tensor([0, 1, 2, 0, 1, 2]))

    plain = layer(x, classes)
    with torch.no_grad():
        layer.shift.weight[2] = 10.0
    shifted = layer(x, classes)

    assert torch.allclose(plain, F.batch_norm(x, None, None, training=True), atol=1e-5)
    assert torch.allclose(
        shifted - plain, torch.tensor([0.0, 0, 10, 0, 0, 10])[:, None, None, None]
    )


def test_a_sampler_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a DirectSampler, got DDIMSampler"):
        expect_sampler(DDIMSampler(), DirectSampler)


# --- losses -------------------------------------------------------------------------------------


def test_the_kl_is_zero_for_the_prior_and_half_a_square_for_a_shift() -> None:
    zeros = torch.zeros(1, 5)

    assert kl_to_standard_normal(zeros, zeros).item() == 0
    assert kl_to_standard_normal(torch.full((1, 5), 2.0), zeros).item() == pytest.approx(10)
    assert kl_to_standard_normal(zeros, torch.full((1, 5), math.log(4))).item() == pytest.approx(
        5 * 0.5 * (4 - 1 - math.log(4))
    )


def test_the_sigma_variant_uses_the_optimal_variance() -> None:
    mse = torch.tensor(0.04, requires_grad=True)
    beta = ConvVAE(ConvVAEConfig(variant="beta"), shape=(1, 8, 8), conditions=Conditions())
    sigma = ConvVAE(ConvVAEConfig(variant="sigma"), shape=(1, 8, 8), conditions=Conditions())

    sigma._negative_log_likelihood(mse).backward()  # type: ignore[no-untyped-call]  # torch's

    assert beta._negative_log_likelihood(mse).item() == pytest.approx(0.02)
    assert mse.grad is not None
    # a Gaussian of variance s has -log p = mse / 2s + log(s) / 2, whose slope at s = mse is 1 / 2s
    assert mse.grad.item() == pytest.approx(1 / (2 * 0.04))

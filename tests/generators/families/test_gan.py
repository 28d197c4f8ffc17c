"""Losses, networks and augmentation of GANs, in closed form and by direction."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from generators.algorithm.conditioning import Encoded
from generators.algorithm.contract import Batch, Context, Shape, build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.gan.adversarial import GAN
from generators.gan.augment import augment, change_colors, cut_out, translate
from generators.gan.backbones import ProjectionHead
from generators.gan.r3gan import (
    GAIN,
    R3GAN,
    Discriminator,
    Generator,
    ResidualBlock,
    doubled,
    falling,
    relativistic,
    squared_gradients,
    stage_widths,
)
from generators.gan.sngan import SNGAN
from generators.gan.wgan_gp import WGANGP, gradient_penalty
from generators.specs.conditions import Conditions
from generators.specs.gan import R3GANConfig, SNGANConfig, WGANGPConfig
from generators.specs.options import ConfigError
from generators.specs.registry import ALGORITHMS, parse_config, parse_sampler
from generators.training.budgets import schedule
from tests.generators.conftest import TINY, exactly, train_tiny

GANS = [name for name, spec in ALGORITHMS.items() if spec.family == "gan"]
SHAPE: Shape = (1, 8, 8)

every_gan = pytest.mark.parametrize("name", GANS)


class Brightness(nn.Module):
    """A discriminator whose logit is the sum of an image's pixels times one weight."""

    def __init__(self, weight: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.offset = offset
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return self.offset + self.weight * images.sum((1, 2, 3))


def gan_with(name: str, discriminator: nn.Module, **options: object) -> GAN:
    config = parse_config(name, {"latent_dim": 4, "generator_channels": 4, **options})
    model = build_algorithm(name, config, shape=SHAPE, conditions=Conditions.of_classes(3), seed=0)
    assert isinstance(model, GAN)
    model.networks["discriminator"] = discriminator
    return model


def context(seed: int = 0, fraction: float = 0.0) -> Context:
    return Context(torch.Generator().manual_seed(seed), fraction)


def images_of(*levels: float) -> Tensor:
    return torch.tensor(levels, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, *SHAPE).clone()


LABELS = torch.tensor([[0], [1]])

# --- losses -------------------------------------------------------------------------------------


@every_gan
def test_the_generator_is_told_to_raise_the_logits_of_its_images(name: str) -> None:
    model = gan_with(name, Brightness(0.01))
    fake = images_of(-0.5, 0.5).requires_grad_()

    loss, _ = model.generator_loss(images_of(0, 0), fake, LABELS, context())
    loss.backward()  # type: ignore[no-untyped-call]  # torch's

    assert fake.grad is not None and (fake.grad < 0).all()


@every_gan
def test_the_discriminator_is_told_to_part_real_from_generated(name: str) -> None:
    discriminator = Brightness(0.01)
    model = gan_with(name, discriminator)

    loss, values = model.discriminator_loss(
        images_of(0.5, 0.6), images_of(-0.5, -0.4), LABELS, context()
    )
    loss.backward()  # type: ignore[no-untyped-call]  # torch's

    assert discriminator.weight.grad is not None and discriminator.weight.grad < 0
    assert values["logit_real"].item() == pytest.approx(0.01 * 64 * 0.55)
    assert values["logit_fake"].item() == pytest.approx(-0.01 * 64 * 0.45)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("gan.dcgan", 2 * math.log(2), math.log(2)),
        ("gan.sngan", 2.0, 0.0),
        ("gan.wgan_gp", 10.0, 0.0),  # the slope is 0, so the penalty is lambda
        ("gan.r3gan", math.log(2), math.log(2)),
    ],
)
def test_losses_of_a_discriminator_that_knows_nothing(
    name: str, discriminator: float, generator: float
) -> None:
    model = gan_with(name, Brightness(0.0))
    real, fake = images_of(0.1, 0.2), images_of(0.3, 0.4)

    of_discriminator, _ = model.discriminator_loss(real, fake, LABELS, context())
    of_generator, _ = model.generator_loss(real, fake, LABELS, context())

    assert of_discriminator.item() == pytest.approx(discriminator)
    assert of_generator.item() == pytest.approx(generator)


def test_the_relativistic_loss_looks_at_differences_alone() -> None:
    higher, lower = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])

    loss = relativistic(higher, lower).item()

    assert loss == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2)
    assert relativistic(higher + 5, lower + 5).item() == pytest.approx(loss)


def test_the_slope_of_a_linear_critic_is_its_weight() -> None:
    weight, images = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2), torch.randn(5, 1, 1, 2)
    images.requires_grad_()

    def logits(scale: float) -> Tensor:
        return (scale * weight * images).sum((1, 2, 3))

    assert squared_gradients(logits(1), images).tolist() == [25.0] * 5
    assert gradient_penalty(logits(1), images).item() == 16  # (5 - 1)^2
    assert gradient_penalty(logits(0.2), images).item() == pytest.approx(0, abs=1e-10)
    assert gradient_penalty(logits(0), images).item() == 1


def test_the_critic_of_slope_one_pays_no_penalty_and_measures_the_distance() -> None:
    model = gan_with("gan.wgan_gp", Brightness(1 / 8))  # 64 pixels: the slope is 1

    loss, values = model.discriminator_loss(
        images_of(0.5, 0.5), images_of(-0.5, -0.5), LABELS, context()
    )

    assert values["gradient_penalty"].item() == pytest.approx(0, abs=1e-10)
    assert values["distance"].item() == pytest.approx(8)  # the Euclidean one between the two images
    assert loss.item() == pytest.approx(-8)


def test_the_penalty_is_taken_between_real_and_generated_images() -> None:
    critic = Brightness(0.1)

    gan_with("gan.wgan_gp", critic).discriminator_loss(
        images_of(1, 1), images_of(-1, -1), LABELS, context()
    )

    levels = critic.seen[-1]
    assert (levels.abs() < 1).all()
    assert torch.allclose(levels, levels[:, :, :1, :1])  # one weight for a whole image
    assert not torch.allclose(levels[0], levels[1])


def test_both_penalties_count_half_gamma_which_falls_over_the_budget() -> None:
    model = gan_with("gan.r3gan", Brightness(0.5), gamma=0.4, final_gamma=0.1)
    real, fake = images_of(0.2, 0.2), images_of(0.2, 0.2)

    def penalty(fraction: float) -> float:
        loss, values = model.discriminator_loss(real, fake, LABELS, context(0, fraction))
        assert values["r1"].item() == values["r2"].item() == 16  # 64 pixels, 0.5^2 each
        return loss.item() - values["adversarial"].item()

    assert penalty(0) == pytest.approx(0.4 / 2 * 32)
    assert penalty(0.5) == pytest.approx(0.25 / 2 * 32)
    assert penalty(1) == pytest.approx(0.1 / 2 * 32)
    assert falling(0.4, 0.1, 0.25) == pytest.approx(0.1 + 0.3 * (0.5 + math.sqrt(0.125)))


def test_the_hinge_loss_is_two_at_logits_of_zero() -> None:
    model = SNGAN(SNGANConfig(), shape=SHAPE, conditions=Conditions.of_classes(3))
    with torch.no_grad():
        for parameter in model.networks["discriminator"].parameters():
            if parameter.ndim == 1:
                parameter.zero_()
    batch = Batch(torch.zeros(4, *SHAPE), torch.tensor([[0], [1], [2], [0]]))

    _, values = model.loss("discriminator", batch, Context(torch.Generator()))

    expected = 2 - values["logit_real"] + values["logit_fake"]
    assert values["discriminator"].item() == pytest.approx(expected.item(), abs=0.05)


# --- phases -------------------------------------------------------------------------------------


@every_gan
def test_penalties_are_computed_in_float32_by_a_network_that_is_not_compiled(name: str) -> None:
    model = gan_with(name, Brightness(0.0), discriminator_steps=3)
    penalised = name in ("gan.wgan_gp", "gan.r3gan")

    discriminator, generator = model.phases()

    assert (discriminator.every, generator.every) == (1, 3)
    assert discriminator.autocast is not penalised
    assert generator.autocast
    assert not (penalised and "discriminator" in model.compilable)


@every_gan
def test_half_precision_trains_with_every_augmentation(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"precision": "bfloat16", "diff_augment": "color,translation,cutout"}
    config = dataclasses.replace(TINY[name], **changes)

    result = train_tiny(name, tmp_path, config=config, images=32)

    assert (result.images_seen, result.skipped) == (32, 0)


def test_rates_of_r3gan_go_to_their_last_values() -> None:
    config = R3GANConfig(beta2=0.8, final_beta2=0.95, final_rate=0.3)

    for phase in R3GAN(config, shape=SHAPE, conditions=Conditions()).phases():
        assert (phase.betas, phase.final_betas) == ((0.0, 0.8), (0.0, 0.95))
        assert phase.final_rate == 0.3
    for decay in ("linear", "cosine"):
        assert schedule(0, warmup=0, decay=decay, final=0.3) == 1
        assert schedule(0.5, warmup=0, decay=decay, final=0.3) == pytest.approx(0.65)
        assert schedule(1, warmup=0, decay=decay, final=0.3) == pytest.approx(0.3)


# --- networks -----------------------------------------------------------------------------------


@every_gan
@pytest.mark.parametrize("shape", [(3, 9, 13), (1, 11, 8)])
def test_odd_sides_are_modelled_as_well(name: str, shape: Shape) -> None:
    model = build_algorithm(
        name, TINY[name], shape=shape, conditions=Conditions.of_classes(3), seed=0
    )
    batch = Batch(torch.zeros(2, *shape), LABELS)

    with torch.inference_mode():
        images = model.sample(model.networks, LABELS, NoiseSource([1, 2]), parse_sampler(name, {}))
    losses = [model.loss(phase.name, batch, context())[0] for phase in model.phases()]

    assert images.shape == (2, *shape)
    assert all(loss.isfinite() for loss in losses)


def test_the_published_r3gan_has_its_size() -> None:
    config = parse_config("gan.r3gan", {}, preset="paper")

    assert isinstance(config, R3GANConfig)

    shape, conditions = (3, 32, 32), Conditions.of_classes(10)
    for network in (Generator(shape, config, conditions), Discriminator(shape, config, conditions)):
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(20.7e6, rel=0.01)


def test_a_projection_adds_the_product_with_the_class_to_a_linear_logit() -> None:
    head, features = ProjectionHead(4, Conditions.of_classes(3)), torch.randn(2, 4)

    logits = head(features, Encoded(torch.tensor([2, 0])))

    for i, label in enumerate([2, 0]):
        embedded = head.embed(torch.tensor(label))
        expected = head.logit(features[i]) + embedded @ features[i]
        assert logits[i].item() == pytest.approx(expected.item(), abs=1e-5)


def test_every_weight_of_the_discriminator_has_spectral_norm_one() -> None:
    model = SNGAN(SNGANConfig(), shape=SHAPE, conditions=Conditions.of_classes(3))
    discriminator = model.networks["discriminator"]
    batch = torch.zeros(2, *SHAPE), LABELS
    for _ in range(50):  # each call refines the estimate by one power iteration
        discriminator(*batch)
    discriminator.eval()

    layers = [m for m in discriminator.modules() if hasattr(m, "parametrizations")]

    assert len(layers) == 5
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)  # type: ignore[operator]
        assert norm.item() == pytest.approx(1, abs=0.02)


def test_a_critic_has_no_batch_statistics() -> None:
    model = WGANGP(
        WGANGPConfig(discriminator_channels=4), shape=SHAPE, conditions=Conditions.of_classes(3)
    )
    critic, images = model.networks["discriminator"], torch.randn(3, *SHAPE)
    labels = torch.tensor([[0], [1], [2]])

    together, alone = critic(images, labels), critic(images[1:2], labels[1:2])

    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_a_residual_block_begins_as_the_identity_and_small_within() -> None:
    block, x = ResidualBlock(64, R3GANConfig(), blocks=16), torch.randn(2, 64, 4, 4)

    assert torch.equal(block(x), x)
    assert block.mix.groups == 8  # 128 channels, 16 in each
    assert block.widen.weight.std().item() == pytest.approx(GAIN / 2 / 64**0.5, rel=0.05)
    assert block.mix.weight.std().item() == pytest.approx(GAIN / 2 / (9 * 16) ** 0.5, rel=0.05)


def test_channels_grow_from_the_full_resolution_down() -> None:
    paper = parse_config("gan.r3gan", {}, preset="paper")
    assert isinstance(paper, R3GANConfig)

    assert stage_widths((1, 28, 28), R3GANConfig(), 0) == [16, 32, 64]
    assert stage_widths((3, 64, 64), R3GANConfig(most_channels=100), 0) == [32, 64, 100, 100, 100]
    assert stage_widths((3, 32, 32), paper, paper.generator_channels) == [768] * 4


def test_doubling_is_bilinear_interpolation() -> None:
    x = torch.randn(2, 3, 5, 4)

    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    assert torch.allclose(doubled(x), expected, atol=1e-6)


# --- augmentation -------------------------------------------------------------------------------


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_colors_change_by_at_most_their_strength() -> None:
    images = torch.rand(50, 3, 8, 8)

    changed = change_colors(images, generator())

    # saturation and contrast keep the mean of an image
    shift = (changed - images).mean((1, 2, 3))
    assert shift.abs().max() <= 0.5 and shift.std() > 0.1
    grey = images.mean(1, keepdim=True)
    contrast = change_colors(grey, generator(1)).std((1, 2, 3)) / grey.std((1, 2, 3))
    assert contrast.min() >= 0.499 and contrast.max() <= 1.501 and contrast.std() > 0.1


def test_translation_moves_whole_images_by_at_most_an_eighth() -> None:
    images = torch.zeros(200, 1, 16, 24)
    images[:, :, 8, 12] = 1.0

    places = translate(images, generator()).nonzero()

    assert len(places) == 200
    assert set((places[:, 2] - 8).tolist()) == {-2, -1, 0, 1, 2}
    assert set((places[:, 3] - 12).tolist()) == {-3, -2, -1, 0, 1, 2, 3}


def test_what_comes_from_outside_is_grey() -> None:
    changed = translate(torch.ones(20, 3, 8, 8), generator())

    assert set(changed.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("side", [8, 9])
def test_a_cut_is_half_as_wide_and_high_as_the_image_or_reaches_beyond_it(side: int) -> None:
    cut = (cut_out(torch.ones(300, 3, side, side), generator()) == 0).float()

    half = int(side / 2 + 0.5)
    counts = cut[:, 0].sum((1, 2))
    assert torch.equal(cut[:, 0], cut[:, 2])
    assert counts.max() == half**2
    assert counts.min() >= (half // 2) ** 2
    assert (cut.mean((0, 1)) > 0).all()  # any pixel may be cut


def test_each_image_is_changed_on_its_own_and_by_the_generator_alone() -> None:
    images = torch.rand(1, 3, 12, 12).repeat(4, 1, 1, 1)
    names = "color,translation,cutout"

    changed = augment(images, names, generator(1))

    assert torch.equal(changed, augment(images, names, generator(1)))
    assert not torch.equal(changed, augment(images, names, generator(2)))
    assert not torch.equal(changed[0], changed[1])
    assert augment(images, "none", generator()) is images


def test_gradients_pass_through_twice() -> None:
    images = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)

    def changed(x: Tensor) -> Tensor:
        return augment(x, "color,translation,cutout", generator(3))

    assert torch.autograd.gradcheck(changed, images)
    assert torch.autograd.gradgradcheck(lambda x: changed(x).square(), images)


@every_gan
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_all_that_the_discriminator_sees_is_augmented(name: str, phase: str) -> None:
    discriminator = Brightness(0.01)
    model = gan_with(name, discriminator, diff_augment="cutout")

    model.loss(phase, Batch(torch.ones(2, *SHAPE), LABELS), context())

    seen = [images for images in discriminator.seen if len(images) != 2 or name != "gan.wgan_gp"]
    for images in seen:  # those between two images with other cuts excepted
        assert (images == 0).flatten(1).any(1).all()


# --- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        (
            {"most_channels": 32, "generator_channels": 64},
            "most_channels",
            "expected 0 or at least 64, the channels asked for",
        ),
        ({"gamma": 0.1, "final_gamma": 0.2}, "final_gamma", "expected at most gamma, 0.1"),
    ],
)
def test_values_that_make_no_sense_together_are_refused(
    values: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=exactly(f"{field}: {message}")):
        parse_config("gan.r3gan", values)


@every_gan
def test_an_unknown_augmentation_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="diff_augment: expected one of none, color, "):
        parse_config(name, {"diff_augment": "rotation"})

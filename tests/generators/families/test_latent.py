"""Latent diffusion: the autoencoder, the latents' scale, and the turn from one to the other."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.contract import (
    Algorithm,
    Batch,
    Context,
    NotFinite,
    Step,
    build_algorithm,
)
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.latent.autoencoder import (
    Scale,
    discriminator_loss,
    kl_to_standard_normal,
)
from generators.latent.models import Latent
from generators.specs.conditions import Conditions
from generators.specs.latent import LatentFlowConfig
from generators.specs.options import ConfigError, TrainingConfig, parse
from generators.specs.registry import parse_sampler
from generators.trained.inspection import encode, reconstruct
from generators.trained.measure import reconstruction_errors
from generators.trained.sampling import load_generator
from generators.training import loop as training
from generators.training.checkpoints import load_checkpoint
from generators.training.loop import Diverged, TrainingResult
from tests.generators.conftest import TINY, exactly, make_data, train_tiny

LATENT = [name for name in TINY if name.startswith("latent.")]


def build(algorithm: str = "latent.flow", **changes: Any) -> Latent:
    config = dataclasses.replace(TINY[algorithm], **changes)
    model = build_algorithm(algorithm, config, shape=(1, 8, 8), conditions=Conditions(), seed=0)
    assert isinstance(model, Latent)
    return model


# --- closed forms -------------------------------------------------------------------------------


def test_the_divergence_from_standard_normal_is_the_closed_form() -> None:
    mean, deviation = torch.full((3, 2, 4, 4), 1.5), torch.full((3, 2, 4, 4), 0.5)

    none = kl_to_standard_normal(torch.zeros(3, 2, 4, 4), torch.zeros(3, 2, 4, 4))
    found = kl_to_standard_normal(mean, 2 * deviation.log())

    each = 0.5 * (1.5**2 + 0.5**2 - 1 - math.log(0.5**2))
    assert torch.equal(none, torch.zeros(3))
    assert found.tolist() == pytest.approx([32 * each] * 3)


def test_a_known_gaussian_is_standardised_to_mean_0_and_deviation_1() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, deviation = torch.tensor([300.0, -2.0]), torch.tensor([0.01, 5.0])
    drawn = torch.randn(5000, 2, 2, 2, generator=generator)
    latents = drawn * deviation[:, None, None] + mean[:, None, None]
    scale = Scale(2)

    scale.fit(torch.split(latents, 700))  # the last is smaller

    found = scale.standardise(latents).double()
    assert found.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=2e-3)
    assert found.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], rel=2e-3)
    assert scale.mean.tolist() == pytest.approx(mean.tolist(), abs=0.15)
    assert scale.deviation.tolist() == pytest.approx(deviation.tolist(), rel=0.02)
    assert torch.allclose(scale.restore(found.float()), latents, atol=1e-3)


def test_a_channel_that_says_nothing_is_no_division_by_zero() -> None:
    scale = Scale(1)

    scale.fit([torch.full((4, 1, 2, 2), 3.0)])

    assert scale.standardise(torch.full((4, 1, 2, 2), 3.0)).abs().max() == 0


# --- two parts of one budget --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "changes", "expected"),
    [
        (
            "latent.ddpm",
            {"autoencoder_share": 0.4},
            {"autoencoder": (0, 0.4), "denoising": (0.4, 1)},
        ),
        (
            "latent.flow",
            {"autoencoder_share": 0.4, "adversarial_weight": 0.5},
            {"autoencoder": (0, 0.4), "discriminator": (0.2, 0.4), "denoising": (0.4, 1)},
        ),
        (
            "latent.ect",
            {"autoencoder_share": 0.5, "tuning_share": 0.2},
            {"autoencoder": (0, 0.5), "denoising": (0.5, 0.9), "tuning": (0.9, 1)},
        ),
        ("latent.edm", {"autoencoder_share": 1.0}, {"autoencoder": (0, 1)}),
        ("latent.edm", {"autoencoder": "somewhere"}, {"denoising": (0, 1)}),
    ],
)
def test_the_budget_is_shared_out(
    algorithm: str, changes: dict[str, Any], expected: dict[str, tuple[float, float]]
) -> None:
    phases = build(algorithm, **changes).phases()

    assert [phase.name for phase in phases] == list(expected)
    for phase, (begin, end) in zip(phases, expected.values(), strict=True):
        assert (phase.begin, phase.end) == pytest.approx((begin, end))
    assert phases[-1].end == 1  # exactly, or the last step would have no phase


@pytest.mark.parametrize("algorithm", LATENT)
def test_the_diffusion_model_learns_latents_of_mean_0_and_deviation_1(
    algorithm: str, tmp_path: Path
) -> None:
    data, config = make_data(), TINY[algorithm]
    config = dataclasses.replace(config, autoencoder_share=0.5)  # type: ignore[call-arg]  # a latent model's
    result = train_tiny(algorithm, tmp_path, data=data, config=config, checkpoints_at=[32, 48])

    _, before = load_checkpoint(tmp_path / "ckpt-32")  # where the autoencoder's part ends
    _, between = load_checkpoint(tmp_path / "ckpt-48")
    _, after = load_checkpoint(result.checkpoint.path)
    generator = load_generator(result.checkpoint.path)
    latents = encode(generator, data.images, data.labels).reshape(-1, 4, 16)

    assert np.abs(latents.mean((0, 2))).max() < 1e-4
    assert np.abs(latents.std((0, 2)) - 1).max() < 1e-3
    for name in (n.removeprefix("ema/") for n in before if n.startswith("ema/")):
        averaged, last = before[f"ema/{name}"], after[f"ema/{name}"]
        if name.startswith(("encoder", "decoder")):
            assert torch.equal(between[f"network/{name}"], averaged)
            assert torch.equal(after[f"network/{name}"], averaged)
            assert torch.equal(last, averaged)
        elif name.startswith("scale"):
            assert torch.equal(between[f"ema/{name}"], last)
            assert not torch.equal(averaged, last)


def test_the_walk_is_in_latents_and_has_no_limits() -> None:
    model = build("latent.ddpm")

    assert model.prior.shape == (4, 4, 4)
    assert model.prior.value_range is None
    assert model.value_range == (-1, 1)


def test_steps_are_shown_as_images() -> None:
    model, steps = build("latent.edm"), list[Step]()
    sampler = parse_sampler("latent.edm", {"steps": 3})

    with torch.inference_mode():
        images = model.sample(model.networks, None, NoiseSource([1, 2]), sampler, steps.append)

    assert [step.index for step in steps] == [0, 1, 2]
    assert all(step.x.shape == step.x_0.shape == (2, 1, 8, 8) for step in steps)
    assert torch.allclose(steps[-1].x_0, images, atol=1e-5)


def test_an_image_is_what_is_left_of_its_latents(trained: dict[str, TrainingResult]) -> None:
    generator, data = load_generator(trained["latent.flow"].checkpoint.path), make_data(8)
    networks: Any = generator.averages

    codes = encode(generator, data.images, data.labels)
    found = reconstruct(generator, data.images, data.labels)

    assert codes.shape == (8, 4 * 4 * 4)
    latents = networks["scale"].restore(torch.from_numpy(codes).view(8, 4, 4, 4))
    with torch.inference_mode():
        decoded = networks["decoder"](latents).clamp(-1, 1)
    assert np.abs(found - decoded.numpy()).max() < 1e-5
    psnr, ssim = reconstruction_errors(generator, data.images, data.labels)
    assert psnr.value is not None and psnr.value > 3
    assert ssim.value is not None


def test_noise_is_added_to_latents() -> None:
    model = build()
    images = to_float(torch.from_numpy(make_data(2).images))

    clean, noisy = (model.add_noise(images, time, NoiseSource([1, 2])) for time in (0.0, 1.0))

    assert torch.equal(clean, images)
    assert noisy.shape == images.shape and not torch.allclose(noisy, clean)


def test_the_discriminator_joins_in_the_middle() -> None:
    model = build(adversarial_weight=0.5)
    batch = Batch(to_float(torch.from_numpy(make_data(8).images)), None)

    def loss(fraction: float) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return model.loss("autoencoder", batch, Context(generator, fraction))[0]

    early, late = loss(0.49), loss(0.5)
    with torch.no_grad():
        for parameter in model.networks["discriminator"].parameters():
            parameter.zero_()

    assert early.item() != late.item()
    assert loss(0.5).item() == early.item()  # a judge of nothing but zeros
    assert discriminator_loss(torch.full((2, 1), 1.0), torch.full((2, 1), -3.0)) == 0
    assert discriminator_loss(torch.zeros(2, 1), torch.zeros(2, 1)) == 2


# --- an autoencoder of another training ---------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """Return a training of nothing but an autoencoder."""
    config: Any = TINY["latent.flow"]
    config = dataclasses.replace(config, autoencoder_share=1.0)
    return train_tiny("latent.flow", tmp_path_factory.mktemp("shared"), config=config)


def borrowing(shared: TrainingResult, algorithm: str = "latent.edm", **changes: Any) -> Any:
    return dataclasses.replace(
        TINY[algorithm], **{"autoencoder": str(shared.checkpoint.path), **changes}
    )


def test_a_shared_autoencoder_is_taken_as_it_is_and_named(
    shared: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    config = borrowing(shared)
    stops = iter([False, True])

    part = train_tiny(
        "latent.edm", tmp_path / "a", config=config, should_stop=lambda: next(stops, True)
    )
    whole = train_tiny("latent.edm", tmp_path / "a", config=config)
    at_once = train_tiny("latent.edm", tmp_path / "b", config=config)

    _, theirs = load_checkpoint(shared.checkpoint.path)
    manifest, ours = load_checkpoint(whole.checkpoint.path)
    assert part.stopped and whole.resume == "exact"
    assert manifest["autoencoder"] == {
        "sha256": shared.checkpoint.sha256,
        "device_seconds": shared.checkpoint.device_seconds,
    }
    assert manifest["begun"] == ["denoising"]
    for name in (n for n in theirs if n.startswith(("ema/encoder", "ema/decoder"))):
        assert torch.equal(ours[name], theirs[name])
    _, again = load_checkpoint(at_once.checkpoint.path)
    assert all(torch.equal(ours[name], again[name]) for name in again)
    assert load_generator(whole.checkpoint.path).shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({}, {"seed": 1}, "expected one of these images and labels, it is of others"),
        ({"latent_channels": 2}, {}, "expected the latent_channels 2, it has 4"),
        ({"autoencoder_channels": 16}, {}, "expected the autoencoder_channels 16, it has 8"),
        ({"downsampling": 4}, {}, "expected the downsampling 4, it has 2"),
        (
            {"autoencoder_norm_channels": 4},
            {},
            "expected the autoencoder_norm_channels 4, it has 1",
        ),
    ],
)
def test_an_autoencoder_that_does_not_fit_is_refused(
    changes: dict[str, Any],
    data: dict[str, int],
    message: str,
    shared: TrainingResult,
    tmp_path: Path,
) -> None:
    path = shared.checkpoint.path
    with pytest.raises(ValueError, match=exactly(f"autoencoder: {path}: {message}")):
        train_tiny(
            "latent.edm",
            tmp_path / "out",
            config=borrowing(shared, **changes),
            data=make_data(**data),
        )

    assert not (tmp_path / "out").exists()


def test_what_is_no_autoencoder_of_such_images_is_refused(
    shared: TrainingResult, trained: dict[str, TrainingResult]
) -> None:
    manifest, tensors = load_checkpoint(shared.checkpoint.path)
    other, _ = load_checkpoint(trained["vae.conv"].checkpoint.path)

    with pytest.raises(ValueError, match="expected images of 1x8x8, it is for 3x8x8"):
        build().borrow("autoencoder", {**manifest, "shape": [3, 8, 8]}, tensors)
    with pytest.raises(ValueError, match=r"expected a latent model's, it is of vae\.conv"):
        build().borrow("autoencoder", other, tensors)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "options", "message"),
    [
        (30, {"downsampling": 4}, "expected images with sides that 4 divides, got 30x30"),
        (9, {}, "expected images with sides that 2 divides, got 9x9"),
    ],
)
def test_sides_must_be_whole_numbers_of_places(
    side: int, options: dict[str, Any], message: str
) -> None:
    config = LatentFlowConfig(**options)
    with pytest.raises(ConfigError, match=exactly(f"downsampling: {message}")):
        build_algorithm(
            "latent.flow", config, shape=(1, side, side), conditions=Conditions(), seed=0
        )


def test_three_pixels_are_no_place() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(LatentFlowConfig, {"downsampling": 3, "autoencoder_patch": 3})

    assert caught.value.errors == {
        "downsampling": "expected 2, 4 or 8, or 0, got 3",
        "autoencoder_patch": "expected 1, 2 or 4, got 3",
    }
    assert LatentFlowConfig(autoencoder_patch=4).shape_problems((1, 8, 8)) == {
        "autoencoder_patch": "expected at most the downsampling, 2"
    }


@pytest.mark.parametrize(("downsampling", "patch"), [(2, 1), (2, 2), (4, 2), (8, 1), (8, 4)])
def test_an_autoencoder_may_begin_with_patches(downsampling: int, patch: int) -> None:
    config = LatentFlowConfig(
        downsampling=downsampling, autoencoder_patch=patch, autoencoder_channels=8, base_channels=8
    )
    model = build_algorithm(
        "latent.flow", config, shape=(3, 16, 24), conditions=Conditions(), seed=0
    )
    images = torch.rand(2, 3, 16, 24)

    codes = model.encode(model.networks, images, None)
    left = model.reconstruct(model.networks, images, None)

    assert codes.shape == (2, 4 * (16 // downsampling) * (24 // downsampling))
    assert left.shape == images.shape


@pytest.mark.parametrize(
    ("side", "latents"),
    [(8, (4, 4)), (16, (8, 8)), (28, (7, 7)), (30, (15, 15)), (32, (8, 8)), (64, (8, 8))],
)
def test_latents_have_about_eight_places_a_side(side: int, latents: tuple[int, int]) -> None:
    assert LatentFlowConfig().latent_shape((3, side, side)) == (4, *latents)


class Broken(nn.Module):
    """A network of no numbers."""

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        return x * math.nan


def test_latents_that_are_not_finite_end_a_training_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Scale.fit
    monkeypatch.setattr(Scale, "fit", lambda self, zs: original(self, (z * math.nan for z in zs)))

    message = "the autoencoder's latents are not finite after 32 images"
    with pytest.raises(Diverged, match=exactly(message)):
        train_tiny("latent.flow", tmp_path)


def test_latents_that_are_not_finite_are_no_image() -> None:
    model: Algorithm = build()
    networks = {**model.networks, "denoiser": Broken()}

    with pytest.raises(NotFinite, match="the latents at the end of the walk are not finite"):
        model.sample(networks, None, NoiseSource([1]), parse_sampler("latent.flow", {"steps": 2}))


def test_every_configuration_is_one_of_its_diffusion_model() -> None:
    for name in LATENT:
        config: TrainingConfig = TINY[name]
        model = build_algorithm(
            name, config, shape=(3, 16, 16), conditions=Conditions.of_classes(3), seed=0
        )
        assert isinstance(model, Latent) and isinstance(model.config, type(config))

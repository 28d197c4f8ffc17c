"""Likelihoods, bounds and mixtures of VAEs against closed forms."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from generators.algorithm.contract import build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError
from generators.specs.registry import parse_sampler
from generators.specs.vae import ConvVAEConfig, GMMSampler
from generators.trained.labels import balanced_labels
from generators.trained.sampling import draw_all, load_generator
from generators.training import loop as training
from generators.training.loop import TrainingResult
from generators.vae.conv import ConvVAE
from generators.vae.grids import cropped, depth_for, grid_of, padded
from generators.vae.likelihoods import (
    RunningError,
    bits_per_value,
    log_discretised_gaussian,
    log_normal,
)
from generators.vae.mixture import LatentMixture
from tests.generators.conftest import TINY, make_data, train_tiny

LEVELS = to_float(torch.arange(256)).view(256, 1, 1, 1)
ODD_SHAPES = [(1, 9, 15), (3, 63, 17), (1, 13, 64)]


def make_images(count: int = 6, shape: tuple[int, int, int] = (1, 8, 8)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return to_float(torch.randint(256, (count, *shape), generator=generator))


# --- grids --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    [(8, 8, 1), (16, 16, 2), (28, 28, 2), (32, 32, 3), (64, 64, 4), (63, 63, 3), (12, 20, 1)],
)
def test_sides_are_halved_while_the_shorter_one_keeps_four(
    height: int, width: int, depth: int
) -> None:
    assert depth_for(height, width) == depth


def test_padding_makes_whole_grids_and_cropping_undoes_it() -> None:
    images = make_images(2, (3, 9, 14))

    large = padded(images, 2)

    assert large.shape == (2, 3, 12, 16)
    assert grid_of(9, 14, 2) == (3, 4)
    assert torch.equal(cropped(large, 9, 14), images)
    assert torch.equal(large[:, :, 11, :14], images[:, :, 8])
    assert padded(large, 2) is large


@pytest.mark.parametrize("algorithm", ["vae.conv", "vae.vq"])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_any_sides_are_encoded_and_decoded(algorithm: str, shape: tuple[int, int, int]) -> None:
    model = build_algorithm(
        algorithm, TINY[algorithm], shape=shape, conditions=Conditions.of_classes(3), seed=0
    )
    images, labels = make_images(2, shape), torch.tensor([[0], [2]])

    with torch.inference_mode():
        reconstructed = model.reconstruct(model.networks, images, labels)
        codes = model.encode(model.networks, images, labels)

    assert reconstructed.shape == images.shape
    assert reconstructed.abs().max() <= 1
    assert codes.ndim == 2 and len(codes) == 2


# --- likelihoods --------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [-1.0, -0.3, 0.999, 1.7])
@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 5.0])
def test_the_probabilities_of_all_levels_sum_to_one(mean: float, sigma: float) -> None:
    log_p = log_discretised_gaussian(LEVELS, torch.full((256, 1, 1, 1), mean), sigma**2)

    assert log_p.isfinite().all()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_level_has_the_density_times_its_width_where_the_gaussian_is_smooth() -> None:
    inner, means = LEVELS[1:-1], torch.full((254, 1, 1, 1), 0.2)

    log_p = log_discretised_gaussian(inner, means, 0.25)

    z = (inner.flatten().double() - 0.2) / 0.5
    density = -0.5 * z.square() - math.log(0.5 * math.sqrt(2 * math.pi))
    assert torch.allclose(log_p, density + math.log(2 / 255), atol=1e-4)


def test_far_from_its_mean_a_level_keeps_a_finite_probability() -> None:
    log_p = log_discretised_gaussian(torch.full((1, 1, 1, 1), 0.9), torch.zeros(1, 1, 1, 1), 1e-4)

    assert log_p.item() == pytest.approx(-0.5 * ((0.9 - 1 / 255) / 0.01) ** 2, rel=0.01)


def test_the_log_density_of_a_code_is_the_normals() -> None:
    z, mu, log_variance = torch.randn(3, 4, 5).unbind(0)

    found = log_normal(z, mu, log_variance)

    covariance = torch.diag_embed(log_variance.double().exp()).numpy()
    expected = [
        multivariate_normal(m, c).logpdf(x)
        for x, m, c in zip(z.double().numpy(), mu.double().numpy(), covariance, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected)


def test_one_bit_per_value_is_a_probability_of_one_half_each() -> None:
    bits = bits_per_value(torch.tensor([-64 * math.log(2)]), make_images(1))

    assert bits.tolist() == [pytest.approx(1)]


def test_the_running_error_is_the_mean_of_recent_batches_from_the_first_on() -> None:
    error = RunningError()
    before = error.variance().item()

    error.update(torch.tensor(0.3))
    first = error.variance().item()
    error.update(torch.tensor(math.nan))
    still = error.variance().item()
    for _ in range(1000):
        error.update(torch.tensor(0.1))

    assert before == 1
    assert first == still == pytest.approx(0.3)
    assert error.variance().item() == pytest.approx(0.1, rel=1e-3)


def test_the_variance_is_never_finer_than_a_grey_level() -> None:
    error = RunningError()

    error.update(torch.tensor(0.0))

    assert error.variance().item() == pytest.approx(1e-4)


# --- bounds and codes ---------------------------------------------------------------------------


def make_vae(variant: str = "sigma") -> ConvVAE:
    torch.manual_seed(0)
    config = ConvVAEConfig(variant=variant, latent_dim=4, base_channels=8)
    return ConvVAE(config, shape=(1, 8, 8), conditions=Conditions.of_classes(3))


def silence(network: nn.Module) -> None:
    """Let a network return zeros."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()


def bounds(model: ConvVAE, samples: int, seed: int = 0) -> dict[str, Tensor]:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])[:, None]
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        return model.bits_per_dimension(
            model.networks, make_images(), labels, generator, samples=samples
        )


@pytest.mark.parametrize("variant", ["beta", "sigma"])
def test_bounds_are_exact_where_the_code_says_nothing(variant: str) -> None:
    model = make_vae(variant)
    silence(model.networks["encoder"])
    silence(model.networks["decoder"])

    found = bounds(model, 3)

    images = make_images()
    exact = bits_per_value(log_discretised_gaussian(images, torch.zeros_like(images), 1.0), images)
    assert list(found) == ["elbo", "iwae"]
    assert torch.allclose(found["elbo"], exact) and torch.allclose(found["iwae"], exact)


def test_more_draws_make_the_iwae_bound_tighter() -> None:
    model = make_vae()
    with torch.no_grad():  # a posterior that is far from the true one
        model.networks["encoder"].state_dict()["posterior.bias"][:4] += 1.0

    few = torch.stack([bounds(model, 1, seed)["iwae"] for seed in range(20)]).mean()
    many = bounds(model, 200)

    assert many["iwae"].mean() < few
    assert (many["iwae"] < many["elbo"]).all()


def test_the_loss_keeps_the_error_that_the_likelihood_needs(
    trained: dict[str, TrainingResult],
) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)
    data = make_data()
    images, labels = to_float(torch.from_numpy(data.images)), torch.from_numpy(data.labels)[:, None]

    reconstructed = generator.model.reconstruct(generator.averages, images, labels)

    error = (reconstructed - images).square().mean().item()
    decoder = generator.averages["decoder"].state_dict()
    variance = (decoder["error.total"] / decoder["error.weight"]).item()
    assert variance == pytest.approx(error, rel=0.5)


def test_units_are_active_where_their_means_follow_the_image() -> None:
    model, images = make_vae(), make_images(20)
    labels = torch.zeros(20, 1, dtype=torch.int64)
    posterior = model.networks["encoder"].state_dict()["posterior.weight"]
    posterior[0] *= 100
    posterior[1:4] = 0

    facts = model.diagnose(model.networks, images, labels)

    assert facts == {
        "active_units": 1.0,
        "codebook_usage": "codes are continuous: there is no codebook",
    }


def test_a_reconstruction_is_the_decoded_mean_of_the_posterior() -> None:
    model, labels = make_vae(), torch.tensor([0, 1, 2, 0, 1, 2])[:, None]

    codes = model.encode(model.networks, make_images(), labels)

    assert codes.shape == (6, 4)
    assert torch.equal(
        model.networks["decoder"](codes, labels),
        model.reconstruct(model.networks, make_images(), labels),
    )


# --- mixtures -----------------------------------------------------------------------------------


def two_clusters(count: int = 4000) -> Tensor:
    """Return codes about (5, 0), three in four and wide in the second direction, and (-5, 0)."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(count, 2, generator=generator)
    right = torch.arange(count) % 4 != 0
    codes[right, 1] *= 3
    codes[:, 0] += torch.where(right, 5.0, -5.0)
    return codes


def test_a_mixture_draws_what_it_was_fitted_to() -> None:
    mixture = LatentMixture(2, 2, 1)
    mixture.fit([(two_clusters(), None)], seed=0)

    drawn = mixture.draw(torch.zeros(4000, dtype=torch.int64), NoiseSource(range(4000)))

    right = drawn[:, 0] > 0
    assert right.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert drawn[right].mean(0).tolist() == pytest.approx([5, 0], abs=0.2)
    assert drawn[right].std(0).tolist() == pytest.approx([1, 3], rel=0.08)
    assert drawn[~right].std(0).tolist() == pytest.approx([1, 1], rel=0.08)


def test_at_no_temperature_only_the_means_are_left() -> None:
    mixture = LatentMixture(2, 2, 1)
    mixture.fit([(two_clusters(), None)], seed=0)

    drawn = mixture.draw(torch.zeros(50, dtype=torch.int64), NoiseSource(range(50)), 0.0)

    assert len({tuple(code) for code in drawn.tolist()}) == 2


def test_each_class_has_its_mixture_and_one_without_codes_the_prior() -> None:
    mixture, codes = LatentMixture(2, 3, 3), two_clusters()
    labels = (codes[:, 0] > 0).long()

    mixture.fit([(codes[:2000], labels[:2000]), (codes[2000:], labels[2000:])], seed=0)

    seeds = NoiseSource(range(900))
    drawn = mixture.draw(torch.arange(900) % 3, seeds)
    assert (drawn[0::3, 0] < 0).all() and (drawn[1::3, 0] > 0).all()
    assert drawn[2::3].mean(0).tolist() == pytest.approx([0, 0], abs=0.2)
    assert drawn[2::3].std(0).tolist() == pytest.approx([1, 1], abs=0.15)


def test_a_mixture_is_fitted_to_the_same_bits_every_time() -> None:
    fitted = []
    for _ in range(2):
        mixture = LatentMixture(2, 5, 1)
        mixture.fit([(two_clusters(), None)], seed=3)
        fitted.append(mixture.state_dict())

    assert all(torch.equal(tensor, fitted[1][name]) for name, tensor in fitted[0].items())


def test_many_classes_have_fewer_gaussians_each() -> None:
    assert LatentMixture(128, 10, 1000).weights.shape == (1000, 1)


def test_few_codes_have_fewer_gaussians() -> None:
    mixture = LatentMixture(2, 10, 1)

    mixture.fit([(two_clusters(9), None)], seed=0)

    assert (mixture.weights > 0).sum() == 2


def test_a_mixture_is_refused_before_the_training_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    polls = iter([False, True])
    stopped = train_tiny("vae.conv", tmp_path, should_stop=lambda: next(polls))
    generator = load_generator(stopped.checkpoint.path)

    with pytest.raises(ConfigError) as caught:
        draw_all(generator, GMMSampler(), seeds=[0], labels=balanced_labels(1, 3))

    message = "expected another sampler: the mixture is fitted when the training is finished"
    assert caught.value.errors == {"name": message}


def test_a_training_that_begins_with_anothers_weights_forgets_its_mixture(
    trained: dict[str, TrainingResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    initial = trained["vae.conv"].checkpoint.path
    assert load_generator(initial).averages["mixture"].state_dict()["weights"].any()
    polls = iter([False, True])

    stopped = train_tiny("vae.conv", tmp_path, initial=initial, should_stop=lambda: next(polls))

    mixture = load_generator(stopped.checkpoint.path).averages["mixture"]
    assert not mixture.state_dict()["weights"].any()


def test_a_model_without_a_mixture_is_not_drawn_from_one() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sampler("vae.conv", {"name": "gmm"}, ConvVAEConfig(mixture_components=0))

    message = "expected another sampler: the model was trained with no mixture_components"
    assert caught.value.errors == {"name": message}


def test_a_model_without_a_mixture_trains_and_draws(tmp_path: Path) -> None:
    config = ConvVAEConfig(batch_size=16, latent_dim=4, base_channels=8, mixture_components=0)

    result = train_tiny("vae.conv", tmp_path, config=config, images=16)

    generator = load_generator(result.checkpoint.path)
    sampler = parse_sampler("vae.conv", {}, config)
    samples = draw_all(generator, sampler, seeds=[0], labels=balanced_labels(1, 3))
    assert samples.pixels.shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("sampler", "label"), [(GMMSampler(), "GMM"), (GMMSampler(temperature=0.8), "GMM T=0.8")]
)
def test_the_sampler_gmm_has_a_label(sampler: GMMSampler, label: str) -> None:
    assert sampler.label() == label

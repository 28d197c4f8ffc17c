"""The codebook, the prior and the two parts of a VQ-VAE's training."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from generators.algorithm.contract import Batch, Context, Step
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError, parse
from generators.specs.registry import parse_sampler
from generators.specs.vae import AutoregressiveSampler, VQVAEConfig
from generators.trained.sampling import load_generator
from generators.training.checkpoints import load_checkpoint
from generators.training.loop import TrainingResult
from generators.vae.codebook import Codebook, perplexity
from generators.vae.likelihoods import bits_per_value, log_discretised_gaussian
from generators.vae.transformer import CausalTransformer, choose
from generators.vae.vq import VQVAE
from generators.vae.vq_networks import Standardise
from tests.generators.conftest import TINY, make_data, train_tiny

FROZEN = ("encoder", "codebook", "decoder")


def make_codebook(size: int = 5, dim: int = 3) -> Codebook:
    torch.manual_seed(0)
    return Codebook(size, dim)


def as_grid(rows: Tensor) -> Tensor:
    """Return vectors (M, D) as one row of a grid, (1, D, 1, M)."""
    return rows.T[None, :, None, :]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- codebook -----------------------------------------------------------------------------------


def test_a_vector_is_mapped_to_the_nearest_code() -> None:
    codebook, z = make_codebook(), torch.randn(2, 3, 4, 6)

    codes = codebook.nearest(z)

    rows = z.permute(0, 2, 3, 1).reshape(-1, 3)
    assert codes.shape == (2, 4, 6)
    assert torch.equal(codes.flatten(), torch.cdist(rows, codebook.codes).argmin(1))


def test_a_code_is_mapped_to_itself() -> None:
    codebook, codes = make_codebook(), torch.tensor([[[4, 0], [2, 1]]])

    assert torch.equal(codebook.nearest(codebook.look_up(codes)), codes)


def test_without_memory_a_code_becomes_the_mean_of_its_vectors() -> None:
    codebook = make_codebook(2, 1)
    codebook.codes.copy_(torch.tensor([[-1.0], [1.0]]))
    z = as_grid(torch.tensor([[-3.0], [-1.0], [5.0]]))

    counts = codebook.follow(z, codebook.nearest(z), decay=0.0)

    assert codebook.codes.tolist() == [[-2], [5]]
    assert counts.tolist() == codebook.counts.tolist() == [2, 1]


def test_running_means_follow_their_formula() -> None:
    codebook = make_codebook(1, 1)
    codebook.counts.fill_(4.0)
    codebook.sums.fill_(8.0)
    z = as_grid(torch.tensor([[3.0], [5.0]]))

    codebook.follow(z, torch.zeros(1, 1, 2, dtype=torch.int64), decay=0.75)

    assert codebook.counts.item() == 0.75 * 4 + 0.25 * 2
    assert codebook.codes.item() == pytest.approx((0.75 * 8 + 0.25 * 8) / 3.5)


def test_a_batch_that_is_not_finite_leaves_the_codebook_as_it_was() -> None:
    codebook = make_codebook()
    codebook.counts.fill_(1.0)
    before = {name: tensor.clone() for name, tensor in codebook.state_dict().items()}
    z = torch.full((1, 3, 2, 2), math.nan)

    codebook.restart(z, generator(), below=1.0)
    codebook.follow(z, codebook.nearest(z), decay=0.9)

    assert all(torch.equal(tensor, before[name]) for name, tensor in codebook.state_dict().items())


def test_the_first_batch_is_the_initial_codebook() -> None:
    codebook, z = make_codebook(), torch.randn(1, 3, 4, 6)

    restarted = codebook.restart(z, generator(), below=0.0)

    rows = z.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    assert restarted == 5
    assert all(code in rows for code in codebook.codes.tolist())
    assert codebook.counts.tolist() == pytest.approx([0.1 * 24 / 5] * 5)


def test_codes_that_are_hardly_used_are_restarted_and_others_are_not() -> None:
    codebook, z = make_codebook(), torch.randn(1, 3, 1, 10)
    codebook.counts.copy_(torch.tensor([2.0, 0.19, 0.21, 3.0, 4.6]))  # an even share is 2
    before = codebook.codes.clone()

    restarted = codebook.restart(z, generator(), below=0.1)

    changed = (codebook.codes != before).any(1)
    assert restarted == 1
    assert changed.tolist() == [False, True, False, False, False]
    assert codebook.counts[1].item() == pytest.approx(0.1 * 2)


@pytest.mark.parametrize(
    ("counts", "expected"), [([3, 3, 3, 3], 4), ([7, 0, 0, 0], 1), ([1, 1, 0, 0], 2)]
)
def test_perplexity_counts_evenly_used_codes(counts: list[int], expected: float) -> None:
    assert perplexity(torch.tensor(counts)).item() == pytest.approx(expected)


def test_vectors_are_standardised_by_the_batch_in_training_and_by_running_moments_after() -> None:
    layer = Standardise(3)
    z = torch.randn(50, 3, 4, 4) * 5 + 2

    for _ in range(200):
        in_training = layer(z)
    afterwards = layer.eval()(z)

    assert in_training.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert in_training.std((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-2)
    assert torch.allclose(afterwards, in_training, atol=1e-2)
    assert torch.equal(layer.train()(z[:1, :, :1, :1]), torch.zeros(1, 3, 1, 1))


def test_running_moments_keep_out_what_is_not_finite() -> None:
    layer = Standardise(3)

    layer(torch.full((2, 3, 4, 4), math.inf))

    assert layer.mean.tolist() == [0] * 3 and layer.variance.tolist() == [1] * 3


# --- prior --------------------------------------------------------------------------------------


def make_prior(codes: int = 5, tokens: int = 6, num_classes: int = 2) -> CausalTransformer:
    torch.manual_seed(0)
    prior = CausalTransformer(
        codes=codes,
        tokens=tokens,
        conditions=Conditions.of_classes(num_classes),
        width=8,
        depth=2,
        heads=2,
        dropout=0.5,
    ).eval()
    with torch.no_grad():  # far from even, so that something can go wrong
        for parameter in prior.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.5)
    return prior


def test_a_token_depends_on_the_class_and_the_tokens_before_it_alone() -> None:
    prior, inputs = make_prior(), torch.tensor([[5, 1, 2, 3, 4, 0]])
    before = prior(prior.embed(inputs))

    for place in range(6):
        changed = inputs.clone()
        changed[0, place] = 6 if place == 0 else (inputs[0, place] + 1) % 5
        differs = (prior(prior.embed(changed)) - before).abs().amax(2)[0] > 1e-4
        assert differs.tolist() == [index >= place for index in range(6)]


def test_token_by_token_it_is_the_same_as_all_at_once() -> None:
    prior, inputs = make_prior(), torch.tensor([[5, 1, 2, 3, 4, 0], [6, 0, 0, 4, 1, 1]])
    past = prior.room(2)

    one_by_one = torch.cat(
        [prior(prior.embed(inputs[:, i : i + 1]), past) for i in range(6)], dim=1
    )

    assert torch.allclose(one_by_one, prior(prior.embed(inputs)), atol=1e-5)


def test_the_probabilities_of_all_codes_sum_to_one_for_each_class() -> None:
    prior = make_prior(codes=3, tokens=3)
    every_code = torch.tensor(list(itertools.product(range(3), repeat=3)))

    for label in (0, 1):
        labels = torch.full((27, 1), label)
        log_p = prior.log_likelihood(every_code, labels).sum(1)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"temperature": 1.0, "top_k": 0}, [0.1, 0.6, 0.3]),
        ({"temperature": 0.5, "top_k": 0}, [0.01 / 0.46, 0.36 / 0.46, 0.09 / 0.46]),
        ({"temperature": 1.0, "top_k": 2}, [0, 2 / 3, 1 / 3]),
        ({"temperature": 1.0, "top_k": 1}, [0, 1, 0]),
        ({"temperature": 1.0, "top_k": 9}, [0.1, 0.6, 0.3]),
    ],
)
def test_codes_are_chosen_as_often_as_they_are_likely(
    options: dict[str, float], shares: list[float]
) -> None:
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(10_000, 3)
    uniform = (torch.arange(10_000) + 0.5) / 10_000

    chosen = choose(logits, uniform, **options)  # type: ignore[arg-type]  # top_k is whole

    found = torch.bincount(chosen, minlength=3) / 10_000
    assert found.tolist() == pytest.approx(shares, abs=2e-4)


# --- the model ----------------------------------------------------------------------------------


def make_model() -> VQVAE:
    torch.manual_seed(0)
    config = TINY["vae.vq"]
    assert isinstance(config, VQVAEConfig)
    return VQVAE(config, shape=(1, 8, 8), conditions=Conditions.of_classes(3))


def make_batch(count: int = 20) -> Batch:
    data = make_data(count)
    return Batch(to_float(torch.from_numpy(data.images)), torch.from_numpy(data.labels)[:, None])


def test_gradients_reach_the_encoder_through_the_codes() -> None:
    model = make_model()
    model.config = VQVAEConfig(commitment=0)

    loss, values = model.loss("autoencoder", make_batch(), Context(generator()))
    loss.backward()  # type: ignore[no-untyped-call]  # torch's

    assert set(values) == {"autoencoder", "mse", "commitment", "perplexity", "restarted"}
    assert values["restarted"] == 16
    assert 1 <= values["perplexity"] <= 16
    gradients = [p.grad for p in model.networks["encoder"].parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_the_commitment_pulls_the_encoder_to_its_codes() -> None:
    distances = []
    for commitment in (0.0, 20.0):
        model = make_model()
        model.config = VQVAEConfig(commitment=commitment)
        optimiser = torch.optim.Adam(model.networks["encoder"].parameters(), 5e-3)
        for step in range(8):
            loss, values = model.loss("autoencoder", make_batch(), Context(generator(step)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            optimiser.step()
        distances.append(values["commitment"].item())

    assert distances[1] < 0.5 * distances[0]


def test_the_prior_learns_the_codes_that_it_is_sampled_with(tmp_path: Path) -> None:
    result = train_tiny("vae.vq", tmp_path, checkpoints_at=[32, 48])  # its prior begins at 32

    _, before = load_checkpoint(tmp_path / "ckpt-32")
    _, between = load_checkpoint(tmp_path / "ckpt-48")
    _, after = load_checkpoint(result.checkpoint.path)

    names = [name.removeprefix("ema/") for name in before if name.startswith("ema/")]
    autoencoder = [name for name in names if name.startswith(FROZEN)]
    prior = [name for name in names if name.startswith("prior")]
    assert len(autoencoder) > 10 and len(autoencoder) + len(prior) == len(names)
    for name in autoencoder:
        averaged = before[f"ema/{name}"]
        assert torch.equal(between[f"network/{name}"], averaged)
        assert torch.equal(after[f"network/{name}"], averaged)
        assert torch.equal(after[f"ema/{name}"], averaged)
    for name in prior:
        assert torch.equal(before[f"ema/{name}"], before[f"network/{name}"])
    assert any(not torch.equal(after[f"ema/{n}"], before[f"ema/{n}"]) for n in prior)


def test_images_are_drawn_as_often_as_the_prior_says() -> None:
    torch.manual_seed(0)
    config = VQVAEConfig(codebook_size=2, code_dim=2, base_channels=4, halvings=3, prior_width=4)
    model = VQVAE(config, shape=(1, 8, 16), conditions=Conditions())  # two tokens of two codes
    prior = make_prior(codes=2, tokens=2, num_classes=1)
    networks = {**model.networks, "prior": prior}

    with torch.inference_mode():
        images = model.sample(networks, None, NoiseSource(range(3000)), AutoregressiveSampler())
        pairs = torch.tensor(list(itertools.product(range(2), repeat=2)))
        decoded = model._decoded(networks, pairs)
        expected = prior.log_likelihood(pairs, torch.zeros(4, 1, dtype=torch.int64)).sum(1).exp()

    found = [(images - image).abs().amax((1, 2, 3)).lt(1e-5).float().mean() for image in decoded]
    assert [share.item() for share in found] == pytest.approx(expected.tolist(), abs=0.03)


def test_its_walk_shows_the_image_token_by_token() -> None:
    model, steps = make_model(), list[Step]()
    with torch.inference_mode():
        images = model.sample(
            model.networks,
            torch.tensor([[0], [2]]),
            NoiseSource([1, 2]),
            AutoregressiveSampler(),
            steps.append,
        )

    assert [step.index for step in steps] == list(range(16))
    assert [step.time for step in steps] == [float(index) for index in range(16)]
    assert all(step.count == 16 for step in steps)
    for step, following in itertools.pairwise(steps):
        assert torch.allclose(step.x_0, following.x, atol=1e-6)
    assert torch.allclose(steps[-1].x_0, images, atol=1e-6)
    assert torch.allclose(steps[0].x[0], steps[0].x[1], atol=1e-6)  # nothing is known yet


def test_the_bound_is_the_priors_and_the_decoders(trained: dict[str, TrainingResult]) -> None:
    loaded = load_generator(trained["vae.vq"].checkpoint.path)
    model, networks, batch = loaded.model, loaded.averages, make_batch()
    prior, error = networks["prior"], networks["decoder"].state_dict()
    assert isinstance(prior, CausalTransformer) and batch.labels is not None

    with torch.inference_mode():
        found = model.bits_per_dimension(networks, batch.images, batch.labels, generator())
        codes = model.encode(networks, batch.images, batch.labels)
        x_hat = model.reconstruct(networks, batch.images, batch.labels)
        log_p = prior.log_likelihood(codes, batch.labels).double().sum(1)
        variance = error["error.total"] / error["error.weight"]
        log_p += log_discretised_gaussian(batch.images, x_hat, variance)

    assert list(found) == ["elbo"]
    assert torch.allclose(found["elbo"], bits_per_value(log_p, batch.images), rtol=1e-5)


def test_codes_are_counted(trained: dict[str, TrainingResult]) -> None:
    loaded, batch = load_generator(trained["vae.vq"].checkpoint.path), make_batch()

    facts = loaded.model.diagnose(loaded.averages, batch.images, batch.labels)

    codes = loaded.model.encode(loaded.averages, batch.images, batch.labels)
    assert codes.shape == (20, 16) and codes.dtype == torch.int64
    used = len(set(codes.flatten().tolist()))
    assert facts["codebook_usage"] == pytest.approx(used / 16)
    assert 1 <= float(facts["perplexity"]) <= used
    assert facts["active_units"] == "codes are discrete: see codebook_usage"


# --- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        (
            {"prior_width": 30, "prior_heads": 4},
            {"prior_width": "expected a multiple of the 4 heads"},
        ),
        ({"codebook_size": 1}, {"codebook_size": "expected 0 or at least 2"}),
        ({"prior_share": 1}, {"prior_share": "expected a number in 0.05..0.95, got 1"}),
    ],
)
def test_wrong_values_are_refused_at_their_field(
    values: dict[str, object], errors: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(VQVAEConfig, values)

    assert caught.value.errors == errors


def test_more_codes_than_there_are_cannot_be_chosen_among() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sampler("vae.vq", {"top_k": 20}, TINY["vae.vq"])

    assert caught.value.errors == {"top_k": "expected at most the codebook's 16 codes, got 20"}


@pytest.mark.parametrize(
    ("sampler", "label"),
    [
        (AutoregressiveSampler(), "autoregressive"),
        (AutoregressiveSampler(temperature=0.9, top_k=8), "autoregressive T=0.9 k=8"),
    ],
)
def test_the_autoregressive_sampler_has_a_label(sampler: AutoregressiveSampler, label: str) -> None:
    assert sampler.label() == label

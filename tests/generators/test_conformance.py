"""What every algorithm of the registry must do, whatever its family."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.imagesets.atomic import sha256_of
from generators.algorithm.contract import Algorithm, Batch, Context, Phase, build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_float
from generators.specs.conditions import Conditions
from generators.specs.options import SamplerConfig
from generators.specs.registry import ALGORITHMS, check_sampler, get_spec, parse_sampler
from generators.trained.labels import balanced_labels
from generators.trained.sampling import draw, draw_all, load_generator
from generators.training import loop as training
from generators.training.checkpoints import WEIGHTS, list_checkpoints, load_checkpoint
from generators.training.loop import TrainingResult
from tests.generators.conftest import TINY, exactly, make_data, train_tiny

FAST: dict[str, dict[str, float]] = {
    "ddpm": {},
    "ddim": {"steps": 5, "eta": 0.5},
    "dpmsolver++": {"steps": 5},
    "heun": {"steps": 3},
    "euler": {"steps": 4},
    "consistency": {"steps": 3},
    "direct": {},
    "gmm": {},
    "autoregressive": {},
    "hierarchical": {},
}
NFE = {
    ("gan.dcgan", "direct"): 1,
    ("gan.sngan", "direct"): 1,
    ("gan.wgan_gp", "direct"): 1,
    ("gan.r3gan", "direct"): 1,
    ("vae.conv", "direct"): 1,
    ("vae.conv", "gmm"): 1,
    ("vae.vq", "autoregressive"): 4 * 4 + 1,
    ("vae.hierarchical", "hierarchical"): 1,
    ("diffusion.ddpm", "ddpm"): 40,
    ("diffusion.ddpm", "ddim"): 5,
    ("diffusion.ddpm", "dpmsolver++"): 5,
    ("diffusion.edm", "heun"): 5,
    ("diffusion.edm", "euler"): 4,
    ("diffusion.edm", "dpmsolver++"): 5,
    ("diffusion.flow", "heun"): 5,
    ("diffusion.flow", "euler"): 4,
    ("diffusion.ect", "consistency"): 3,
    ("latent.ddpm", "ddpm"): 40,
    ("latent.ddpm", "ddim"): 5,
    ("latent.ddpm", "dpmsolver++"): 5,
    ("latent.edm", "heun"): 5,
    ("latent.edm", "euler"): 4,
    ("latent.edm", "dpmsolver++"): 5,
    ("latent.flow", "heun"): 5,
    ("latent.flow", "euler"): 4,
    ("latent.ect", "consistency"): 3,
}
DRAWS = [(name, sampler) for name, spec in ALGORITHMS.items() for sampler in spec.samplers]

# One class makes latent models of all diffusion models: two of them are tried among the fast tests.
SLOW = ("latent.ddpm", "latent.edm", "latent.ect", "gan.wgan_gp")
every_algorithm = pytest.mark.parametrize(
    "algorithm",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ALGORITHMS],
)
every_sampler = pytest.mark.parametrize(
    ("algorithm", "sampler"),
    [pytest.param(*draw, marks=pytest.mark.slow if draw[0] in SLOW else ()) for draw in DRAWS],
)


def fast_sampler(algorithm: str, name: str) -> SamplerConfig:
    return parse_sampler(algorithm, {"name": name, **FAST[name]}, TINY[algorithm])


def build(algorithm: str, *, num_classes: int = 3, seed: int = 0) -> Algorithm:
    return build_algorithm(
        algorithm,
        TINY[algorithm],
        shape=(1, 8, 8),
        conditions=Conditions.of_classes(num_classes),
        seed=seed,
    )


def make_batch(count: int = 64) -> Batch:
    data = make_data(count)
    return Batch(to_float(torch.from_numpy(data.images)), torch.from_numpy(data.labels)[:, None])


def parameters_of(model: Algorithm, phase: Phase) -> list[torch.nn.Parameter]:
    return [p for name in phase.networks for p in model.networks[name].parameters()]


def loss_at(model: Algorithm, phase: Phase, batch: Batch, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return model.loss(phase.name, batch, Context(torch.Generator().manual_seed(seed)))[0]


def test_the_suite_covers_every_algorithm() -> None:
    assert list(TINY) == list(ALGORITHMS)


# --- shapes -------------------------------------------------------------------------------------


@every_algorithm
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (1, 12, 20)])
@pytest.mark.parametrize("num_classes", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_images_have_the_shape_of_the_data(
    algorithm: str, shape: tuple[int, int, int], num_classes: int
) -> None:
    model = build_algorithm(
        algorithm,
        TINY[algorithm],
        shape=shape,
        conditions=Conditions.of_classes(num_classes),
        seed=0,
    )
    labels = torch.tensor([[0], [2]]) if num_classes else None
    sampler = parse_sampler(algorithm, {})
    if hasattr(sampler, "steps"):
        sampler = dataclasses.replace(sampler, steps=2)  # type: ignore[call-arg]  # it has steps

    with torch.inference_mode():
        images = model.sample(model.networks, labels, NoiseSource([1, 2]), sampler)

    assert images.shape == (2, *shape)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1


@every_algorithm
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 8, 8), "expected 1 to 64 planes, got 0"),
        ((65, 8, 8), "expected 1 to 64 planes, got 65"),
        ((1, 0, 8), "expected sides of {} to 256 pixels, got 0x8"),
        ((1, 8, 257), "expected sides of {} to 256 pixels, got 8x257"),
    ],
)
def test_shapes_it_is_not_made_for_are_refused(
    algorithm: str, shape: tuple[int, int, int], message: str
) -> None:
    smallest = build(algorithm).smallest_side
    with pytest.raises(ValueError, match=exactly(message.format(smallest))):
        build_algorithm(algorithm, TINY[algorithm], shape=shape, conditions=Conditions(), seed=0)


@every_algorithm
@pytest.mark.parametrize("shape", [(8, 16, 16), (64, 8, 8)])
def test_images_may_have_many_planes(algorithm: str, shape: tuple[int, int, int]) -> None:
    model = build_algorithm(
        algorithm, TINY[algorithm], shape=shape, conditions=Conditions.of_classes(3), seed=0
    )
    noise = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    batch = Batch(noise * 2 - 1, torch.tensor([[0], [1], [2], [0]]))

    for phase in model.phases():
        assert loss_at(model, phase, batch).isfinite()
    with torch.inference_mode():
        sampler = fast_sampler(algorithm, get_spec(algorithm).default_sampler)
        images = model.sample(model.networks, batch.labels, NoiseSource(range(4)), sampler)

    assert images.shape == (4, *shape)


@every_algorithm
def test_networks_are_built_for_sides_of_256_pixels(algorithm: str) -> None:
    model = build_algorithm(
        algorithm, TINY[algorithm], shape=(3, 256, 256), conditions=Conditions(), seed=0
    )

    assert model.shape == (3, 256, 256)


@every_algorithm
def test_default_networks_are_sized_by_resolution(algorithm: str) -> None:
    def size(side: int) -> int:
        model = build_algorithm(
            algorithm,
            get_spec(algorithm).config(),
            shape=(3, side, side),
            conditions=Conditions.of_classes(10),
            seed=0,
        )
        return sum(p.numel() for net in model.networks.values() for p in net.parameters())

    sizes = [size(8), size(16), size(64)]

    assert sizes == sorted(sizes)
    assert sizes[0] < 1_000_000


# --- losses -------------------------------------------------------------------------------------


@every_algorithm
def test_a_phase_gives_gradients_to_its_own_parameters_only(algorithm: str) -> None:
    model = build(algorithm)
    batch = make_batch(16)

    for phase in model.phases():
        everything = [p for net in model.networks.values() for p in net.parameters()]
        own = parameters_of(model, phase)
        loss_at(model, phase, batch).backward(inputs=own)  # type: ignore[no-untyped-call]  # torch's

        touched = {id(p) for p in everything if p.grad is not None}
        assert touched <= {id(p) for p in own}
        assert touched
        for parameter in everything:
            parameter.grad = None


@every_algorithm
def test_a_loss_depends_on_its_generator_alone(algorithm: str) -> None:
    model = build(algorithm)
    batch = make_batch(16)

    for phase in model.phases():
        first, again = loss_at(model, phase, batch, seed=1), None
        with torch.random.fork_rng():
            again = loss_at(model, phase, batch, seed=1)

        # spectral normalisation refines its estimate at each call
        assert torch.allclose(first, again, rtol=0.05)
        assert first.shape == ()
        assert not torch.equal(first, loss_at(model, phase, batch, seed=2))


@every_algorithm
def test_each_loss_falls_on_64_images(algorithm: str) -> None:
    batch = make_batch(64)

    for index in range(len(build(algorithm).phases())):
        model = build(algorithm)
        phase = model.phases()[index]
        before = sum(loss_at(model, phase, batch, seed).item() for seed in range(4))
        optimiser = torch.optim.Adam(parameters_of(model, phase), lr=5e-3)
        for step in range(30):
            optimiser.zero_grad()
            loss_at(model, phase, batch, seed=100 + step).backward()  # type: ignore[no-untyped-call]  # torch's
            optimiser.step()

        after = sum(loss_at(model, phase, batch, seed).item() for seed in range(4))
        assert after < before - 0.1 * abs(before), phase.name


# --- training and resuming ----------------------------------------------------------------------


def weights_of(result: TrainingResult) -> str:
    return sha256_of(result.checkpoint.path / WEIGHTS)


@every_algorithm
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    algorithm: str, trained: dict[str, TrainingResult], tmp_path: Path
) -> None:
    torch.manual_seed(12345)  # the global state plays no part
    again = train_tiny(algorithm, tmp_path / "again")
    other = train_tiny(algorithm, tmp_path / "other", seed=1)

    assert weights_of(again) == weights_of(trained[algorithm])
    assert weights_of(other) != weights_of(again)


@every_algorithm
def test_training_leaves_the_global_random_state_alone(algorithm: str, tmp_path: Path) -> None:
    before = torch.get_rng_state()

    train_tiny(algorithm, tmp_path)

    assert torch.equal(torch.get_rng_state(), before)


@every_algorithm
@pytest.mark.parametrize("stop_after", [1, pytest.param(4, marks=pytest.mark.slow), 5])
def test_a_stopped_training_ends_with_the_same_bits_once_resumed(
    algorithm: str, stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    whole = train_tiny(algorithm, tmp_path / "whole", images=104)  # 6.5 batches of 50 images
    polls = iter(range(100))

    stopped = train_tiny(
        algorithm, tmp_path / "parts", images=104, should_stop=lambda: next(polls) >= stop_after
    )
    resumed = train_tiny(algorithm, tmp_path / "parts", images=104)

    assert stopped.stopped and stopped.images_seen == 16 * stop_after
    assert not resumed.stopped and resumed.images_seen == 104
    assert weights_of(resumed) == weights_of(whole)


@every_algorithm
def test_a_training_falls_back_to_the_checkpoint_before_a_damaged_one(
    algorithm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_tiny(algorithm, tmp_path, checkpoint_every_images=32)
    expected = weights_of(whole)
    newest, before = list_checkpoints(tmp_path)
    damaged = (newest / WEIGHTS).read_bytes()
    (newest / WEIGHTS).write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    begun: list[int] = []

    again = train_tiny(
        algorithm, tmp_path, on_checkpoint=lambda saved: begun.append(saved.images_seen)
    )

    assert before.name == "ckpt-32"
    assert begun == [32, 64]
    assert weights_of(again) == expected
    assert "skipped a damaged checkpoint" in caplog.text


def break_losses(
    algorithm: str, monkeypatch: pytest.MonkeyPatch, *, at: Callable[[int], bool]
) -> None:
    """Let the losses of some of the optimiser steps, counted from 0, be no numbers."""
    model = type(build(algorithm))
    original, calls = model.loss, itertools.count()

    def broken(self: Algorithm, *args: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, values = original(self, *args)
        factor = math.nan if at(next(calls)) else 1.0
        return loss * factor, {name: value * factor for name, value in values.items()}

    monkeypatch.setattr(model, "loss", broken)


@every_algorithm
def test_a_diverged_training_says_so_and_saves_nothing(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_losses(algorithm, monkeypatch, at=lambda _: True)

    with pytest.raises(training.Diverged, match="steps were skipped: their gradients were not"):
        train_tiny(algorithm, tmp_path)

    assert list_checkpoints(tmp_path) == []


@every_algorithm
def test_a_step_whose_gradient_is_no_number_is_skipped_and_counted(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_losses(algorithm, monkeypatch, at=lambda call: call == 1)

    result = train_tiny(algorithm, tmp_path)

    assert result.skipped == 1
    _, tensors = load_checkpoint(result.checkpoint.path)
    assert all(tensor.isfinite().all() for tensor in tensors.values())


# --- sampling -----------------------------------------------------------------------------------


@every_sampler
def test_an_image_depends_on_its_seed_and_label_alone(
    algorithm: str, sampler: str, trained: dict[str, TrainingResult]
) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)
    chosen = fast_sampler(algorithm, sampler)
    labels = balanced_labels(7, 3)

    def drawn(indices: list[int], batch_size: int) -> np.ndarray:
        batches = draw(
            generator,
            chosen,
            seeds=[100 + i for i in indices],
            labels=labels[indices],
            batch_size=batch_size,
        )
        return np.concatenate(list(batches)).astype(int)

    together = drawn([0, 1, 2, 3, 4, 5, 6], 7)

    assert together.shape == (7, 1, 8, 8)
    assert np.abs(drawn([0, 1, 2, 3, 4, 5, 6], 2) - together).max() <= 1
    assert np.abs(drawn([6, 3], 1) - together[[6, 3]]).max() <= 1
    assert np.abs(together[0] - together[3]).max() > 1  # the same label, another seed


@every_sampler
def test_loading_a_checkpoint_twice_gives_the_same_images(
    algorithm: str, sampler: str, trained: dict[str, TrainingResult]
) -> None:
    chosen = fast_sampler(algorithm, sampler)

    def drawn() -> np.ndarray:
        torch.manual_seed(torch.seed())
        generator = load_generator(trained[algorithm].checkpoint.path)
        labels = balanced_labels(6, 3)
        return np.concatenate(
            list(draw(generator, chosen, seeds=range(6), labels=labels, batch_size=6))
        )

    assert np.array_equal(drawn(), drawn())


@every_sampler
def test_the_cost_of_drawing_is_counted(
    algorithm: str, sampler: str, trained: dict[str, TrainingResult]
) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)
    chosen = fast_sampler(algorithm, sampler)

    samples = draw_all(
        generator, chosen, seeds=range(5), labels=balanced_labels(5, 3), batch_size=2
    )

    assert samples.pixels.dtype == np.uint8 and samples.pixels.shape == (5, 1, 8, 8)
    assert samples.stats.nfe == NFE[algorithm, sampler]
    assert samples.stats.images_per_second > 0
    assert samples.stats.latency_seconds > 0
    assert samples.stats.peak_memory_bytes is None  # measured on GPUs alone


@every_algorithm
def test_a_generator_knows_what_it_is(algorithm: str, trained: dict[str, TrainingResult]) -> None:
    result = trained[algorithm]

    generator = load_generator(result.checkpoint.path, sha256=result.checkpoint.sha256)

    assert generator.algorithm == algorithm
    assert generator.config == TINY[algorithm]
    assert generator.num_classes == 3
    assert generator.shape == (1, 8, 8)
    assert generator.parameters == result.parameters > 0
    assert generator.images_seen == 64
    assert list(generator.model.networks) == [
        *generator.model.sampling_networks,
        *generator.model.other_networks,
    ]
    for sampler in get_spec(algorithm).samplers:
        check_sampler(fast_sampler(algorithm, sampler), generator.config)


@every_algorithm
def test_samples_come_from_the_averaged_weights(
    algorithm: str, trained: dict[str, TrainingResult]
) -> None:
    _, tensors = load_checkpoint(trained[algorithm].checkpoint.path)
    generator = load_generator(trained[algorithm].checkpoint.path)

    for name, network in generator.model.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, tensors[f"ema/{name}/{key}"])
    averaged = [k for k in tensors if k.startswith("ema/") and tensors[k].is_floating_point()]
    assert any(
        not torch.equal(tensors[key], tensors[key.replace("ema/", "network/", 1)])
        for key in averaged
    )


@every_algorithm
def test_an_unconditional_model_trains_and_draws_without_labels(
    algorithm: str, tmp_path: Path
) -> None:
    config = dataclasses.replace(TINY[algorithm], conditional=False)

    result = train_tiny(algorithm, tmp_path, config=config, images=16)
    generator = load_generator(result.checkpoint.path)
    sampler = fast_sampler(algorithm, get_spec(algorithm).default_sampler)
    samples = draw_all(generator, sampler, seeds=[1, 2], labels=None, batch_size=2)

    assert generator.num_classes == 0
    assert samples.labels is None
    message = "expected no labels: the generator is unconditional"
    with pytest.raises(ValueError, match=exactly(message)):
        draw_all(generator, sampler, seeds=[1], labels=balanced_labels(1, 1), batch_size=1)

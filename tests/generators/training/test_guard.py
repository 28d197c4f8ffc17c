"""The guard, accumulated gradients, phases and precision: the loop's parts, on a toy's weights."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.contract import Algorithm, Batch, Context, OnStep, Phase, Shape
from generators.algorithm.noise import NoiseSource
from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.conditions import Conditions
from generators.specs.options import DirectSampler, SamplerConfig, TrainingConfig
from generators.specs.registry import ALGORITHMS
from generators.training import loop as training
from generators.training.batches import BatchStream
from generators.training.budgets import Budget
from generators.training.checkpoints import list_checkpoints, load_checkpoint
from generators.training.guard import Guard
from generators.training.steps import Training
from tests.generators.conftest import TINY, exactly, make_data, train_tiny

CPU = torch.device("cpu")


# --- the guard ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "skip_norm", "verdict"),
    [
        (1e30, 0.0, 0),
        (math.inf, 0.0, 1),
        (math.nan, 0.0, 1),
        (4.0, 4.0, 0),
        (4.1, 4.0, 1),
        (math.nan, 4.0, 1),
    ],
)
def test_a_step_is_skipped_for_a_norm_that_is_not_finite_or_too_large(
    norm: float, skip_norm: float, verdict: int
) -> None:
    guard = Guard(CPU, skip_norm=skip_norm)

    assert guard.judge(torch.tensor(norm)).item() == verdict
    assert guard.skipped.item() == guard.streak.item() == verdict


def judged(*norms: float) -> Guard:
    guard = Guard(CPU, skip_norm=0)
    for norm in norms:
        guard.judge(torch.tensor(norm))
    return guard


def test_a_good_step_ends_the_streak_but_not_the_count() -> None:
    guard = judged(math.nan, math.nan, 1.0, math.nan)

    assert (guard.skipped.item(), guard.streak.item()) == (3, 1)


@pytest.mark.parametrize(
    ("bad", "good", "fails"),
    [(2, 0, False), (3, 0, True), (3, 17, False), (3, 16, True), (49, 10**4, False)],
)
def test_two_skipped_steps_and_one_in_twenty_are_allowed(bad: int, good: int, fails: bool) -> None:
    guard = judged(*[math.nan] * bad)
    steps = bad + good
    complaint = f"{bad} of {steps} steps were skipped: their gradients were not finite"

    assert guard.complaint(steps) == (complaint if fails else None)


def test_fifty_skipped_steps_in_a_row_are_never_allowed() -> None:
    assert judged(*[math.nan] * 49).complaint(10**4) is None
    assert judged(*[math.nan] * 50).complaint(10**4) is not None
    assert judged(*[math.nan] * 50, 1.0).complaint(10**4) is None


def test_the_counts_go_on_where_they_were() -> None:
    guard = judged()

    guard.load({name: tensor.clone() for name, tensor in judged(1.0, math.nan).tensors().items()})

    assert (guard.skipped.item(), guard.streak.item()) == (1, 1)


# --- a toy ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyConfig(TrainingConfig):
    """Neither warm-up nor decay, so that the learning rate is what it says."""


class Toy(Algorithm):
    """Two weights per pixel, drawn to the mean image by one phase each; no randomness."""

    sampling_networks = ("early", "late")
    compilable = ("early",)
    begun: list[str] = []  # told to the test
    run: list[tuple[str, float]] = []  # told to the test

    def __init__(self, config: ToyConfig, *, shape: Shape, conditions: Conditions) -> None:
        super().__init__(shape=shape, conditions=conditions)
        self.learning_rate = config.learning_rate
        pixels = math.prod(shape)
        self.networks = {"early": nn.Linear(pixels, pixels), "late": nn.Linear(pixels, pixels)}

    def phases(self) -> list[Phase]:
        early = Phase("early", ("early",), self.learning_rate, (0.5, 0.9), (0.9, 0.99), end=0.5)
        return [early, Phase("late", ("late",), self.learning_rate, begin=0.5)]

    def begin(self, phase: str, averages: Mapping[str, nn.Module]) -> None:
        assert set(averages) == {"early", "late"}
        self.begun.append(phase)

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        self.run.append((phase, context.fraction))
        x = batch.images.flatten(1)
        loss = (self.networks[phase](x) - x.square()).square().mean()
        return loss, {phase: loss}

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        return noise.normal(*self.shape)


TOY = AlgorithmSpec(
    name="gan.toy",
    family="gan",
    label="Toy",
    config=ToyConfig,
    samplers=samplers_by_name(DirectSampler),
    default_sampler="direct",
    implementation=f"{__name__}:Toy",
    source="none",
    presets={name: Preset(images=64) for name in ("tiny", "small", "paper")},
)
PLAIN = ToyConfig(batch_size=16, learning_rate=1e-2, warmup=0.0, decay="constant", ema_halflife=0)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    monkeypatch.setitem(ALGORITHMS, TOY.name, TOY)
    monkeypatch.setattr(Toy, "begun", [])
    monkeypatch.setattr(Toy, "run", [])
    return Toy


def toy_training(config: ToyConfig = PLAIN, *, images: int = 64) -> tuple[Toy, Training]:
    torch.manual_seed(0)
    model = Toy(config, shape=(1, 8, 8), conditions=Conditions())
    stream = BatchStream(make_data().images, None, seed=0, device=CPU, horizontal_flip=False)
    return model, Training(model, config, stream, seed=0, budget=Budget(images=images), device=CPU)


def gradients_of(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


# --- accumulated gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("microbatch", [1, 5, 8, 16])
def test_gradients_summed_over_microbatches_are_those_of_the_batch(microbatch: int) -> None:
    whole, whole_training = toy_training()
    parts, parts_training = toy_training(replace(PLAIN, microbatch=microbatch))

    whole_training.step()
    parts_training.step()

    expected = gradients_of(whole.networks["early"])
    assert torch.allclose(gradients_of(parts.networks["early"]), expected, atol=1e-7)
    assert expected.abs().max() > 1e-3
    losses = parts_training.progress().losses
    assert losses == pytest.approx(whole_training.progress().losses)


@pytest.mark.parametrize("clip_norm", [0.01, 1e3])
def test_gradients_are_clipped_to_a_norm_and_left_alone_below_it(clip_norm: float) -> None:
    free, free_training = toy_training()
    clipped, clipped_training = toy_training(replace(PLAIN, clip_norm=clip_norm))

    free_training.step()
    clipped_training.step()

    norm = gradients_of(free.networks["early"]).norm().item()
    found = gradients_of(clipped.networks["early"]).norm().item()
    assert found == pytest.approx(min(norm, clip_norm), rel=1e-3)


def test_a_step_above_the_skipping_norm_moves_no_weight(toy: type[Toy]) -> None:
    model, stuck = toy_training(replace(PLAIN, skip_norm=1e-6))
    before = model.networks["early"].state_dict()["weight"].clone()

    stuck.step()

    assert torch.equal(model.networks["early"].state_dict()["weight"], before)
    assert stuck.progress().skipped == 1


# --- phases ---------------------------------------------------------------------------------------


def test_betas_move_on_half_a_cosine_to_their_end() -> None:
    _, halfway = toy_training(images=64)  # the early phase lasts for two steps, middles 1/4 and 3/4

    for weight in (0.5 - 0.5 * math.cos(math.pi / 4), 0.5 + 0.5 * math.cos(math.pi / 4)):
        halfway.step()
        betas = halfway._state.optimisers["early"].param_groups[0]["betas"]
        assert betas == pytest.approx((0.5 + weight * 0.4, 0.9 + weight * 0.09))


def test_each_phase_runs_in_its_part_of_the_budget_and_begins_once(
    toy: type[Toy], tmp_path: Path
) -> None:
    train_tiny(TOY.name, tmp_path, config=PLAIN)

    assert toy.begun == ["early", "late"]
    assert toy.run == [("early", 0.25), ("early", 0.75), ("late", 0.25), ("late", 0.75)]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_phase_that_has_begun_does_not_begin_again_after_a_resume(
    stop_after: int, toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    polls = iter(range(100))

    train_tiny(TOY.name, tmp_path, config=PLAIN, should_stop=lambda: next(polls) >= stop_after)
    assert len(toy.run) == stop_after
    train_tiny(TOY.name, tmp_path, config=PLAIN)

    assert toy.begun == ["early", "late"]
    assert toy.run == [("early", 0.25), ("early", 0.75), ("late", 0.25), ("late", 0.75)]


# --- checkpoints and averages -----------------------------------------------------------------------


def test_checkpoints_at_stated_images_come_and_stay(toy: type[Toy], tmp_path: Path) -> None:
    told: list[int] = []

    train_tiny(
        TOY.name,
        tmp_path,
        config=PLAIN,
        images=160,
        checkpoint_every_images=32,
        checkpoints_at=(20, 64),
        on_checkpoint=lambda saved: told.append(saved.images_seen),
    )

    assert told == [32, 64, 96, 128, 160]
    # the first step past 20 images ends at 32
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "ckpt-160",
        "ckpt-128",
        "ckpt-64",
        "ckpt-32",
    ]


def test_a_training_begins_with_the_averaged_weights_of_another(
    toy: type[Toy], tmp_path: Path
) -> None:
    first = train_tiny(TOY.name, tmp_path / "first", config=replace(PLAIN, ema_halflife=0.5))
    still = replace(PLAIN, learning_rate=1e-8)

    second = train_tiny(
        TOY.name, tmp_path / "second", config=still, seed=1, initial=first.checkpoint.path
    )

    _, before = load_checkpoint(first.checkpoint.path)
    _, after = load_checkpoint(second.checkpoint.path)
    for name in ("early/weight", "late/bias"):
        assert torch.allclose(after[f"network/{name}"], before[f"ema/{name}"], atol=1e-6)
        assert not torch.equal(before[f"ema/{name}"], before[f"network/{name}"])


def test_initial_weights_that_do_not_fit_are_refused(toy: type[Toy], tmp_path: Path) -> None:
    first = train_tiny(TOY.name, tmp_path / "first", config=PLAIN, images=16).checkpoint.path
    larger = make_data(side=12)

    with pytest.raises(ValueError, match="does not fit the network early"):
        train_tiny(TOY.name, tmp_path / "second", config=PLAIN, data=larger, initial=first)
    message = f"{first}: expected averaged weights of generator, discriminator"
    with pytest.raises(ValueError, match=exactly(message)):
        train_tiny("gan.sngan", tmp_path / "third", initial=first)


def test_the_longest_half_life_of_the_average_is_in_thousands_of_images(toy: type[Toy]) -> None:
    model, limited = toy_training(replace(PLAIN, ema_halflife=1.0, ema_halflife_kimg=0.016))
    average, network = limited._state.averages["early"], model.networks["early"]

    for _ in range(2):
        before = average.state_dict()["weight"].clone()
        limited.step()
        expected = 0.5 * (before + network.state_dict()["weight"])  # a half-life is a batch
        assert torch.allclose(average.state_dict()["weight"], expected, atol=1e-7)


# --- precision and compilation ----------------------------------------------------------------------


def test_bfloat16_computes_otherwise_but_keeps_weights_in_float32(
    toy: type[Toy], tmp_path: Path
) -> None:
    fine = train_tiny(TOY.name, tmp_path / "fine", config=PLAIN, images=16)
    coarse = train_tiny(
        TOY.name, tmp_path / "coarse", config=replace(PLAIN, precision="bfloat16"), images=16
    )

    _, expected = load_checkpoint(fine.checkpoint.path)
    _, found = load_checkpoint(coarse.checkpoint.path)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    moment = "optimiser/late/0/exp_avg"
    assert not torch.equal(found[moment], expected[moment])
    assert torch.allclose(
        found[moment], expected[moment], atol=0.02 * float(expected[moment].max())
    )


@pytest.mark.parametrize("algorithm", ["gan.sngan", "vae.conv", "diffusion.ddpm"])
def test_every_family_trains_in_bfloat16(algorithm: str, tmp_path: Path) -> None:
    config = replace(TINY[algorithm], precision="bfloat16")

    result = train_tiny(algorithm, tmp_path, config=config, images=32)

    assert result.skipped == 0


def test_compiling_follows_the_networks_and_renames_nothing(
    toy: type[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train_tiny(TOY.name, tmp_path / "plain", config=PLAIN, images=32)
    compiled, forwards = nn.Module.compile, []

    def traced(self: nn.Module) -> None:
        forwards.append(type(self))
        compiled(self, backend="eager")  # without a compiler

    monkeypatch.setattr(nn.Module, "compile", traced)
    again = train_tiny(TOY.name, tmp_path / "compiled", config=PLAIN, images=32, compiled=True)

    assert forwards == [nn.Linear]  # of two networks one is compilable
    _, expected = load_checkpoint(plain.checkpoint.path)
    _, found = load_checkpoint(again.checkpoint.path)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert list(found) == list(expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ on the PATH")
def test_a_compiled_network_trains_to_the_same_weights(toy: type[Toy], tmp_path: Path) -> None:
    plain = train_tiny(TOY.name, tmp_path / "plain", config=PLAIN, images=32)
    compiled = train_tiny(TOY.name, tmp_path / "compiled", config=PLAIN, images=32, compiled=True)

    _, expected = load_checkpoint(plain.checkpoint.path)
    _, found = load_checkpoint(compiled.checkpoint.path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert np.allclose(found[name], tensor, atol=1e-5), name

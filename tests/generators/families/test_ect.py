import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.contract import Batch, Context, Step, Undefined
from generators.algorithm.noise import NoiseSource
from generators.diffusion.ect import ECT
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import ECTConfig
from generators.specs.diffusion_samplers import ConsistencySampler
from generators.training.checkpoints import load_checkpoint
from tests.generators.conftest import TINY, train_tiny
from tests.generators.gaussian import IdealEDM


def make_ect(**values: Any) -> ECT:
    return ECT(
        ECTConfig(**{"base_channels": 8, **values}), shape=(1, 8, 8), conditions=Conditions()
    )


def context(seed: int = 0, fraction: float = 0.0) -> Context:
    return Context(torch.Generator().manual_seed(seed), fraction)


# --- what agrees with what ----------------------------------------------------------------------


def test_the_earlier_level_comes_closer_stage_by_stage() -> None:
    model, t = make_ect(), torch.logspace(-3, 2, 50)

    levels = [model.earlier(t, stage) for stage in range(12)]

    assert all(((r >= 0) & (r < t)).all() for r in levels)
    assert all((b >= a).all() for a, b in pairwise(levels))
    assert (levels[0][t < 1] == 0).all()  # so the tuning begins as diffusion does
    assert torch.allclose(levels[-1], t, rtol=2e-3)


def test_the_earlier_level_follows_its_formula() -> None:
    model, t = make_ect(q=4, k=8, b=2), torch.tensor([0.5])

    expected = 0.5 * (1 - (1 + 8 / (1 + math.exp(1))) / 16)

    assert float(model.earlier(t, 1)) == pytest.approx(expected)


def test_stages_share_the_tuning_evenly() -> None:
    model = make_ect(stages=4)

    assert [model.stage(f) for f in (0, 0.24, 0.26, 0.5, 0.99, 1)] == [0, 0, 1, 2, 3, 3]


# --- the loss -----------------------------------------------------------------------------------


def test_a_consistent_network_has_no_loss() -> None:
    model = make_ect()
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = Batch(image.expand(256, -1, -1, -1), None)

    first, values = model.loss("tuning", batch, context(fraction=0.5))
    model.networks["denoiser"] = IdealEDM(lambda *_: image.double(), 0.5)
    perfect, _ = model.loss("tuning", batch, context(fraction=0.5))

    assert values["tuning"] is first and first > 0.2
    assert perfect.item() < 0.005  # the rounding of float32


def test_both_levels_are_seen_under_the_same_dropout() -> None:
    model = make_ect(dropout=0.5, base_channels=16)
    for parameter in model.networks["denoiser"].parameters():
        nn.init.normal_(parameter, std=0.1)
    x_0, epsilon, t = torch.zeros(4, 1, 8, 8), torch.randn(4, 1, 8, 8), torch.full((4,), 0.5)
    none = torch.zeros(4, 1, dtype=torch.int64)

    student, teacher = model._jumps(x_0, epsilon, (t, t), none)
    another, _ = model._jumps(x_0, epsilon, (t, t), none)

    assert torch.allclose(student, teacher, atol=1e-6)
    assert not torch.allclose(student, another, atol=1e-3)
    assert student.requires_grad and not teacher.requires_grad


def test_equal_jumps_have_a_gradient_of_zero() -> None:
    model = make_ect(stages=1, q=1.1)
    batch = Batch(torch.zeros(4, 1, 8, 8), None)

    model.networks["denoiser"] = nn.ModuleDict()  # replaced by jumps that agree
    jump = torch.zeros(4, 1, 8, 8, requires_grad=True)
    model._jumps = lambda *_: (jump, torch.zeros(4, 1, 8, 8))  # type: ignore[method-assign]
    model.loss("tuning", batch, context())[0].backward()  # type: ignore[no-untyped-call]  # torch's

    assert jump.grad is not None and jump.grad.eq(0).all()


def test_a_tuned_network_has_no_likelihood() -> None:
    model = make_ect()

    with pytest.raises(Undefined, match="ECT has no tractable bound"):
        model.bits_per_dimension(model.networks, torch.zeros(1, 1, 8, 8), None, torch.Generator())


# --- phases -------------------------------------------------------------------------------------


def test_the_tuning_takes_its_share_of_the_budget() -> None:
    first, second = make_ect(tuning_share=0.25, tuning_learning_rate=3e-4).phases()

    assert (first.name, first.begin, first.end) == ("denoising", 0, 0.75)
    assert (second.name, second.begin, second.end) == ("tuning", 0.75, 1)
    assert second.learning_rate == 3e-4 and not second.autocast
    assert [phase.name for phase in make_ect(tuning_share=1).phases()] == ["tuning"]


def test_the_tuning_begins_with_averaged_weights() -> None:
    model, other = make_ect(), make_ect()
    averages = {"denoiser": other.networks["denoiser"]}
    for parameter in averages["denoiser"].parameters():
        nn.init.ones_(parameter)

    model.begin("denoising", averages)
    before = [bool(p.eq(1).all()) for p in model.networks["denoiser"].parameters()]
    model.begin("tuning", averages)

    assert not all(before)
    assert all(p.eq(1).all() for p in model.networks["denoiser"].parameters())


def test_weights_of_edm_can_be_tuned(tmp_path: Path) -> None:
    edm = train_tiny("diffusion.edm", tmp_path / "edm", images=32)
    config = ECTConfig(
        batch_size=16, base_channels=8, tuning_share=1, tuning_learning_rate=1e-8, warmup=0
    )

    ect = train_tiny(
        "diffusion.ect", tmp_path / "ect", config=config, images=16, initial=edm.checkpoint.path
    )

    _, begun = load_checkpoint(edm.checkpoint.path)
    _, tuned = load_checkpoint(ect.checkpoint.path)
    weights = [name for name in begun if name.startswith("ema/")]
    assert weights and TINY["diffusion.edm"] != config
    assert all(torch.allclose(begun[name], tuned[name], atol=1e-6) for name in weights)


# --- sampling -----------------------------------------------------------------------------------


def test_noise_levels_between_jumps_fall_about_the_middle_one() -> None:
    assert ConsistencySampler(steps=1).levels() == []
    assert ConsistencySampler(steps=2).levels() == [0.821]
    assert ConsistencySampler(steps=3, mid_level=1.0).levels() == [2.0, 0.5]
    assert ConsistencySampler(steps=4, mid_level=1.0).levels() == [4.0, 1.0, 0.25]
    assert ConsistencySampler().label() == "Consistency 2"
    assert ConsistencySampler(steps=3, mid_level=1.5).label() == "Consistency 3 σ=1.5"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_an_exact_consistency_function_draws_from_the_data(steps: int) -> None:
    model, deviation = (
        ECT(ECTConfig(base_channels=8), shape=(1, 32, 32), conditions=Conditions()),
        0.2,
    )

    def jump(x: Tensor, t: Tensor) -> Tensor:
        return x * deviation / (deviation**2 + t**2).sqrt()

    images = model.sample(
        {"denoiser": IdealEDM(jump, 0.5)}, None, NoiseSource(range(16)), ConsistencySampler(steps)
    )

    assert float(images.std()) == pytest.approx(deviation, rel=0.02)
    assert float(images.mean()) == pytest.approx(0, abs=0.01)


def test_every_jump_is_reported() -> None:
    model, steps = make_ect(), list[Step]()

    images = model.sample(
        model.networks, None, NoiseSource([1]), ConsistencySampler(3), steps.append
    )

    assert [(step.index, step.count) for step in steps] == [(0, 3), (1, 3), (2, 3)]
    assert [step.time for step in steps] == [80.0, 0.821 * 2, 0.821 / 2]
    assert torch.allclose(steps[-1].x_0.float().clamp(-1, 1), images)

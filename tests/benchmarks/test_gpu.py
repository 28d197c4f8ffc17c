"""Images per second of training on a CUDA device, as they are and compiled, and the part of peak.

Peak is what a large bfloat16 matrix product reaches on the same device; a training's operations are
counted by torch, those of double backward passes included. Nothing is asserted of the speed: it
depends on the device.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from generators.algorithm.contract import build_algorithm
from generators.algorithm.numerics import flushing_denormals
from generators.specs.conditions import Conditions
from generators.specs.options import TrainingConfig
from generators.specs.registry import ALGORITHMS, get_spec, parse_config
from generators.training.batches import BatchStream
from generators.training.budgets import Budget
from generators.training.steps import Training
from tests.gpu import MARKS

pytestmark = MARKS

SECONDS = 3.0  # of each timing, after a warm-up
SIDE = 32


@pytest.fixture(scope="module")
def peak() -> float:
    """Return the bfloat16 operations per second of a large matrix product."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        a @ b
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - began)


class _NoModules:
    """In place of torch's tracker of modules, whose hooks know no double backward pass."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def training_of(name: str, config: TrainingConfig, *, compiled: bool, share: float) -> Training:
    """Return a training on random colour images that stands at a part of its budget."""
    rng, device = np.random.default_rng(0), torch.device("cuda")
    images = rng.integers(0, 256, (20_000, 3, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, 10, len(images))[:, None]
    stream = BatchStream(
        images, labels, seed=0, device=device, horizontal_flip=config.horizontal_flip
    )
    model = build_algorithm(
        name, config, shape=(3, SIDE, SIDE), conditions=Conditions.of_classes(10), seed=0
    )
    budget = Budget(images=10**9)
    training = Training(
        model, config, stream, seed=0, budget=budget, device=device, compiled=compiled
    )
    training.images_seen = int(share * 10**9)
    return training


def steps(training: Training, count: int) -> None:
    with flushing_denormals():
        for _ in range(count):
            training.step()
    torch.cuda.synchronize()


def images_per_second(training: Training) -> float:
    """Return the speed of steps, after as many as make all kernels."""
    steps(training, 12)
    began, done = time.perf_counter(), training.images_seen
    while time.perf_counter() - began < SECONDS:
        steps(training, 5)
    return (training.images_seen - done) / (time.perf_counter() - began)


def operations_per_image(training: Training) -> float:
    """Return the operations of training on one image, over ten steps."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]  # all of it that is used
    with counter:
        done = training.images_seen
        steps(training, 10)
    operations: int = counter.get_total_flops()
    return operations / (training.images_seen - done)


def phases(name: str) -> list[tuple[str, float]]:
    """Return the phases that follow each other, and a part of the budget within each."""
    config = parse_config(name, {}, preset="paper")
    model = build_algorithm(
        name, config, shape=(3, SIDE, SIDE), conditions=Conditions.of_classes(10), seed=0
    )
    begins = {phase.begin: phase.name for phase in model.phases()}
    return [(phase, begin + 0.001) for begin, phase in begins.items()]


def measure(name: str, config: TrainingConfig, share: float, peak: float, *, compiled: bool) -> str:
    operations = operations_per_image(training_of(name, config, compiled=False, share=share))
    torch.cuda.reset_peak_memory_stats()
    training = training_of(name, config, compiled=compiled, share=share)
    rate = images_per_second(training)
    memory = torch.cuda.max_memory_allocated() / 2**30
    return (
        f"{rate:9,.0f} images/s, {operations / 1e9:6.2f} GFLOP per image, "
        f"{rate * operations / 1e12:6.1f} TFLOP/s = {rate * operations / peak:5.1%} of "
        f"{peak / 1e12:.0f}, {memory:.1f} GiB"
    )


def way(compiled: bool) -> str:
    return "compiled" if compiled else "as it is"


@pytest.mark.parametrize("compiled", [False, True], ids=way)
def test_the_network_of_ddpm_at_batch_512(
    peak: float, compiled: bool, report: Callable[[str], None]
) -> None:
    config = replace(
        parse_config("diffusion.ddpm", {}, preset="paper"), batch_size=512, precision="bfloat16"
    )

    found = measure("diffusion.ddpm", config, 0.0, peak, compiled=compiled)

    report(f"DDPM, 35.7 M parameters, batch 512, bfloat16, {way(compiled)}: {found}")
    assert "nan" not in found


@pytest.mark.parametrize("compiled", [False, True], ids=way)
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_each_paper_preset(
    name: str, peak: float, compiled: bool, report: Callable[[str], None]
) -> None:
    config = parse_config(name, {}, preset="paper")
    for phase, share in phases(name):
        found = measure(name, config, share, peak, compiled=compiled)
        report(f"{get_spec(name).label}, {phase}, {way(compiled)}: {found}")
        assert "nan" not in found

"""Muon against AdamW, and self-conditioning against none: what a training image costs with them.

A U-Net as the demo of words has it, 32 x 32 scenes in patches of 2, on one thread; seconds are those
of the thread. The cases take turns in one process, and the least of a case's rounds counts.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from generators.algorithm.contract import build_algorithm
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import FlowConfig
from generators.training.batches import BatchStream
from generators.training.budgets import Budget
from generators.training.steps import Training

SIDE, ROUNDS, STEPS = 32, 6, 8
CASES: dict[str, dict[str, Any]] = {
    "AdamW": {},
    "Muon": {"optimiser": "muon"},
    "Muon, self-conditioned": {"optimiser": "muon", "self_conditioning": True},
}


def stepping(batch_size: int, **options: Any) -> Callable[[], None]:
    """Return what trains on one batch more."""
    config = FlowConfig(
        batch_size=batch_size,
        prediction="x0",
        patch=2,
        base_channels=32,
        channel_multipliers="1,2",
        adaptive_norm=True,
        norm_channels=4,
        **options,
    )
    model = build_algorithm(
        "diffusion.flow", config, shape=(3, SIDE, SIDE), conditions=Conditions(), seed=0
    )
    images = np.random.default_rng(0).integers(256, size=(64, 3, SIDE, SIDE)).astype(np.uint8)
    device = torch.device("cpu")
    stream = BatchStream(images, None, seed=0, device=device, horizontal_flip=False)
    budget = Budget(images=100_000)
    return Training(model, config, stream, seed=0, budget=budget, device=device).step


@pytest.mark.parametrize("batch_size", [4, 8])
def test_what_an_image_costs(
    batch_size: int, record_property: Callable[[str, object], None]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cases = {name: stepping(batch_size, **options) for name, options in CASES.items()}
        best = dict.fromkeys(cases, float("inf"))
        for _ in range(ROUNDS):
            for name, step in cases.items():
                step()
                began = time.thread_time()
                for _ in range(STEPS):
                    step()
                best[name] = min(best[name], time.thread_time() - began)
    finally:
        torch.set_num_threads(before)

    for name, seconds in best.items():
        ratio = seconds / best["AdamW"]
        record_property(name, ratio)
        print(f"{name}, batches of {batch_size}: {ratio:.2f} times AdamW")  # noqa: T201  # the result
    assert best["Muon"] < 1.4 * best["AdamW"]

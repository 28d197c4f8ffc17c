"""Images are cut to the range of their values where they have one, and nowhere else."""

import pytest
import torch
from torch import Tensor, nn

from generators.algorithm.contract import Step, build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.registry import ALGORITHMS, parse_sampler
from tests.generators.conftest import TINY


class Far(nn.Module):
    """A network whose images are far beyond [-1, 1]."""

    def forward(self, x: Tensor, _t: Tensor, _labels: Tensor) -> Tensor:
        return 5 * torch.sin(3 * x) + 10


WALKS = [
    (name, sampler)
    for name, spec in ALGORITHMS.items()
    if name.startswith("diffusion.")
    for sampler in spec.samplers
]


@pytest.mark.parametrize(("name", "sampler"), WALKS)
def test_values_are_cut_only_where_they_have_a_range(name: str, sampler: str) -> None:
    model = build_algorithm(name, TINY[name], shape=(1, 8, 8), conditions=Conditions(), seed=0)
    chosen = parse_sampler(name, {"name": sampler, "steps": 3})
    steps = list[Step]()

    within = model.sample({"denoiser": Far()}, None, NoiseSource([1]), chosen)
    model.value_range = None
    beyond = model.sample({"denoiser": Far()}, None, NoiseSource([1]), chosen, steps.append)

    assert within.abs().max() <= 1
    assert beyond.abs().max() > 2
    assert torch.allclose(steps[-1].x_0.float(), beyond, atol=1e-4)

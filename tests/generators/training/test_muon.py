import pytest
import torch
from torch import Tensor, nn

from generators.specs.diffusion_configs import DenoiserConfig
from generators.training.muon import MOMENTUM, RMS, Muon, is_kernel, orthogonal


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (16, 144), (144, 16)])
def test_a_matrix_becomes_nearly_orthogonal_whatever_its_scale(shape: tuple[int, int]) -> None:
    matrix = noise(*shape) @ torch.diag(torch.logspace(0, -1, shape[1]))

    (found,) = orthogonal([1e3 * matrix])

    singular = torch.linalg.svdvals(found)
    assert torch.allclose(found, orthogonal([1e-2 * matrix])[0], atol=1e-3)
    assert singular.min() > 0.3
    assert singular.max() < 1.25
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)  # the nearest one
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), 0) > 0.96


def test_matrices_of_several_sizes_keep_their_places() -> None:
    matrices = [noise(16, 40), noise(32, 32, seed=1), noise(40, 16, seed=2), noise(16, 20, seed=3)]

    found = orthogonal(matrices)

    for matrix, each in zip(matrices, found, strict=True):
        assert torch.allclose(each, orthogonal([matrix])[0], atol=1e-5)


def test_zeros_stay_zeros() -> None:
    assert torch.equal(orthogonal([torch.zeros(16, 32)])[0], torch.zeros(16, 32))


def test_kernels_of_enough_channels_are_moved_by_muon() -> None:
    assert is_kernel(nn.Conv2d(16, 16, 3).weight)
    assert not is_kernel(nn.Conv2d(16, 12, 3).weight)
    assert not is_kernel(nn.Conv2d(3, 64, 1).weight)
    assert not is_kernel(nn.Linear(64, 64).weight)
    assert not is_kernel(nn.Conv2d(16, 16, 3).bias)  # type: ignore[arg-type]  # it has one


def make() -> tuple[nn.Conv2d, Muon]:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 32, 3)
    return layer, Muon(layer.parameters(), lr=0.01, weight_decay=0.0, fused=True)


def set_gradients(layer: nn.Conv2d, seed: int = 1) -> None:
    for parameter in layer.parameters():
        parameter.grad = noise(*parameter.shape, seed=seed)


def test_a_kernel_moves_against_its_momentum_and_the_rest_as_adamw_has_it() -> None:
    layer, optimiser = make()
    kernel, bias = layer.weight.detach().clone(), layer.bias.detach().clone()  # type: ignore[union-attr]
    set_gradients(layer)

    optimiser.step()

    moved = layer.weight.detach() - kernel
    ahead = (1 - MOMENTUM**2) * noise(32, 16, 3, 3, seed=1)  # Nesterov's, from rest
    expected = -0.01 * RMS * 144**0.5 * orthogonal([ahead.flatten(1)])[0].view_as(kernel)
    assert torch.allclose(moved, expected, atol=1e-6)
    assert torch.allclose((layer.bias.detach() - bias).abs(), torch.tensor(0.01), rtol=1e-3)  # type: ignore[union-attr]
    assert layer.weight.grad is not None


def test_a_step_that_is_skipped_changes_nothing() -> None:
    layer, optimiser = make()
    set_gradients(layer)
    optimiser.step()
    weights = [p.detach().clone() for p in layer.parameters()]
    momentum = optimiser.state[layer.weight]["momentum"].clone()
    layer.weight.grad, layer.bias.grad = torch.full_like(layer.weight, torch.nan), noise(32)  # type: ignore[union-attr]

    optimiser.found_inf = torch.ones(())
    optimiser.step()

    assert all(torch.equal(a, b) for a, b in zip(weights, layer.parameters(), strict=True))
    assert torch.equal(optimiser.state[layer.weight]["momentum"], momentum)


def test_a_transformer_has_no_convolutions() -> None:
    problems = DenoiserConfig(backbone="dit", optimiser="muon").problems()

    assert problems == {"optimiser": "expected adamw: a transformer has no convolutions"}

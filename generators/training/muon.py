"""Muon: momentum without a preferred direction, for the kernels of convolutions.

Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks": the momentum of a
matrix of weights becomes the nearest one whose singular values are about 1, by five steps of a
polynomial of odd powers. A kernel is a matrix of one row for each channel that it makes. Weights
of few rows (the network's last layer), embeddings and biases move as AdamW has it.

The learning rate is AdamW's: steps are scaled to 0.2 of root mean square, as its are about. Liu et al.,
2025, "Muon is scalable for LLM training", eq. 4, with the longer side of the matrix.

Deviations: the powers are of the smaller product of the matrix with itself, X X^T, in float32, so
that the long side is multiplied twice in all and not twice in each step.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS = 5
A, B, C = 3.4445, -4.7750, 2.0315  # of the polynomial a X + b X X^T X + c (X X^T)^2 X
RMS = 0.2  # of a step, at a learning rate of 1
LEAST_ROWS = 16
TINY = 1e-7


class Muon(torch.optim.AdamW):
    """AdamW that moves the kernels of convolutions by orthogonal matrices.

    `found_inf`, where it is set to a tensor of 1, makes a step that changes nothing.
    """

    found_inf: Tensor | None = None

    def __init__(self, parameters: Iterable[Tensor], **options: Any) -> None:
        parameters = list(parameters)
        kernels = [p for p in parameters if is_kernel(p)]
        others = [p for p in parameters if not is_kernel(p)]
        super().__init__([{"params": others}, {"params": kernels}], **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        group = self.param_groups[1]
        kernels = [p for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in kernels]
        for kernel in kernels:
            kernel.grad = None  # AdamW passes over what has none
        super().step(closure)
        for kernel, gradient in zip(kernels, gradients, strict=True):
            kernel.grad = gradient
        if kernels and not (self.found_inf is not None and self.found_inf.item()):
            self._move(kernels, gradients, group["lr"])

    def _move(self, kernels: list[Tensor], gradients: list[Tensor], learning_rate: float) -> None:
        for kernel in kernels:
            if kernel not in self.state:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
        directions = orthogonal([each.flatten(1) for each in ahead])
        for kernel, direction in zip(kernels, directions, strict=True):
            length = RMS * max(direction.shape) ** 0.5
            kernel.sub_(direction.view_as(kernel), alpha=learning_rate * length)


def is_kernel(parameter: Tensor) -> bool:
    """Return whether a weight is the kernel of a convolution with enough channels."""
    return parameter.dim() == 4 and min(len(parameter), parameter[0].numel()) >= LEAST_ROWS


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return about the nearest matrices with orthogonal rows, or columns.

    Their singular values are 0.7 to 1.2, but for those that were near 0.

    Args:
        matrices: (rows, columns) each, of any scale; zeros stay zeros.
    """
    wide = [each.T if each.shape[0] > each.shape[1] else each for each in matrices]
    wide = [each / (each.norm() + TINY) for each in wide]
    found: dict[int, Tensor] = {}
    for rows in {
        len(each) for each in wide
    }:  # many small products at once cost little more than one
        places = [i for i, each in enumerate(wide) if len(each) == rows]
        products = _polynomials(torch.stack([wide[i] @ wide[i].T for i in places]))
        found |= {i: p @ wide[i] for i, p in zip(places, products, strict=True)}
    return [
        found[i].T if each.shape[0] > each.shape[1] else found[i] for i, each in enumerate(matrices)
    ]


def _polynomials(gram: Tensor) -> Tensor:
    """Return what X is to be multiplied by, from X X^T, (N, rows, rows) both."""
    one = torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)
    product = one.expand_as(gram)
    for step in range(STEPS):
        factor = A * one + torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        product = factor @ product if step else factor
        gram = factor @ gram @ factor
    return product

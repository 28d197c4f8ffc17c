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

from collections.abc import Callable, Iterable
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
        gradients = [(p, p.grad) for p in group["params"] if p.grad is not None]
        for kernel, _ in gradients:
            kernel.grad = None  # AdamW passes over what has none
        super().step(closure)
        for kernel, gradient in gradients:
            kernel.grad = gradient
            self._move(kernel, gradient, group["lr"])

    def _move(self, kernel: Tensor, gradient: Tensor, learning_rate: float) -> None:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        momentum: Tensor = state["momentum"]
        is_good = torch.ones(()) if self.found_inf is None else 1 - self.found_inf
        is_good = is_good.to(kernel.device).reshape(())
        gradient = torch.where(is_good > 0, gradient, 0)
        momentum.lerp_(gradient, is_good * (1 - MOMENTUM))
        ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
        direction = orthogonal(ahead.flatten(1)).view_as(kernel)
        length = RMS * max(len(kernel), kernel[0].numel()) ** 0.5
        kernel.sub_(is_good * learning_rate * length * direction)


def is_kernel(parameter: Tensor) -> bool:
    """Return whether a weight is the kernel of a convolution with enough channels."""
    return parameter.dim() == 4 and min(len(parameter), parameter[0].numel()) >= LEAST_ROWS


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix with orthogonal rows, or columns: singular values 0.7 to 1.2.

    Args:
        matrix: (rows, columns), of any scale; zeros stay zeros.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    x = matrix / (matrix.norm() + TINY)
    gram = x @ x.T
    one = torch.eye(len(x), device=x.device, dtype=x.dtype)
    product = one
    for _ in range(STEPS):
        factor = A * one + B * gram + C * (gram @ gram)
        product = factor @ product
        gram = factor @ gram @ factor
    return product @ x

"""The guard: steps whose gradients are not finite are skipped, counted, and too many end a training.

Nothing here waits for the device: the verdict is a tensor that the fused optimiser obeys.
"""

import torch
from torch import Tensor

MOST_IN_A_ROW = 50
FREE, MOST_SHARE = 2, 0.05  # skipped steps that are allowed: 2, and one in twenty


class Guard:
    """Counts the steps that were skipped."""

    def __init__(self, device: torch.device, *, skip_norm: float) -> None:
        self.skipped = torch.zeros((), device=device)
        self.streak = torch.zeros((), device=device)  # skipped steps in a row
        self._skip_norm = skip_norm

    def judge(self, norm: Tensor) -> Tensor:
        """Return 1 if a step with this gradient norm is to be skipped, else 0; float32, on device.

        A norm above `skip_norm` (0 = none is) counts as one that is not finite: Child, 2021,
        "Very deep VAEs generalize autoregressive models", skips those steps.
        """
        bad = ~torch.isfinite(norm)
        if self._skip_norm:
            bad |= norm > self._skip_norm
        verdict = bad.float()
        self.skipped += verdict
        self.streak = (self.streak + 1) * verdict
        return verdict

    def complaint(self, steps: int) -> str | None:
        """Return why a training of this many optimiser steps has failed; None where it has not."""
        skipped, streak = int(self.skipped), int(self.streak)
        if streak >= MOST_IN_A_ROW or skipped > FREE + MOST_SHARE * steps:
            return f"{skipped} of {steps} steps were skipped: their gradients were not finite"
        return None

    def tensors(self) -> dict[str, Tensor]:
        """Return the counts by name."""
        return {"skipped": self.skipped, "streak": self.streak}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put the counts back."""
        self.skipped.copy_(tensors["skipped"])
        self.streak.copy_(tensors["streak"])

"""A training as a thing that goes forward step by step, whatever the algorithm."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generators import ema
from generators.base import Algorithm, Batch, Phase
from generators.batches import ImageStream
from generators.budgets import Budget, schedule
from generators.clock import DeviceClock
from generators.configs import TrainingConfig
from generators.noise import derive_seed
from generators.state import TrainingState


class Diverged(RuntimeError):
    """A loss or a weight is no longer finite."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands; the losses are means since the last report."""

    images_seen: int
    budget_fraction: float  # 0..1
    device_seconds: float
    images_per_second: float  # by the clock on the wall, since the last report
    losses: dict[str, float]


class Training:
    """Networks, the stream of images and the place in it."""

    def __init__(
        self,
        model: Algorithm,
        config: TrainingConfig,
        stream: ImageStream,
        *,
        seed: int,
        budget: Budget,
        device: torch.device,
    ) -> None:
        self.model = model
        self.images_seen = 0
        self.steps = 0
        self.clock = DeviceClock(device)
        self._config = config
        self._stream = stream
        self._seed = seed
        self._budget = budget
        self._device = device
        self._state = TrainingState(model, device)
        self._generator = torch.Generator(device)
        self._losses = _Means()
        self._reported = (0, time.monotonic())  # images seen and time of the last report

    def fraction(self) -> float:
        """Return how much of the budget is spent, 0..1."""
        return self._budget.fraction(self.images_seen, self.clock.seconds())

    def step(self) -> None:
        """Train on the stream's next batch; the last batch ends exactly at the budget."""
        count = self._config.batch_size
        if self._budget.images is not None:
            count = min(count, self._budget.images - self.images_seen)
        batch = self._stream.batch(self.images_seen, count)
        scale = self._learning_rate_scale(count)
        for phase in self._state.phases:
            if (self.steps + 1) % phase.every == 0:
                self._run_phase(phase, batch, scale)
        self.images_seen += count
        self.steps += 1
        beta = ema.decay(self.images_seen, count, halflife=self._config.ema_halflife)
        self._state.average(beta)

    def _run_phase(self, phase: Phase, batch: Batch, scale: float) -> None:
        self._reseed(phase)
        loss, values = self.model.loss(phase.name, batch, self._generator)
        optimiser, parameters = self._state.optimisers[phase.name], self._state.parameters(phase)
        optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)  # no gradients for the other phases' networks
        if self._config.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, self._config.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = phase.learning_rate * scale
        optimiser.step()
        self._losses.add(values)

    def _reseed(self, phase: Phase) -> None:
        seed = derive_seed(self._seed, "step", self.steps, phase.name)
        self._generator.manual_seed(seed)
        torch.default_generator.manual_seed(seed)  # for dropout, which takes no generator
        if self._device.type == "cuda":
            torch.cuda.manual_seed_all(seed)  # the device need not be the current one

    def _learning_rate_scale(self, count: int) -> float:
        """Return the schedule's value in the middle of the coming step, 0..1."""
        middle = self._budget.fraction(self.images_seen + count / 2, self.clock.seconds())
        return schedule(middle, warmup=self._config.warmup, decay=self._config.decay)

    def progress(self) -> Progress:
        """Return where the training stands, and begin new means.

        Raises:
            Diverged: if a loss is not finite.
        """
        (images_then, then), now = self._reported, time.monotonic()
        losses = self._losses.means()
        self._check_losses(losses)
        self._losses, self._reported = _Means(), (self.images_seen, now)
        return Progress(
            images_seen=self.images_seen,
            budget_fraction=self.fraction(),
            device_seconds=self.clock.seconds(),
            images_per_second=(self.images_seen - images_then) / max(now - then, 1e-9),
            losses=losses,
        )

    def check_finite(self) -> None:
        """Raise Diverged if a loss or a weight is not finite."""
        self._check_losses(self._losses.means())
        if not self._state.finite():
            raise Diverged(f"a weight is not finite after {self.images_seen} images")

    def _check_losses(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise Diverged(f"loss {name!r} is {value} after {self.images_seen} images")

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that training changes."""
        return self._state.tensors()

    def restore(self, manifest: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint.

        Raises:
            RuntimeError: if the tensors do not fit the networks.
        """
        self._state.load(tensors)
        self.images_seen = manifest["images_seen"]
        self.steps = manifest["steps"]
        self.clock = DeviceClock(self._device, manifest["device_seconds"])
        self._reported = (self.images_seen, time.monotonic())


class _Means:
    """Means of named values that stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

"""A training as a thing that goes forward step by step, whatever the algorithm."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from generators.algorithm.contract import Algorithm, Batch, Context, NotFinite, Phase
from generators.algorithm.noise import derive_seed
from generators.algorithm.numerics import autocast_dtype
from generators.specs.options import TrainingConfig
from generators.training import ema
from generators.training.batches import BatchStream
from generators.training.budgets import Budget, schedule
from generators.training.clock import DeviceClock
from generators.training.guard import Guard
from generators.training.parallel import Team
from generators.training.state import TrainingState, with_prefix

LOOKED_AT = 4096  # training images, when a phase begins by a look at them
FITTING_BATCH = 256  # images at once, when what is fitted once looks at all of them


class Diverged(RuntimeError):
    """Losses or weights are no longer finite, or too many gradients were not."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands; the losses are means since the last report."""

    images_seen: int
    budget_fraction: float  # 0..1
    device_seconds: float
    images_per_second: float  # by the clock on the wall, since the last report
    losses: dict[str, float]
    skipped: int  # steps, for gradients that were not finite


class Training:
    """Networks, the stream of images and the place in it."""

    def __init__(
        self,
        model: Algorithm,
        config: TrainingConfig,
        stream: BatchStream,
        *,
        seed: int,
        budget: Budget,
        device: torch.device,
        compiled: bool = False,
    ) -> None:
        self.model = model
        self.images_seen = 0
        self.steps = 0
        self.clock = DeviceClock(device)
        self.team = Team.current()
        self._config = config
        self._stream = stream
        self._seed = seed
        self._budget = budget
        self.device = device
        self._state = TrainingState(model, device, compiled=compiled)
        self._guard = Guard(device, skip_norm=config.skip_norm)
        self._judged = 0  # optimiser steps so far
        self._begun: set[str] = set()  # phases that have run
        self._dtype = autocast_dtype(config.precision, device)
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
        batch = self._stream.batch(*self.team.share(self.images_seen, count))
        # in the middle of the step, so that the schedules end at the budget's end
        middle = self._budget.fraction(self.images_seen + count / 2, self.clock.seconds())
        for phase in self._state.phases:
            if self._is_due(phase, middle):
                self._run_phase(phase, batch, (middle - phase.begin) / (phase.end - phase.begin))
        self.team.share_buffers(self._state.networks.values())
        self.images_seen += count
        self.steps += 1
        self._state.average(
            ema.decay(
                self.images_seen,
                count,
                halflife=self._config.ema_halflife,
                most_images=1000 * self._config.ema_halflife_kimg,
            )
        )

    def _is_due(self, phase: Phase, fraction: float) -> bool:
        last = phase.end == 1 and fraction >= 1
        within = phase.begin <= fraction < phase.end or last
        return within and (self.steps + 1) % phase.every == 0

    def _run_phase(self, phase: Phase, batch: Batch, fraction: float) -> None:
        if phase.name not in self._begun:
            self._begin(phase)
            self._begun.add(phase.name)
        optimiser, parameters = (
            self._state.optimisers[phase.name],
            self._state.parameters[phase.name],
        )
        optimiser.zero_grad(set_to_none=True)
        values = self._backward(phase, batch, parameters, fraction)
        self.team.average_gradients(parameters)
        verdict = self._judge(parameters)
        for group in optimiser.param_groups:
            group["lr"] = phase.learning_rate * schedule(
                fraction,
                warmup=self._config.warmup,
                decay=self._config.decay,
                final=phase.final_rate,
            )
            group["betas"] = _betas(phase, fraction)
        optimiser.found_inf = verdict  # type: ignore[attr-defined]  # as torch's GradScaler sets it
        optimiser.step()
        self._losses.add(values, verdict)

    def _begin(self, phase: Phase) -> None:
        batches = self._stream.epoch(FITTING_BATCH, most=LOOKED_AT)
        try:
            self.model.begin_with(phase.name, self._state.averages, batches)
        except NotFinite as error:
            raise Diverged(f"{error} after {self.images_seen} images") from error

    def _backward(
        self, phase: Phase, batch: Batch, parameters: list[nn.Parameter], fraction: float
    ) -> dict[str, Tensor]:
        """Leave the gradients of the batch's mean loss, and return its named values."""
        context = Context(self._generator, min(fraction, 1.0), self.images_seen)
        means: dict[str, Tensor] = {}
        for index, (part, weight) in enumerate(self._parts(batch)):
            self._reseed(phase, index)
            with torch.autocast(
                self.device.type, self._dtype, enabled=phase.autocast and self._dtype is not None
            ):
                loss, values = self.model.loss(phase.name, part, context)
            # no gradients for the other phases' networks
            (loss if weight == 1 else weight * loss).backward(inputs=parameters)
            for name, value in values.items():
                means[name] = means.get(name, 0) + weight * value.detach()
        return means

    def _parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """Yield the batch in microbatches, each with its part of the batch."""
        count = len(batch.images)
        size = self._config.microbatch or count
        for start in range(0, count, size):
            part = slice(start, start + size)
            labels = None if batch.labels is None else batch.labels[part]
            images = batch.images[part].contiguous(memory_format=self._state.layout)
            yield Batch(images, labels), len(images) / count

    def _judge(self, parameters: list[nn.Parameter]) -> Tensor:
        """Clip the gradients, and return 1 if the step is to be skipped, else 0."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._config.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._config.clip_norm, norm)
        self._judged += 1
        return self._guard.judge(norm)

    def _reseed(self, phase: Phase, part: int) -> None:
        place = [part, self.team.rank] if part or self.team.rank else []
        seed = derive_seed(self._seed, "step", self.steps, phase.name, *place)
        self._generator.manual_seed(seed)
        torch.default_generator.manual_seed(seed)  # for dropout, which takes no generator
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)  # the device need not be the current one

    def finish(self) -> None:
        """Let the algorithm fit what is fitted once, after the last step."""
        batches = self._stream.epoch(FITTING_BATCH)
        self.model.finish(self._state.averages, batches, derive_seed(self._seed, "finish"))

    def progress(self) -> TrainingProgress:
        """Return where the training stands, and begin new means.

        Raises:
            Diverged: if a loss is not finite, or too many gradients were not.
        """
        (images_then, then), now = self._reported, time.monotonic()
        losses = self._losses.means()
        self._check(losses)
        self._losses, self._reported = _Means(), (self.images_seen, now)
        return TrainingProgress(
            images_seen=self.images_seen,
            budget_fraction=self.fraction(),
            device_seconds=self.clock.seconds(),
            images_per_second=(self.images_seen - images_then) / max(now - then, 1e-9),
            losses=losses,
            skipped=int(self._guard.skipped),
        )

    def check_finite(self) -> None:
        """Raise Diverged if a loss or a weight is not finite, or too many gradients were not."""
        self._check(self._losses.means())
        if not self._state.finite():
            raise Diverged(f"a weight is not finite after {self.images_seen} images")

    def _check(self, losses: dict[str, float]) -> None:
        if complaint := self._guard.complaint(self._judged):
            raise Diverged(f"{complaint}, after {self.images_seen} images")
        for name, value in losses.items():
            if not math.isfinite(value):
                raise Diverged(f"loss {name!r} is {value} after {self.images_seen} images")

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that training changes."""
        guard = {f"guard/{name}": tensor for name, tensor in self._guard.tensors().items()}
        return self._state.tensors() | guard

    def place(self) -> dict[str, Any]:
        """Return what a manifest has to know of the place, besides the images seen."""
        return {"steps": self.steps, "judged": self._judged, "begun": sorted(self._begun)}

    def restore(self, manifest: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint.

        Raises:
            RuntimeError: if the tensors do not fit the networks.
        """
        self._state.load(tensors)
        self._guard.load(with_prefix(tensors, "guard/"))
        self.images_seen = manifest["images_seen"]
        self.steps, self._judged = manifest["steps"], manifest["judged"]
        self._begun = set(manifest["begun"])
        self.clock = DeviceClock(self.device, manifest["device_seconds"])
        self._reported = (self.images_seen, time.monotonic())


def _betas(phase: Phase, fraction: float) -> tuple[float, float]:
    """Return Adam's decay rates at a part of the phase, on a half cosine between their ends."""
    if phase.final_betas is None:
        return phase.betas
    weight = 0.5 - 0.5 * math.cos(math.pi * min(fraction, 1.0))
    first, second = (
        a + weight * (b - a) for a, b in zip(phase.betas, phase.final_betas, strict=True)
    )
    return first, second


class _Means:
    """Means of named values that stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}  # of values that come together
        self._counts: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: dict[str, Tensor], skipped: Tensor) -> None:
        """Add one step's values, unless it was skipped (1, else 0)."""
        if not values:
            return
        names = tuple(values)
        counted = torch.where(skipped > 0, 0.0, torch.stack([v.float() for v in values.values()]))
        self._sums[names] = self._sums.get(names, 0) + counted
        self._counts[names] = self._counts.get(names, 0) + (1 - skipped)

    def means(self) -> dict[str, float]:
        """Return the means of the values that any step had."""
        found: dict[str, float] = {}
        for names, count in self._counts.items():
            if count:
                found |= dict(zip(names, (self._sums[names] / count).tolist(), strict=True))
        return found

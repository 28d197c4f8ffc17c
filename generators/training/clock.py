"""Device seconds: how long the device worked on a training; and when intervals have passed."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class DeviceClock:
    """Counts device seconds while it runs.

    On a GPU they are seconds on the wall, the device's queue drained at each pause. On the CPU
    they are the processor seconds of the computing thread, so that a machine shared with other
    jobs does not make a training look more expensive than it is.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        self._device = device
        self._now = time.thread_time if device.type == "cpu" else time.perf_counter
        self._before = seconds
        self._since: float | None = self._now()  # None within a pause

    def seconds(self) -> float:
        """Return the device seconds so far."""
        return self._before + (0.0 if self._since is None else self._now() - self._since)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Wait for the device, and count nothing within the block."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._before, self._since = self.seconds(), None
        try:
            yield
        finally:
            self._since = self._now()


class Timer:
    """Says whether an interval has passed since it last said so."""

    def __init__(self, seconds: float, *, due_now: bool = False) -> None:
        self._seconds = seconds
        self._last = -math.inf if due_now else time.monotonic()

    def due(self) -> bool:
        """Return whether it has; if so, the next interval begins now."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True

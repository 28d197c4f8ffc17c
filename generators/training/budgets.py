"""How long to train, and the learning rate's schedule over it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """A number of images seen, or of device seconds; exactly one is set.

    Raises:
        ValueError: if none or both are set, or the number is not above 0 and finite.
    """

    images: int | None = None
    device_seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.images, self.device_seconds) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise ValueError(
                "expected either images or device_seconds, above 0, "
                f"got images={self.images}, device_seconds={self.device_seconds}"
            )

    def fraction(self, images_seen: float, device_seconds: float) -> float:
        """Return how much of the budget is spent, 0..1."""
        if self.images is not None:
            return min(images_seen / self.images, 1.0)
        return min(device_seconds / (self.device_seconds or math.inf), 1.0)


def schedule(fraction: float, *, warmup: float, decay: str, final: float = 0.0) -> float:
    """Return the learning rate's factor at a fraction of the budget, all 0..1.

    After the warm-up it falls from 1 to `final`, unless it is constant.
    """
    if fraction < warmup:
        return fraction / warmup
    left = (1 - fraction) / (1 - warmup)
    fall = {"constant": 1.0, "linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left)}[decay]
    return final + (1 - final) * fall

"""What drawing images costs: network evaluations, seconds, memory."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

LATENCY_REPEATS = 20  # of one image drawn alone, after one that does not count
LATENCY_SECONDS = 3.0  # after which it is not repeated again


@dataclass(frozen=True)
class SamplingStats:
    """What drawing costs."""

    nfe: int  # network evaluations per image, counted
    images_per_second: float
    latency_seconds: float  # of one image drawn alone, median
    latency_p95_seconds: float  # its 95th percentile
    batch_size: int  # images drawn at once for `images_per_second`
    peak_memory_bytes: int | None  # of tensors on a GPU; not measured on the CPU


@dataclass
class Evaluations:
    """Images that went through a network, so far."""

    rows: int = 0


@contextmanager
def counting_evaluations(networks: Iterable[nn.Module]) -> Iterator[Evaluations]:
    """Count how many images go through these networks."""
    evaluations = Evaluations()

    def count(_module: nn.Module, _inputs: object, output: Any) -> None:
        evaluations.rows += len(output if isinstance(output, torch.Tensor) else output[0])

    hooks = [network.register_forward_hook(count) for network in networks]
    try:
        yield evaluations
    finally:
        for hook in hooks:
            hook.remove()


def latencies(draw_alone: Callable[[int], object]) -> list[float]:
    """Return the seconds of drawing one image alone, copied to the CPU, several times over.

    draw_alone: draws the image of a seed.
    """
    seconds: list[float] = []
    for seed in range(1 + LATENCY_REPEATS):
        began = time.perf_counter()
        draw_alone(seed)
        seconds.append(time.perf_counter() - began)
        if sum(seconds) > LATENCY_SECONDS and seed >= 1:
            break
    return seconds[1:]


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure the most memory that tensors take."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Return the most memory that tensors took, in bytes; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

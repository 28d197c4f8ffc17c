"""The network of the dataset classifier and the written recipe it is trained by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluation.features.base import ExtractionStopped

RECIPE_VERSION = 1
WIDTHS = (24, 48, 64)  # channels of the three convolutions
HIDDEN = 64  # width of the penultimate layer, whose activations are the features
MIN_IMAGES_SEEN = 20_000
MAX_IMAGES_SEEN = 150_000
PASSES = 48  # over the train split, within the two bounds above


def training_recipe(
    *, count: int, channels: int, resolution: int, num_classes: int
) -> dict[str, Any]:
    """Return the whole recipe for a train split of ``count`` images, as plain JSON values.

    ``version`` stands for the code in this module: whatever changes the weights raises it.
    """
    return {
        "version": RECIPE_VERSION,
        "architecture": {
            "channels": channels,
            "resolution": resolution,
            "strides": list(_strides(resolution)),
            "widths": list(WIDTHS),
            "pooled": min(4, _size_after(resolution)),
            "hidden": HIDDEN,
            "classes": num_classes,
        },
        "images_seen": max(MIN_IMAGES_SEEN, min(MAX_IMAGES_SEEN, PASSES * count)),
        "batch_size": 128,
        "optimiser": {"name": "sgd", "nesterov_momentum": 0.9, "weight_decay": 5e-4},
        "learning_rate": {"schedule": "one cycle", "peak": 0.1, "warmup": 0.2},
        "augmentation": "none",
        "loss": "cross-entropy",
        "seed": 0,
    }


def _strides(resolution: int) -> tuple[int, int, int]:
    """Return strides that bring any resolution to 4..8 pixels before the last pooling."""
    if resolution < 16:
        return 1, 2, 1
    if resolution <= 16:
        return 1, 2, 2
    return (2, 2, 2) if resolution <= 32 else (4, 2, 2)


def _size_after(resolution: int) -> int:
    for stride in _strides(resolution):
        resolution = -(-resolution // stride)
    return resolution


class ClassifierNetwork(nn.Module):
    """Three convolutions with batch normalisation, one hidden layer, one linear readout."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        """Build the network that the ``architecture`` part of a recipe describes."""
        super().__init__()
        widths = [architecture["channels"], *architecture["widths"]]
        self.convolutions = nn.Sequential(
            *(
                _convolution(width, next_width, stride)
                for width, next_width, stride in zip(
                    widths[:-1], widths[1:], architecture["strides"], strict=True
                )
            )
        )
        pooled = architecture["pooled"]
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.hidden = nn.Linear(widths[-1] * pooled**2, architecture["hidden"])
        self.readout = nn.Linear(architecture["hidden"], architecture["classes"])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 64) after ReLU and logits (N, K) of uint8 images (N, C, H, W)."""
        # The same strides whatever those of the images: convolutions round by them.
        x = torch.empty(
            images.shape, device=images.device, memory_format=torch.channels_last
        ).copy_(images)
        x = self.convolutions(x / 127.5 - 1)
        features = functional.relu(self.hidden(self.pool(x).flatten(1)))
        return features, self.readout(features)


def _convolution(channels: int, next_channels: int, stride: int) -> nn.Sequential:
    kernel = 5 if stride > 2 else 3  # at least as wide as the stride: no pixel is skipped
    return nn.Sequential(
        nn.Conv2d(channels, next_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(next_channels),
        nn.ReLU(),
    )


def train_network(
    recipe: dict[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ClassifierNetwork:
    """Return the network trained by ``recipe`` on uint8 images (N, C, H, W) and labels (N,).

    Always on the CPU and on one thread, so that the weights do not depend on how many cores or
    which accelerator there are. ``on_progress`` receives the done share in 0..1.

    Raises:
        ExtractionStopped: if ``should_stop()`` was true before a step.
    """
    batch_size = recipe["batch_size"]
    steps = recipe["images_seen"] // batch_size
    with _reproducible(recipe["seed"]):
        network = ClassifierNetwork(recipe["architecture"])
        network.to(memory_format=torch.channels_last)
        optimiser, schedule = _optimiser(recipe, network, steps)
        order = _shuffled(len(images), steps * batch_size, recipe["seed"])
        for step in range(steps):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            if should_stop():
                raise ExtractionStopped
            _, logits = network(torch.from_numpy(images[chosen]))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            on_progress((step + 1) / steps)
    return network.eval().requires_grad_(False)


def _optimiser(
    recipe: dict[str, Any], network: nn.Module, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    rate = recipe["learning_rate"]
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=rate["peak"],
        momentum=recipe["optimiser"]["nesterov_momentum"],
        nesterov=True,
        weight_decay=recipe["optimiser"]["weight_decay"],
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=rate["peak"], total_steps=steps, pct_start=rate["warmup"]
    )
    return optimiser, schedule


def _shuffled(count: int, total: int, seed: int) -> np.ndarray:
    """Return ``total`` indices: one permutation of 0..count-1 after another."""
    rng = np.random.default_rng(seed)
    passes = [rng.permutation(count) for _ in range(-(-total // count))]
    return np.concatenate(passes)[:total]


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch, use one thread and deterministic algorithms; put all three back afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)

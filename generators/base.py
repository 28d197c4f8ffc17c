"""The contract every algorithm keeps, so that one training loop and one sampler serve them all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from generators.configs import LARGEST_SIDE, SMALLEST_SIDE, SamplerConfig, TrainingConfig
from generators.noise import NoiseSource
from generators.registry import get_spec

Shape = tuple[int, int, int]  # channels, height, width
SamplerT = TypeVar("SamplerT", bound=SamplerConfig)

LARGEST_NUM_CLASSES = 10_000


@dataclass(frozen=True)
class Phase:
    """One optimiser's part of a training step."""

    name: str
    networks: tuple[str, ...]  # whose parameters it moves
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    every: int = 1  # runs in each n-th step


@dataclass(frozen=True)
class Batch:
    """Real images of one training step."""

    images: Tensor  # (B, C, H, W) float32 in [-1, 1]
    labels: Tensor | None  # (B,) int64, None when unconditional


class Algorithm(ABC):
    """A generative model: its networks, its losses and its way to sample.

    It holds no optimiser, no average and no random state: those belong to the training loop.
    """

    sampling_networks: ClassVar[tuple[str, ...]]  # all that sampling needs; these are averaged

    def __init__(self, *, shape: Shape, num_classes: int) -> None:
        """Build the networks for images of this shape.

        Args:
            shape: channels (1 or 3), height and width (8 to 64 pixels each).
            num_classes: 0 makes the model unconditional.
        """
        check_shape(shape)
        if not 0 <= num_classes <= LARGEST_NUM_CLASSES:
            raise ValueError(f"expected 0..{LARGEST_NUM_CLASSES} classes, got {num_classes}")
        self.shape = shape
        self.num_classes = num_classes
        self.networks: dict[str, nn.Module] = {}

    @abstractmethod
    def phases(self) -> list[Phase]:
        """Return the phases of a training step, in the order they run."""

    @abstractmethod
    def loss(
        self, phase: str, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the phase's loss and the named values worth plotting (scalars, on the device).

        It calls neither `backward` nor `item`, and draws no randomness but from the generator
        (dropout excepted: the training loop seeds it for every phase).
        """

    @abstractmethod
    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
    ) -> Tensor:
        """Return one image per stream of noise, (N, C, H, W) float32, about [-1, 1].

        Args:
            networks: `sampling_networks` by name, usually averaged, in evaluation mode.
            labels: (N,) int64, None exactly when the model is unconditional.
            noise: all the randomness there is.
            sampler: one of the samplers the registry lists for this algorithm.
        """


def check_shape(shape: Shape) -> None:
    """Check that images of this shape can be modelled.

    Raises:
        ValueError: if there are not 1 or 3 channels, or a side is not 8 to 64 pixels.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"expected 1 or 3 channels, got {channels}")
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise ValueError(
            f"expected sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, got {height}x{width}"
        )


def build_algorithm(
    name: str, config: TrainingConfig, *, shape: Shape, num_classes: int, seed: int
) -> Algorithm:
    """Return the algorithm with freshly initialised networks, on the CPU.

    The initial weights depend on the seed alone; the global random state is left as it was.
    """
    spec = get_spec(name)
    if type(config) is not spec.config:
        raise TypeError(f"{name} wants a {spec.config.__name__}, got {type(config).__name__}")
    module, _, attribute = spec.implementation.partition(":")
    implementation = getattr(import_module(module), attribute)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        algorithm: Algorithm = implementation(config, shape=shape, num_classes=num_classes)
    return algorithm


def expect_sampler(sampler: SamplerConfig, kind: type[SamplerT]) -> SamplerT:
    """Return the sampler, known to be of this kind.

    Raises:
        TypeError: if it is of another kind, which the registry does not list for the algorithm.
    """
    if not isinstance(sampler, kind):
        raise TypeError(f"expected a {kind.__name__}, got {type(sampler).__name__}")
    return sampler


def count_parameters(algorithm: Algorithm) -> int:
    """Return the number of parameters of everything that sampling needs."""
    networks = (algorithm.networks[name] for name in algorithm.sampling_networks)
    return sum(parameter.numel() for network in networks for parameter in network.parameters())

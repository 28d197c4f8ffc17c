"""The contract every algorithm keeps, so that one training loop and one sampler serve them all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.options import (
    LARGEST_SIDE,
    MOST_PLANES,
    SMALLEST_SIDE,
    ConfigError,
    SamplerConfig,
    Shape as Shape,
    TrainingConfig,
)
from generators.specs.registry import get_spec

SamplerT = TypeVar("SamplerT", bound=SamplerConfig)


@dataclass(frozen=True)
class Phase:
    """One optimiser's part of a training step."""

    name: str
    networks: tuple[str, ...]  # whose parameters it moves
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    final_betas: tuple[float, float] | None = None  # reached by a cosine at the end, None = betas
    final_rate: float = 0.0  # learning rate at the end of its decay, as a part of its peak
    weight_decay: float = 0.0
    every: int = 1  # runs in each n-th step
    begin: float = 0.0  # part of the budget after which it runs
    end: float = 1.0  # part of the budget after which it runs no more
    autocast: bool = True  # False keeps float32, as gradient penalties need it
    optimiser: str = "adamw"  # or "muon": see generators.training.muon


@dataclass(frozen=True)
class Batch:
    """Real images of one training step."""

    images: Tensor  # (B, C, H, W) float32 in [-1, 1]
    labels: Tensor | None  # (B, L) int64 rows of `Conditions`, None when unconditional


@dataclass(frozen=True)
class Context:
    """What a loss may depend on besides the batch."""

    generator: torch.Generator  # all randomness (dropout's excepted)
    fraction: float = 0.0  # of the phase's part of the budget that is spent, 0..1
    images_seen: int = 0  # before this step


@dataclass(frozen=True)
class Step:
    """Where a sampler's walk stands after one of its steps."""

    index: int  # from 0
    count: int  # of all steps
    time: float  # as the model's paper has it: timestep, sigma or t; of x
    x: Tensor  # (N, C, H, W) before the step
    x_0: Tensor  # (N, C, H, W) the clean images that the model expects of x


OnStep = Callable[[Step], None]


class NotFinite(ValueError):
    """Numbers that are not finite; the message says which."""


class Undefined(ValueError):
    """What an algorithm has no definition of; the message is the reason."""


class Algorithm(ABC):
    """A generative model: its networks, its losses and its way to sample.

    It holds no optimiser, no average and no random state: those belong to the training loop.
    """

    sampling_networks: ClassVar[tuple[str, ...]]  # all that sampling needs
    counted_networks: ClassVar[tuple[str, ...] | None] = None  # whose evaluations count; None = all
    other_networks: ClassVar[tuple[str, ...]] = ()  # for encoding and the like; averaged as well
    compilable: ClassVar[tuple[str, ...]] = ()  # networks that no double backward goes through
    obeys_words: ClassVar[bool] = False  # rows may be captions', not only classes
    smallest_side: ClassVar[int] = SMALLEST_SIDE  # that the networks are made for
    value_range: tuple[float, float] | None = (-1.0, 1.0)  # of what it makes; None = no limits

    def __init__(self, *, shape: Shape, conditions: Conditions) -> None:
        """Build the networks for images of this shape.

        Args:
            shape: planes (1 to 64), height and width (8 to 256 pixels each).
            conditions: what the model is told of an image; nothing makes it unconditional.
        """
        check_shape(shape, smallest=self.smallest_side)
        if conditions.in_words and not self.obeys_words:
            raise ValueError(f"expected classes or nothing: {type(self).__name__} obeys no words")
        self.shape = shape
        self.conditions = conditions
        self.networks: dict[str, nn.Module] = {}

    @abstractmethod
    def phases(self) -> list[Phase]:
        """Return the phases of a training step, in the order they run."""

    @abstractmethod
    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the phase's loss and the named values worth plotting (scalars, on the device).

        It calls neither `backward` nor `item`, and draws no randomness but from the context's
        generator (dropout excepted: the training loop seeds it for every phase). Networks are in
        training mode and the loop's: `self.networks`.
        """

    def begin(self, phase: str, averages: Mapping[str, nn.Module]) -> None:  # noqa: B027  # most need nothing
        """Prepare for the first step of a phase; once in a training, resumed or not.

        Args:
            phase: its name.
            averages: the averaged networks as they are now, not to be changed.
        """

    def begin_with(
        self, phase: str, averages: Mapping[str, nn.Module], batches: Iterable[Batch]
    ) -> None:
        """Prepare for the first step of a phase by looking at the training images: as `begin`.

        Args:
            phase: its name.
            averages: the averaged networks as they are now, not to be changed.
            batches: some thousand training images, evenly spaced; made as they are asked for.
        """
        self.begin(phase, averages)

    def finish(  # noqa: B027  # most need nothing
        self, averages: Mapping[str, nn.Module], batches: Iterable[Batch], seed: int
    ) -> None:
        """Fit what is fitted once, after the last step, and keep it in the averaged networks.

        Args:
            averages: the averaged networks, in evaluation mode.
            batches: every training image once, in batches.
            seed: all randomness follows from it.
        """

    def borrowed(self) -> dict[str, Path]:
        """Return the checkpoints of other trainings that networks are taken from, by option."""
        return {}

    def borrow(
        self, option: str, manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take networks from the checkpoint that an option names, before the training begins.

        Raises:
            ValueError: if they do not fit; the message says why.
        """
        raise Undefined(f"{type(self).__name__} takes no networks from others")

    @abstractmethod
    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Return one image per stream of noise, (N, C, H, W) float32, about [-1, 1].

        Args:
            networks: `sampling_networks` by name, usually averaged, in evaluation mode.
            labels: (N, L) int64 rows, None exactly when the model is unconditional.
            noise: all the randomness there is.
            sampler: one of the samplers the registry lists for this algorithm.
            on_step: told of each step, by samplers that walk in steps.
        """

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return a code of each image, (N, D) float32 or (N, tokens) int64.

        Raises:
            Undefined: if the algorithm has no encoder.
        """
        raise Undefined(f"{type(self).__name__} has no encoder")

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        """Return what is left of each image after encoding and decoding, shaped as the images.

        Raises:
            Undefined: if the algorithm has no encoder.
        """
        raise Undefined(f"{type(self).__name__} has no encoder")

    def within_range(self, images: Tensor) -> Tensor:
        """Return the images cut to the range of values that there is, if there is one."""
        return images if self.value_range is None else images.clamp(*self.value_range)

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        """Return images with the noise that the forward process has added at a time.

        Args:
            images: (N, C, H, W) in [-1, 1].
            time: 0 (clean) to 1 (the noise that sampling begins with).
            noise: one stream for each image.

        Raises:
            Undefined: if the algorithm has no forward process.
        """
        raise Undefined(f"{type(self).__name__} has no forward process")

    def signal_and_noise_at(self, time: float) -> tuple[float, float]:
        """Return what `add_noise` multiplies the image and the standard normal noise by, at a time.

        Raises:
            Undefined: if the algorithm has no forward process.
        """
        raise Undefined(f"{type(self).__name__} has no forward process")

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        """Return upper bounds of -log2 p(image) per pixel value, (N,) float64 each, by name.

        Args:
            networks: `sampling_networks` and `other_networks` by name, in evaluation mode.
            images: (N, C, H, W) in [-1, 1], of 256 levels.
            labels: (N, L) int64 rows, None exactly when the model is unconditional.
            generator: all the randomness there is.
            samples: draws for each image (K of IWAE-K, Monte Carlo draws elsewhere).

        Raises:
            Undefined: if the algorithm has no tractable bound.
        """
        raise Undefined(f"{type(self).__name__} has no tractable bound on the likelihood")

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        """Return facts about the codes of images by name; text is the reason of one's absence."""
        reason = f"{type(self).__name__} has no codes"
        return {"active_units": reason, "codebook_usage": reason}


def check_shape(shape: Shape, *, smallest: int = SMALLEST_SIDE) -> None:
    """Check that images of this shape can be modelled.

    Raises:
        ValueError: if there are not 1 to 64 planes, or a side is not `smallest` to 256 pixels.
    """
    planes, height, width = shape
    if not 1 <= planes <= MOST_PLANES:
        raise ValueError(f"expected 1 to {MOST_PLANES} planes, got {planes}")
    if not all(smallest <= side <= LARGEST_SIDE for side in (height, width)):
        raise ValueError(
            f"expected sides of {smallest} to {LARGEST_SIDE} pixels, got {height}x{width}"
        )


def build_algorithm(
    name: str, config: TrainingConfig, *, shape: Shape, conditions: Conditions, seed: int
) -> Algorithm:
    """Return the algorithm with freshly initialised networks, on the CPU.

    The initial weights depend on the seed alone; the global random state is left as it was.

    Raises:
        ConfigError: if the configuration is not one for images of this shape.
    """
    spec = get_spec(name)
    if type(config) is not spec.config:
        raise TypeError(f"{name} wants a {spec.config.__name__}, got {type(config).__name__}")
    module, _, attribute = spec.implementation.partition(":")
    implementation = getattr(import_module(module), attribute)
    check_shape(shape, smallest=implementation.smallest_side)  # before anything is built
    if problems := config.shape_problems(shape):
        raise ConfigError(problems)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        algorithm: Algorithm = implementation(config, shape=shape, conditions=conditions)
    return algorithm


def expect_sampler(sampler: SamplerConfig, kind: type[SamplerT]) -> SamplerT:
    """Return the sampler, known to be of this kind.

    Raises:
        TypeError: if it is of another kind, which the registry does not list for the algorithm.
    """
    if not isinstance(sampler, kind):
        raise TypeError(f"expected a {kind.__name__}, got {type(sampler).__name__}")
    return sampler


def reported(on_step: OnStep | None, step: Step) -> None:
    """Tell of a step, if anybody asked."""
    if on_step is not None:
        on_step(step)


def count_parameters(algorithm: Algorithm) -> int:
    """Return the number of parameters of everything that sampling needs."""
    networks = (algorithm.networks[name] for name in algorithm.sampling_networks)
    return sum(parameter.numel() for network in networks for parameter in network.parameters())

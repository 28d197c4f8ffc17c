"""A model in closed form, so that hooks and measurements can be held to numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.algorithm.contract import Algorithm, Batch, Context, OnStep, Phase, Step, reported
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.options import DirectSampler, SamplerConfig, TrainingConfig
from generators.trained.sampling import LoadedGenerator

STEPS = 5
SAMPLER = DirectSampler()


class Toy(Algorithm):
    """Images are noise halved step by step; codes are means; labels are added to them."""

    sampling_networks = ("decoder",)

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(shape=(1, 8, 12), conditions=Conditions.of_classes(num_classes))
        self.networks = {"decoder": nn.Identity()}

    def phases(self) -> list[Phase]:
        return []

    def loss(self, phase: str, batch: Batch, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError

    def sample(
        self,
        networks: Mapping[str, nn.Module],
        labels: Tensor | None,
        noise: NoiseSource,
        sampler: SamplerConfig,
        on_step: OnStep | None = None,
    ) -> Tensor:
        x: Tensor = networks["decoder"](noise.normal(*self.shape).clamp(-1, 1))
        for index in range(STEPS):
            reported(on_step, Step(index, STEPS, float(STEPS - index), x, 0 * x))
            x = x / 2
        return x

    def encode(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        return images.mean(dim=(2, 3))

    def reconstruct(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> Tensor:
        return (images + 0.1).clamp(max=2)

    def add_noise(self, images: Tensor, time: float, noise: NoiseSource) -> Tensor:
        return (1 - time) * images + time * noise.normal(*self.shape)

    def bits_per_dimension(
        self,
        networks: Mapping[str, nn.Module],
        images: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        *,
        samples: int = 1,
    ) -> dict[str, Tensor]:
        draws = torch.randn(len(images), generator=generator).double()
        return {"elbo": torch.full((len(images),), 4.0).double(), "drawn": draws}

    def diagnose(
        self, networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor | None
    ) -> dict[str, float | str]:
        return {"active_units": 1.0, "codebook_usage": "Toy has no codebook"}


def toy_generator(num_classes: int = 3) -> LoadedGenerator:
    """Return the toy, loaded."""
    model = Toy(num_classes)
    return LoadedGenerator(
        algorithm="toy",
        config=TrainingConfig(),
        conditions=model.conditions,
        classes=[],
        shape=model.shape,
        parameters=0,
        images_seen=0,
        device=torch.device("cpu"),
        model=model,
    )

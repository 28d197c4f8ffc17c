"""A toy algorithm as another package adds one: its configuration and its entry (torch-free)."""

from dataclasses import dataclass

from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.options import DirectSampler, TrainingConfig, option


@dataclass(frozen=True)
class ToyConfig(TrainingConfig):
    """A linear variational autoencoder."""

    learning_rate: float = option(1e-2, "Adam step size at its peak", minimum=1e-8, maximum=1.0)
    directions: int = option(8, "size of the code", minimum=1, maximum=256)


SPEC = AlgorithmSpec(
    name="vae.toy",
    family="vae",
    label="Toy VAE",
    config=ToyConfig,
    samplers=samplers_by_name(DirectSampler),
    default_sampler="direct",
    implementation=f"{__package__}.model:ToyVAE",
    source="Tipping and Bishop, 1999, Probabilistic principal component analysis",
    presets={
        "tiny": Preset(images=2_000, config={"directions": 5}),
        "small": Preset(images=10_000),
        "paper": Preset(images=100_000),
    },
)

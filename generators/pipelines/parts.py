"""A folder of parts that we exported, drawn from as where it was trained: by our own sampler.

Weights come from the folder, the walk from this package: nothing that the folder holds is run.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from generators.algorithm.contract import Algorithm, build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.pipelines.card import PipelineCard
from generators.specs.pipelines.parts import EXPORT, read_parts, walk_of
from generators.specs.pipelines.weights import read_json

WEIGHTS = "diffusion_pytorch_model.safetensors"


class PartsPipeline:
    """A model of ours, called as diffusers' pipelines are."""

    scheduler = None

    def __init__(self, card: PipelineCard, model: Algorithm) -> None:
        self.card, self.model, self.device = card, model, torch.device("cpu")
        self.unet = model.networks["denoiser"]  # whose evaluations count

    def to(self, device: str) -> None:
        """Bring what draws to a device."""
        self.device = torch.device(device)
        for name in self.model.sampling_networks:
            self.model.networks[name].to(self.device).eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(
        self,
        *,
        generator: list[torch.Generator],
        num_inference_steps: int,
        batch_size: int,
        output_type: str,
    ) -> SimpleNamespace:
        """Return `images`, (N, C, H, W) in [0, 1], one for each generator."""
        noise = NoiseSource.of(generator, self.device)
        walk = walk_of(self.card, num_inference_steps)
        images = self.model.sample(self.model.networks, None, noise, walk)
        return SimpleNamespace(images=images / 2 + 0.5)


def load_parts(folder: Path, card: PipelineCard) -> PartsPipeline:
    """Return the model whose weights a folder of parts holds.

    Raises:
        ValueError: if the weights or the options are not those of such a model.
        RuntimeError: if the weights do not fit.
    """
    config, shape = read_parts(read_json(folder / EXPORT))
    model = build_algorithm(card.pipeline, config, shape=shape, conditions=Conditions(), seed=0)
    _fill(model.networks["denoiser"], {"unet": _weights(folder, "unet")})
    if "decoder" in model.networks:  # its latents' scale is in the weights: ours stays at 1
        _fill(model.networks["decoder"], _decoding(_weights(folder, "vae")))
    return PartsPipeline(card, model)


def _weights(folder: Path, part: str) -> dict[str, Tensor]:
    return load_file(folder / part / WEIGHTS)


def _decoding(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return what decodes, of an autoencoder's weights, by module."""
    found: dict[str, dict[str, Tensor]] = {"decoder": {}, "post_quant_conv": {}}
    for name, tensor in weights.items():
        module, _, rest = name.partition(".")
        if module in found:
            found[module][rest] = tensor
    return found


def _fill(network: nn.Module, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    for name, tensors in weights.items():
        module: Any = getattr(network, name)
        if module is None:
            raise ValueError(f"expected a model with a {name}, its options make another")
        module.load_state_dict(tensors)

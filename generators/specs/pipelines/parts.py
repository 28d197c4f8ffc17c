"""Folders of parts that this package exported: models that no pipeline of diffusers walks (torch-free).

What walks is one of our samplers, by the algorithm and its options in the folder's `trilemma.json`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from generators.specs.options import (
    LARGEST_SIDE,
    ConfigError,
    SamplerConfig,
    Shape,
    TrainingConfig,
    parse,
)
from generators.specs.pipelines.card import PipelineCard, PipelineError
from generators.specs.pipelines.classes import PARTS
from generators.specs.registry import get_spec, parse_sampler

EXPORT = "trilemma.json"  # what a folder that we exported says of itself
CLASSES = {"unet": "UNet2DModel", "vae": "AutoencoderKL"}


def parts_record(
    algorithm: str, config: Mapping[str, Any], shape: Shape, images_seen: int, steps: int
) -> dict[str, Any]:
    """Return what the file says of a folder of parts; no paths of where it was trained."""
    elsewhere = {name: "" for name in ("autoencoder", "text_encoder") if name in config}
    return {
        "algorithm": algorithm,
        "images_seen": images_seen,
        "shape": list(shape),
        "config": {**config, **elsewhere},
        "call": {"num_inference_steps": steps},
    }


def parts_index(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a `model_index.json` would say of the parts.

    Raises:
        PipelineError: if this is no algorithm whose parts are drawn from.
    """
    algorithm = about.get("algorithm")
    if not isinstance(algorithm, str) or algorithm not in PARTS:
        known = ", ".join(PARTS)
        raise PipelineError(f"algorithm: expected one of {known}; got {algorithm!r}"[:500])
    names = ["unet", "vae"] if algorithm.startswith("latent.") else ["unet"]
    parts = {name: ["diffusers", CLASSES[name]] for name in names}
    return {"_class_name": algorithm, **parts}


def with_walk(card: PipelineCard, about: Mapping[str, Any]) -> PipelineCard:
    """Return the card of parts with what walks through them and what their images are.

    Raises:
        PipelineError: if the options or the shape make no sense.
    """
    config, (channels, height, width) = read_parts(about)
    if "num_inference_steps" not in card.call:
        raise PipelineError("expected a call with num_inference_steps")
    return replace(
        card,
        walk=PARTS[card.pipeline].walk,
        channels=channels,
        height=height,
        width=width,
        timesteps=getattr(config, "timesteps", None),
    )


def read_parts(about: Mapping[str, Any]) -> tuple[TrainingConfig, Shape]:
    """Return the options of the model and the shape of its images.

    Raises:
        PipelineError: if they make no sense.
    """
    shape, config = about.get("shape"), about.get("config")
    sides = shape if isinstance(shape, list) else []
    if len(sides) != 3 or not all(type(n) is int and 1 <= n <= LARGEST_SIDE for n in sides):
        raise PipelineError(f"shape: expected channels, height and width, got {shape!r}"[:300])
    if not isinstance(config, Mapping):
        raise PipelineError(f"config: expected options, got {config!r}"[:300])
    channels, height, width = sides
    try:
        found: TrainingConfig = parse(get_spec(str(about["algorithm"])).config, config)
        if problems := found.shape_problems((channels, height, width)):
            raise ConfigError(problems)
    except ConfigError as error:
        raise PipelineError(f"config: {error}"[:500]) from error
    return found, (channels, height, width)


def walk_of(card: PipelineCard, steps: int) -> SamplerConfig:
    """Return our sampler that draws from parts in so many steps.

    Raises:
        ConfigError: if it does not walk in so many.
    """
    named = {} if card.walk == "consistency" else {"name": card.walk}
    return parse_sampler(card.pipeline, {**named, "steps": steps})

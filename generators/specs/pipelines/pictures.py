"""What a pipeline's configurations say of its images: channels, size, classes, steps (torch-free)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from generators.specs.pipelines.card import PipelineCard, PipelineError
from generators.specs.pipelines.classes import PARTS, PIPELINES
from generators.specs.pipelines.parts import EXPORT, with_walk
from generators.specs.pipelines.weights import read_json

FLUX_LATENTS = 128  # places a side, where nobody says (diffusers' FluxPipeline)


def with_pictures(card: PipelineCard, folder: Path, index: dict[str, Any]) -> PipelineCard:
    """Return the card with what its images are, or with the problem of a configuration."""
    try:
        return _with_pictures(card, folder, index)
    except (PipelineError, TypeError, ValueError) as error:
        return replace(card, problems=(*card.problems, f"a configuration makes no sense: {error}"))


def _with_pictures(card: PipelineCard, folder: Path, index: dict[str, Any]) -> PipelineCard:
    if card.pipeline in PARTS:
        return with_walk(card, read_json(folder / EXPORT))
    spec = PIPELINES[card.pipeline]
    denoiser = read_json(folder / spec.denoiser / "config.json")
    schedule = read_json(folder / "scheduler" / "scheduler_config.json")
    coder = next((name for name in ("vae", "vqvae") if name in spec.components), None)
    decoder = read_json(folder / coder / "config.json") if coder else denoiser
    height, width = _sides(denoiser.get("sample_size", FLUX_LATENTS))
    scale = 2 ** (len(_list(decoder.get("block_out_channels"))) - 1) if coder else 1
    classes = denoiser.get("num_embeds_ada_norm" if spec.asked == "classes" else "num_class_embeds")
    names = index.get("id2label") if spec.asked == "classes" else None
    return replace(
        card,
        asked="classes" if classes and spec.asked == "nothing" else spec.asked,
        channels=_whole(decoder.get("out_channels", 3)),
        height=height * scale,
        width=width * scale,
        num_classes=_whole(classes or 0) if spec.asked != "text" else 0,
        classes=tuple(str(name)[:100] for name in names.values())
        if isinstance(names, dict)
        else (),
        timesteps=_whole(schedule.get("num_train_timesteps", 1000)),
        skips_warm_up=schedule.get("skip_prk_steps") is True,
    )


def _sides(size: object) -> tuple[int, int]:
    """Return height and width of what the network sees."""
    if isinstance(size, list) and len(size) == 2:
        return _whole(size[0]), _whole(size[1])
    return _whole(size), _whole(size)


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"expected a whole number, got {value!r}"[:200])
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= 16:
        raise ValueError(f"expected a list of channels, got {value!r}"[:200])
    return value

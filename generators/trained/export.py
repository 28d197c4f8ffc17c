"""Checkpoints as other programs read them: plain weights, or a folder that diffusers loads."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import LDMPipeline
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from evaluation.imagesets.atomic import replacing_folder
from generators.algorithm.contract import Undefined
from generators.algorithm.noise import NoiseSource
from generators.specs.options import to_dict
from generators.specs.pipelines.parts import EXPORT, parts_record
from generators.trained.parts import (
    DEFAULT_STEPS,
    WALKS,
    ddim_scheduler,
    denoising_model,
    fitting_steps,
    make_walk,
    standard_autoencoder,
    write_parts,
)
from generators.trained.sampling import LoadedGenerator

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FIXED = "steps_fixed"  # the folder draws in this number of steps alone
Call = dict[str, int | bool]  # what a pipeline is to be told, to draw as we do

TOLERANCE = 1e-4  # between a prediction of ours and one of diffusers', which are of order 1


@dataclass(frozen=True)
class Exported:
    """A folder for other programs."""

    path: Path
    bytes: int
    hint: str  # how to load it


def export_safetensors(generator: LoadedGenerator, path: Path) -> Exported:
    """Write the averaged weights, named `network.parameter`, and a `config.json` to a new folder.

    Raises:
        FileExistsError: if something is there already.
    """
    weights = {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, network in generator.averages.items()
        for key, tensor in network.state_dict().items()
    }
    config = {
        "algorithm": generator.algorithm,
        "config": to_dict(generator.config),
        "shape": list(generator.shape),
        **generator.conditions.as_record(),
        "classes": generator.classes,
        "images_seen": generator.images_seen,
        "sampling_networks": list(generator.model.sampling_networks),
    }
    with replacing_folder(path) as folder:
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(config, indent=1), "utf-8")
    return Exported(path, _size(path), f"safetensors.torch.load_file('{path / WEIGHTS}')")


def export_diffusers(
    generator: LoadedGenerator,
    path: Path,
    *,
    label: int | str | None = None,
    steps: int | None = None,
) -> Exported:
    """Write a pipeline that `diffusers` loads, or its parts, to a new folder.

    Where no pipeline class walks as the model does, the folder has the parts (U-Net, scheduler, and
    for latents the autoencoder), and a README.md with the lines that draw with them.

    Args:
        generator: what to write.
        path: the folder.
        label: of a conditional model, the class or the caption that the pipeline draws; None = any,
            as the model draws without one.
        steps: that the pipeline walks, where its folder fixes them, or the README.md; None = our
            default.

    Raises:
        Undefined: if diffusers has no pipeline for this model.
        ValueError: if the label does not fit the generator, or the folder does not fix the steps.
        FileExistsError: if something is there already.
    """
    if generator.algorithm not in EXPORTED:
        known = ", ".join(EXPORTED)
        raise Undefined(f"diffusers has no pipeline for {generator.algorithm}, only for {known}")
    unet = _unconditional(generator, label)
    kind = _pipeline_kind(generator)
    with replacing_folder(path) as folder:
        if kind is None:
            about, hint = _write_parts(generator, unet, steps, folder)
        else:
            about, hint = _write_pipeline(
                generator, PIPELINES[kind](generator, unet, steps), folder
            )
        (folder / EXPORT).write_text(json.dumps(about, indent=1), "utf-8")
    return Exported(path, _size(path), hint.format(path))


def _write_parts(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None, folder: Path
) -> tuple[dict[str, Any], str]:
    """Write parts, and return what the folder says of itself and how to draw with it."""
    walk = make_walk(generator, steps)
    write_parts(generator, unet, walk, folder)
    about = parts_record(
        generator.algorithm,
        to_dict(generator.config),
        generator.shape,
        generator.images_seen,
        walk.steps,
    )
    return about, "python -m generators sample {0}, or what {0}/README.md says"


def _write_pipeline(
    generator: LoadedGenerator, made: tuple[Any, Call], folder: Path
) -> tuple[dict[str, Any], str]:
    """Write a pipeline, and return the same."""
    pipeline, call = made
    pipeline.save_pretrained(folder, safe_serialization=True)
    about = {"algorithm": generator.algorithm, "images_seen": generator.images_seen}
    told = ", ".join(f"{name}={call[name]}" for name in call if name != FIXED)
    hint = f"{type(pipeline).__name__}.from_pretrained('{{0}}')({told})"
    return {**about, "call": call}, hint


def _pipeline_kind(generator: LoadedGenerator) -> str | None:
    """Return the pipeline class of diffusers that draws as this model does, if there is one."""
    denoiser: Any = generator.averages["denoiser"]
    _, height, width = denoising_model(generator).shape
    if denoiser.patch > 1 or any(denoiser.margins) or denoiser.inputs > 1:
        return None
    if generator.algorithm == "latent.ddpm":
        decoder: Any = generator.averages["decoder"]
        return "ldm" if height == width and decoder.patch == 1 else None
    if generator.algorithm == "diffusion.flow":
        config: Any = generator.config
        return "flow" if config.prediction == "v" and config.time_shift == 1 else None
    return "ddim" if generator.algorithm == "diffusion.ddpm" else None


def _ddim_pipeline(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None
) -> tuple[Any, Call]:
    """Return the pipeline that gives our DDIM sampler's images from the same noise, and its call.

    diffusers' DDIM walks as ours does where the number of steps divides that of timesteps, and
    derives the noise from the clipped image only if it is told to.
    """
    scheduler, fitting = _ddim(generator, steps)
    call: Call = {"num_inference_steps": fitting, "use_clipped_model_output": True}
    return DDIMPipeline(unet, scheduler), call


def _ldm_pipeline(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None
) -> tuple[Any, Call]:
    """Return the same for latents, which are not clipped, with the autoencoder."""
    scheduler, fitting = _ddim(generator, steps)
    pipeline = LDMPipeline(standard_autoencoder(generator), unet, scheduler)
    return pipeline, {"num_inference_steps": fitting}


def _ddim(generator: LoadedGenerator, steps: int | None) -> tuple[Any, int]:
    if steps is not None:
        raise ValueError("expected no steps: the pipeline takes them as num_inference_steps")
    model = denoising_model(generator)
    return ddim_scheduler(model), fitting_steps(len(model.schedule))


def _flow_pipeline(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None
) -> tuple[Any, Call]:
    """Return the pipeline that gives our Euler sampler's images from the same noise, and its call.

    diffusers' scheduler spaces its times evenly from 1 to 1/steps, as ours does, only if it is
    told this last one: the folder is made for a number of steps.
    """
    steps = steps or DEFAULT_STEPS
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift_terminal=None if steps == 1 else 1 / steps  # a single step begins and ends at 1
    )
    return DDPMPipeline(unet, scheduler), {"num_inference_steps": steps, FIXED: True}


def _unconditional(generator: LoadedGenerator, label: int | str | None) -> UNet2DModel:
    """Return the U-Net as a pipeline calls it: with a timestep alone.

    What a class or words say is added to the time's embedding, so it moves into the last bias there.

    Raises:
        Undefined: if the model does more than this U-Net.
    """
    denoiser: Any = generator.averages["denoiser"]
    unet: UNet2DModel | None = getattr(denoiser, "unet", None)
    if unet is not None and denoiser.attends:
        raise Undefined("diffusers has no pipeline for images and words that we encode ourselves")
    if unet is None:
        raise Undefined("diffusers has no pipeline for this backbone, only for the U-Net")
    weights = {name: tensor.detach().cpu() for name, tensor in unet.state_dict().items()}
    weights.pop("class_embedding.weight", None)
    row = torch.tensor([_row(generator, label)], device=generator.device)
    if generator.conditions.given:
        bias = "time_embedding.linear_2.bias"
        weights[bias] = weights[bias] + denoiser.added_to_time(row)[0].cpu()
    _, height, width = denoising_model(generator).shape
    (below, right), patch = denoiser.margins, denoiser.patch
    height, width = (height + below) // patch, (width + right) // patch
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    config["num_class_embeds"] = config["class_embed_type"] = None
    config["sample_size"] = height if height == width else (height, width)
    plain: UNet2DModel = UNet2DModel(**config)
    plain.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
    _check_same(generator, plain.eval(), row)
    return plain


@torch.inference_mode()
def _check_same(generator: LoadedGenerator, plain: UNet2DModel, row: Tensor) -> None:
    """Check that a U-Net on patches predicts what the generator's network does.

    Raises:
        Undefined: if it does not.
    """
    denoiser: Any = generator.averages["denoiser"]
    noise, (below, right) = NoiseSource([0]), denoiser.margins
    x, *shown = (noise.normal(*denoising_model(generator).shape) for _ in range(denoiser.inputs))
    t = torch.tensor([500.0])
    device, (height, width) = generator.device, x.shape[2:]
    ours = denoiser(x.to(device), t.to(device), row, *(s.to(device) for s in shown)).cpu()
    whole = torch.cat([x, *shown], dim=1)
    places = F.pixel_unshuffle(F.pad(whole, (0, right, 0, below)), denoiser.patch)
    theirs = F.pixel_shuffle(plain(places, t, return_dict=False)[0], denoiser.patch)
    theirs = theirs[:, :, :height, :width]
    if not torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE):
        raise Undefined("diffusers' U-Net does not predict what this model does")


def _row(generator: LoadedGenerator, label: int | str | None) -> list[int]:
    """Return the row that stands for a class or a caption, or for none."""
    conditions = generator.conditions
    if label is None:
        if conditions.given and not getattr(generator.config, "label_dropout", 0):
            raise ValueError("expected a label: the model was trained without label dropout")
        return conditions.none
    if isinstance(label, str):
        return conditions.row(label)
    if not conditions.classes:
        raise ValueError("expected no label: the generator is unconditional")
    if not 0 <= label < conditions.classes:
        raise ValueError(f"expected a label in 0..{conditions.classes - 1}, got {label}")
    return [label]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


Build = Callable[[LoadedGenerator, UNet2DModel, int | None], tuple[Any, Call]]
PIPELINES: dict[str, Build] = {
    "ddim": _ddim_pipeline,
    "ldm": _ldm_pipeline,
    "flow": _flow_pipeline,
}
EXPORTED = tuple(f"{space}.{kind}" for space in ("diffusion", "latent") for kind in WALKS)

"""Checkpoints as other programs read them: plain weights, or a folder that diffusers loads."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from safetensors.torch import save_file
from torch import Tensor

from evaluation.imagesets.atomic import replacing_folder
from generators.algorithm.contract import Undefined
from generators.algorithm.noise import NoiseSource
from generators.specs.options import to_dict
from generators.trained.sampling import LoadedGenerator

WEIGHTS, CONFIG = "model.safetensors", "config.json"

# diffusers' names of what the network predicts
PREDICTIONS = {"v": "v_prediction", "epsilon": "epsilon", "x0": "sample"}
DEFAULT_FLOW_STEPS = 50


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
    """Write a pipeline that `diffusers` loads to a new folder.

    Args:
        generator: what to write.
        path: the folder.
        label: of a conditional model, the class or the caption that the pipeline draws; None = any,
            as the model draws without one.
        steps: that the pipeline walks, where its folder fixes them; None = our default.

    Raises:
        Undefined: if diffusers has no pipeline for this model.
        ValueError: if the label does not fit the generator, or the folder does not fix the steps.
        FileExistsError: if something is there already.
    """
    build = PIPELINES.get(generator.algorithm)
    if build is None:
        known = ", ".join(PIPELINES)
        raise Undefined(f"diffusers has no pipeline for {generator.algorithm}, only for {known}")
    pipeline, call = build(generator, _unconditional(generator, label), steps)
    with replacing_folder(path) as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
    hint = f"{type(pipeline).__name__}.from_pretrained('{path}')({call})"
    return Exported(path, _size(path), hint)


def _ddim_pipeline(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None
) -> tuple[Any, str]:
    """Return the pipeline that gives our DDIM sampler's images from the same noise, and its call.

    diffusers' DDIM walks as ours does where the number of steps divides that of timesteps, and
    derives the noise from the clipped image only if it is told to.
    """
    if steps is not None:
        raise ValueError("expected no steps: the pipeline takes them as num_inference_steps")
    model: Any = generator.model
    timesteps = len(model.schedule)
    scheduler = DDIMScheduler(
        num_train_timesteps=timesteps,
        trained_betas=model.schedule.betas.tolist(),
        prediction_type=_prediction(generator),
        timestep_spacing="trailing",
        clip_sample=True,
        set_alpha_to_one=True,
    )
    fitting = max(n for n in range(1, 51) if timesteps % n == 0)
    call = f"num_inference_steps={fitting}, use_clipped_model_output=True"
    return DDIMPipeline(unet, scheduler), call


def _flow_pipeline(
    generator: LoadedGenerator, unet: UNet2DModel, steps: int | None
) -> tuple[Any, str]:
    """Return the pipeline that gives our Euler sampler's images from the same noise, and its call.

    diffusers' scheduler spaces its times evenly from 1 to 1/steps, as ours does, only if it is
    told this last one: the folder is made for a number of steps.
    """
    steps = steps or DEFAULT_FLOW_STEPS
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift_terminal=None if steps == 1 else 1 / steps  # a single step begins and ends at 1
    )
    return DDPMPipeline(unet, scheduler), f"num_inference_steps={steps}"


def _prediction(generator: LoadedGenerator) -> str:
    wanted = str(getattr(generator.config, "prediction", ""))
    if wanted not in PREDICTIONS:
        raise Undefined(f"diffusers has no scheduler for the prediction {wanted!r}")
    return PREDICTIONS[wanted]


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
    if unet.config["in_channels"] != generator.shape[0]:
        raise Undefined("diffusers has no pipeline for a U-Net on patches, only for one on pixels")
    weights = {name: tensor.detach().cpu() for name, tensor in unet.state_dict().items()}
    weights.pop("class_embedding.weight", None)
    row = torch.tensor([_row(generator, label)], device=generator.device)
    if generator.conditions.given:
        bias = "time_embedding.linear_2.bias"
        weights[bias] = weights[bias] + denoiser.added_to_time(row)[0].cpu()
    _, height, width = generator.shape
    config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    config["num_class_embeds"] = config["class_embed_type"] = None
    config["sample_size"] = height if height == width else (height, width)
    plain: UNet2DModel = UNet2DModel(**config)
    plain.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
    _check_same(generator, plain.eval(), row)
    return plain


@torch.inference_mode()
def _check_same(generator: LoadedGenerator, plain: UNet2DModel, row: Tensor) -> None:
    """Check that a U-Net predicts what the generator's network does.

    Raises:
        Undefined: if it does not: it pads images, say.
    """
    x = NoiseSource([0]).normal(*generator.shape)
    t = torch.tensor([500.0])
    device = generator.device
    ours = generator.averages["denoiser"](x.to(device), t.to(device), row).cpu()
    try:
        theirs = plain(x, t, return_dict=False)[0]
    except RuntimeError as error:  # sides that cannot be halved
        raise Undefined(f"diffusers' U-Net does not take images of this size ({error})") from error
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


Build = Callable[[LoadedGenerator, UNet2DModel, int | None], tuple[Any, str]]
PIPELINES: dict[str, Build] = {
    "diffusion.ddpm": _ddim_pipeline,
    "diffusion.flow": _flow_pipeline,
}

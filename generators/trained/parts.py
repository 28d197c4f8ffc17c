"""A folder of diffusers' parts, and the few lines that draw our images with them.

For models that no pipeline class of diffusers walks through: U-Nets on patches or on padded images,
EDM, ECT, flow matching of latents, by the clean image, or shown what it last made of that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_edm_euler import EDMEulerScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)

from generators.diffusion import edm
from generators.latent.autoencoder import Scale, make_autoencoder
from generators.specs.diffusion_samplers import ConsistencySampler
from generators.specs.registry import get_spec
from generators.trained.sampling import LoadedGenerator

# diffusers' names of what the network predicts
PREDICTIONS = {"v": "v_prediction", "epsilon": "epsilon", "x0": "sample"}
DEFAULT_STEPS = 50

README = """# {label}, for diffusers

`{name}` in {inside}, written with diffusers {version}. No pipeline class of diffusers walks as this
model does. `python -m generators sample FOLDER` draws from it, and in this folder these lines draw
what our sampler `{sampler}` draws from the same noise, without our package:

```python
{code}
```

{patches}"""
CODE = """\
import hashlib

import torch
from diffusers import {classes}
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

FOLDER = "."  # this one
{loading}


def predict(x, t):
    places = pixel_unshuffle(pad(x, (0, {right}, 0, {below})), {patch})
    found = unet(places, t, return_dict=False)[0]
    return pixel_shuffle(found, {patch})[:, :, :{height}, :{width}]


@torch.inference_mode()
def draw(generators, steps={steps}):
    \"\"\"Return an image of each torch.Generator, (N, {planes}, height, width) in [-1, 1].\"\"\"

    def noise():
        return torch.stack([torch.randn({shape}, generator=g) for g in generators])

{walk}
    return {images}.clamp(-1, 1)


def stream(seed):
    \"\"\"Return the noise of an image of our samplers.\"\"\"
    digest = hashlib.sha256(f"image/{{seed}}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


images = draw([stream(seed) for seed in range(4)])"""

DDIM_WALK = """\
    scheduler.set_timesteps(steps)  # a divisor of {timesteps}
    x = noise()
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t), t, x, use_clipped_model_output=True).prev_sample"""
SHOWN_WALK = """\
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    x = noise()
    clean = torch.zeros_like(x)  # what the last step made of the image: the network is shown it
    for t in scheduler.timesteps:
        velocity = {velocity}
        clean = (x - t / 1000 * velocity){clamp}
        x = scheduler.step(velocity, t, x).prev_sample"""
FLOW_WALK = """\
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    x = noise()
    for t in scheduler.timesteps:
        x = scheduler.step({velocity}, t, x).prev_sample"""
EDM_WALK = """\
    scheduler.set_timesteps(steps)
    x = {sigma_max} * noise()
    for t in scheduler.timesteps:
        found = predict(scheduler.scale_model_input(x, t), {scale} * t)
        x = scheduler.step(found, t, x).prev_sample"""
CLEAN_EDM_WALK = """\
    scheduler.set_timesteps(steps)
    x, sigmas = {sigma_max} * noise(), scheduler.sigmas
    for t, sigma, lower in zip(scheduler.timesteps, sigmas, sigmas[1:]):
        clean = predict(scheduler.precondition_inputs(x, sigma), {scale} * t)
        x = clean + lower / sigma * (x - clean)"""
ECT_WALK = """\
    x = torch.zeros(())
    for sigma in ({levels})[:steps]:
        x, root = x + sigma * noise(), (sigma**2 + {data}**2) ** 0.5
        found = predict(x / root, {scale} / 4 * torch.tensor(sigma).log())
        x = ({data} / root) ** 2 * x + sigma * {data} / root * found"""


@dataclass(frozen=True)
class Walk:
    """How to draw with a scheduler of diffusers, or without one."""

    sampler: str  # of ours, that draws the same
    scheduler: Any
    code: str
    steps: int


def denoising_model(generator: LoadedGenerator) -> Any:
    """Return the diffusion model, which for a latent one is that of its latents."""
    return getattr(generator.model, "prior", generator.model)


def make_walk(generator: LoadedGenerator, steps: int | None) -> Walk:
    """Return how diffusers draws what one of our samplers does."""
    kind, model = generator.algorithm.partition(".")[2], denoising_model(generator)
    return WALKS[kind](model, steps)


def ddim_scheduler(model: Any) -> Any:
    """Return the scheduler that walks as our DDIM does where the steps divide the timesteps."""
    return DDIMScheduler(
        num_train_timesteps=len(model.schedule),
        trained_betas=model.schedule.betas.tolist(),
        prediction_type=PREDICTIONS[model.config.prediction],
        timestep_spacing="trailing",
        clip_sample=model.value_range is not None,
        set_alpha_to_one=True,
    )


def fitting_steps(timesteps: int) -> int:
    """Return the largest divisor of the timesteps that is at most our default."""
    return max(n for n in range(1, DEFAULT_STEPS + 1) if timesteps % n == 0)


def _ddim(model: Any, steps: int | None) -> Walk:
    timesteps = len(model.schedule)
    code = DDIM_WALK.format(timesteps=timesteps)
    return Walk("ddim", ddim_scheduler(model), code, steps or fitting_steps(timesteps))


def _flow(model: Any, steps: int | None) -> Walk:
    config = model.config
    shown = config.self_conditioning
    velocity = "predict(torch.cat([x, clean], 1), t)" if shown else "predict(x, t)"
    if config.prediction == "x0":
        velocity = f"(x - {velocity}) / (t / 1000)"
    clamp = "" if model.value_range is None else ".clamp(-1, 1)"
    code = (SHOWN_WALK if shown else FLOW_WALK).format(velocity=velocity, clamp=clamp)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=config.time_shift)
    return Walk("euler", scheduler, code, steps or DEFAULT_STEPS)


def _edm(model: Any, steps: int | None) -> Walk:
    config = model.config
    scheduler = EDMEulerScheduler(
        sigma_min=config.sigma_min, sigma_max=config.sigma_max, sigma_data=config.sigma_data
    )
    walk = CLEAN_EDM_WALK if config.prediction == "x0" else EDM_WALK
    code = walk.format(sigma_max=config.sigma_max, scale=edm.TIME_SCALE)
    return Walk("euler", scheduler, code, steps or DEFAULT_STEPS)


def _ect(model: Any, steps: int | None) -> Walk:
    sampler = ConsistencySampler(**({} if steps is None else {"steps": steps}))
    levels = ", ".join(map(str, [model.config.sigma_max, *sampler.levels()]))
    code = ECT_WALK.format(levels=levels + ",", data=model.config.sigma_data, scale=edm.TIME_SCALE)
    return Walk("consistency", None, code, sampler.steps)


WALKS = {"ddpm": _ddim, "flow": _flow, "edm": _edm, "ect": _ect}


def standard_autoencoder(generator: LoadedGenerator) -> AutoencoderKL:
    """Return diffusers' autoencoder of standardised latents: the scale is in its 1 x 1 layers."""
    model: Any = generator.model
    networks, scale = generator.averages, generator.averages["scale"]
    assert isinstance(scale, Scale), "a latent model has one"
    state = {**networks["encoder"].state_dict(), **networks["decoder"].state_dict()}
    weights = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    mean, deviation = scale.mean.cpu(), scale.deviation.cpu()
    into, out = weights["post_quant_conv.weight"], weights["quant_conv.weight"]
    weights["post_quant_conv.bias"] += into.flatten(1) @ mean
    into *= deviation[None, :, None, None]
    shift = torch.cat([mean, 2 * deviation.log()])  # of the means and the log variances
    factor = torch.cat([deviation, torch.ones_like(deviation)])
    weights["quant_conv.bias"] = (weights["quant_conv.bias"] - shift) / factor
    out /= factor[:, None, None, None]
    whole = make_autoencoder(model.config, model.shape)
    whole.load_state_dict(weights)
    return whole.eval()


def write_parts(generator: LoadedGenerator, unet: UNet2DModel, walk: Walk, folder: Path) -> None:
    """Write the parts into a folder, with a README.md that says how to draw with them."""
    loading = {"unet": unet, "scheduler": walk.scheduler}
    if "scale" in generator.averages:
        loading["vae"] = standard_autoencoder(generator)
    parts = {name: part for name, part in loading.items() if part is not None}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "README.md").write_text(_readme(generator, walk, parts), "utf-8")


def _readme(generator: LoadedGenerator, walk: Walk, parts: dict[str, Any]) -> str:
    code, denoiser = _code(generator, walk, parts), generator.averages["denoiser"]
    spec = get_spec(generator.algorithm)
    return README.format(
        label=spec.label,
        name=spec.name,
        inside="latent space" if "vae" in parts else "pixels",
        version=diffusers.__version__,
        sampler=walk.sampler,
        code=code,
        patches=_patches(denoiser),
    )


def _images(generator: LoadedGenerator) -> str:
    """Return the words that make images of latents."""
    decoder: Any = generator.averages["decoder"]
    decoded = "vae.decode(x).sample"
    return decoded if decoder.patch == 1 else f"pixel_shuffle({decoded}, {decoder.patch})"


def _patches(denoiser: Any) -> str:
    side, (below, right) = denoiser.patch, denoiser.margins
    found = ""
    if side > 1:
        found += f"The U-Net works on patches of {side} x {side}: `pixel_unshuffle` makes each one "
        found += "place of more channels, `pixel_shuffle` undoes it.\n"
    if below or right:
        found += (
            f"{below} rows of zeros below and {right} columns to the right are cut off again.\n"
        )
    return found


def _code(generator: LoadedGenerator, walk: Walk, parts: dict[str, Any]) -> str:
    denoiser: Any = generator.averages["denoiser"]
    planes, height, width = denoising_model(generator).shape
    below, right = denoiser.margins
    load = '{0} = {1}.from_pretrained(FOLDER, subfolder="{0}"{2})'
    weights = {"unet", "vae"}
    return CODE.format(
        classes=", ".join(sorted(type(part).__name__ for part in parts.values())),
        loading="\n".join(
            load.format(name, type(part).__name__, ", use_safetensors=True" * (name in weights))
            for name, part in parts.items()
        ),
        right=right,
        below=below,
        patch=denoiser.patch,
        height=height,
        width=width,
        steps=walk.steps,
        planes=generator.shape[0],
        shape=f"{planes}, {height}, {width}",
        walk=walk.code,
        images=_images(generator) if "vae" in parts else "x",
    )

"""What no pipeline class of diffusers walks through is drawn by its parts, without our code."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generators.algorithm.contract import build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.specs.conditions import Conditions
from generators.specs.diffusion_configs import FlowConfig
from generators.specs.registry import parse_sampler
from generators.trained.export import export_diffusers
from generators.trained.parts import standard_autoencoder
from generators.trained.sampling import LoadedGenerator
from tests.generators.conftest import TINY

COUNT = 4  # images that a README.md draws, of seeds from 0
PIXELS, COLOURS = (1, 8, 8), (3, 28, 28)

# name: algorithm, shape, options, our sampler; latents of 28 x 28 are 7 x 7 and padded
CASES: dict[str, tuple[str, tuple[int, int, int], dict[str, Any], dict[str, Any]]] = {
    "patches": ("diffusion.ddpm", PIXELS, {"patch": 2}, {"name": "ddim", "steps": 8}),
    "padded": ("diffusion.ddpm", (1, 9, 11), {"prediction": "x0"}, {"name": "ddim", "steps": 8}),
    "flow": ("diffusion.flow", PIXELS, {"patch": 2}, {"name": "euler", "steps": 6}),
    "clean": ("diffusion.flow", PIXELS, {"prediction": "x0"}, {"name": "euler", "steps": 6}),
    "shifted": ("diffusion.flow", PIXELS, {"time_shift": 3.0}, {"name": "euler", "steps": 6}),
    "edm": ("diffusion.edm", PIXELS, {"patch": 2}, {"name": "euler", "steps": 6}),
    "clean-edm": (
        "diffusion.edm",
        PIXELS,
        {"prediction": "x0", "patch": 2},
        {"name": "euler", "steps": 6},
    ),
    "ect": ("diffusion.ect", PIXELS, {}, {"steps": 3}),
    "latent-ddpm": ("latent.ddpm", COLOURS, {"timesteps": 40}, {"name": "ddim", "steps": 8}),
    "latent-edm": ("latent.edm", PIXELS, {}, {"name": "euler", "steps": 6}),
    "latent-flow": ("latent.flow", COLOURS, {}, {"name": "euler", "steps": 6}),
    "latent-patches": (
        "latent.ddpm",
        (1, 16, 16),
        {"autoencoder_patch": 2, "timesteps": 40},
        {"name": "ddim", "steps": 8},
    ),
    "latent-ect": ("latent.ect", PIXELS, {}, {"steps": 2}),
}
PIPELINE = ("latent.ddpm", PIXELS, {"timesteps": 40}, {"name": "ddim", "steps": 8})

DRAWING = """
import json, os, sys
import numpy as np
from diffusers import DiffusionPipeline

folder, seeds = sys.argv[1], json.loads(sys.argv[2])
for name in sorted(os.listdir(folder)):
    os.chdir(os.path.join(folder, name))
    if os.path.exists("README.md"):
        code = open("README.md").read().split("```")[1].removeprefix("python")
        found = {}
        exec(code, found)
        images = found["images"].numpy()
    else:
        pipeline = DiffusionPipeline.from_pretrained(".", use_safetensors=True)
        pipeline.set_progress_bar_config(disable=True)
        streams = [found["torch"].Generator().manual_seed(seed) for seed in seeds]
        drawn = pipeline(len(seeds), streams, num_inference_steps=8, output_type="np")
        images = np.moveaxis(drawn.images, -1, 1) * 2 - 1
    np.save("images.npy", images)
ours = [name for name in sys.modules if name.split(".")[0] in ("generators", "evaluation")]
assert ours == [], ours
"""


def made(algorithm: str, shape: tuple[int, int, int], **changes: Any) -> LoadedGenerator:
    """Return a generator whose weights are far from those that trainings begin with."""
    config = dataclasses.replace(TINY[algorithm], **changes)
    if isinstance(config, FlowConfig):  # shown its own estimate it has no parts: see test_export
        config = dataclasses.replace(config, self_conditioning=False)
    model = build_algorithm(
        algorithm, config, shape=shape, conditions=Conditions.of_classes(3), seed=0
    )
    noise = torch.Generator().manual_seed(0)
    for network in model.networks.values():
        network.eval().requires_grad_(False)
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise), alpha=0.05)
    if "scale" in model.networks:
        scale: Any = model.networks["scale"]
        scale.mean.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        scale.deviation.copy_(torch.tensor([2.0, 0.5, 1.0, 3.0]))
    return LoadedGenerator(
        algorithm=algorithm,
        config=config,
        conditions=Conditions.of_classes(3),
        classes=[],
        shape=shape,
        parameters=0,
        images_seen=0,
        device=torch.device("cpu"),
        model=model,
    )


@torch.inference_mode()
def ours(generator: LoadedGenerator, sampler: dict[str, Any]) -> np.ndarray:
    chosen, labels = parse_sampler(generator.algorithm, sampler), torch.ones(COUNT, 1).long()
    noise = NoiseSource(range(COUNT))
    return generator.model.sample(generator.averages, labels, noise, chosen).numpy()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Return a folder of exported models, drawn from in a process of its own, and our images."""
    folder, images = tmp_path_factory.mktemp("exported"), {}
    for name, (algorithm, shape, changes, sampler) in {**CASES, "pipeline": PIPELINE}.items():
        generator = made(algorithm, shape, **changes)
        steps = None if name == "pipeline" else sampler["steps"]
        exported = export_diffusers(generator, folder / name, label=1, steps=steps)
        assert ("README.md" in exported.hint) == (name in CASES)
        images[name] = ours(generator, sampler)
    seeds = [int(NoiseSource([i])._generators[0].initial_seed()) for i in range(COUNT)]
    command = [sys.executable, "-I", "-c", DRAWING, str(folder), json.dumps(seeds)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return folder, images


@pytest.mark.parametrize("name", [*CASES, "pipeline"])
def test_the_parts_draw_our_images_without_our_code(
    name: str, expected: tuple[Path, dict[str, np.ndarray]]
) -> None:
    folder, images = expected

    found = np.load(folder / name / "images.npy")

    assert found.shape == images[name].shape
    assert np.abs(found - images[name]).max() < 1e-3
    assert np.abs(images[name][0] - images[name][1]).max() > 0.01


def test_a_folder_of_parts_says_what_is_patched(
    expected: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, _ = expected
    patched = (folder / "patches" / "README.md").read_text()
    padded = (folder / "padded" / "README.md").read_text()

    assert "works on patches of 2 x 2" in patched and "rows of zeros" not in patched
    assert re.search(r"\d rows of zeros below and \d columns", padded)
    assert sorted(p.name for p in (folder / "latent-edm").iterdir() if p.is_dir()) == [
        "scheduler",
        "unet",
        "vae",
    ]


def test_the_autoencoder_of_the_parts_has_the_latents_scale() -> None:
    generator = made("latent.flow", PIXELS)
    images = torch.rand(2, *PIXELS, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole: Any = standard_autoencoder(generator)

    with torch.inference_mode():
        posterior = whole.encode(images).latent_dist
        found = whole.decode(posterior.mean).sample
        _, log_variance = generator.averages["encoder"](images)

    codes = generator.model.encode(generator.averages, images, None)
    deviation: Any = generator.averages["scale"].deviation
    assert torch.allclose(posterior.mean.flatten(1), codes, atol=1e-4)
    expected = (0.5 * log_variance).exp() / deviation[:, None, None]
    assert torch.allclose(posterior.std, expected, rtol=1e-3)
    decoded = generator.model.reconstruct(generator.averages, images, None)
    assert torch.allclose(found.clamp(-1, 1), decoded, atol=1e-4)

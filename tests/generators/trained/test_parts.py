"""What no pipeline class of diffusers walks through is drawn by its parts, without our code."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generators.algorithm.contract import build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.algorithm.pixels import to_uint8
from generators.pipelines.drawing import Tally, draw
from generators.pipelines.loading import load
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler, completed
from generators.specs.pipelines.reading import inspect
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
    "shown": (
        "diffusion.flow",
        (1, 9, 12),
        {"self_conditioning": True, "patch": 2},
        {"name": "euler", "steps": 6},
    ),
    "clean-shown": (
        "diffusion.flow",
        PIXELS,
        {"self_conditioning": True, "prediction": "x0"},
        {"name": "euler", "steps": 6},
    ),
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
    "latent-shown": (
        "latent.flow",
        PIXELS,
        {"self_conditioning": True},
        {"name": "euler", "steps": 6},
    ),
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
    plain = {"self_conditioning": False} if "self_conditioning" in vars(TINY[algorithm]) else {}
    config = dataclasses.replace(TINY[algorithm], **{**plain, **changes})
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


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_drawn_from_as_where_they_were_trained(
    name: str, expected: tuple[Path, dict[str, np.ndarray]]
) -> None:
    folder, images = expected
    algorithm, (channels, height, width), _, sampler = CASES[name]
    steps = sampler["steps"]

    pipeline, tally = load(folder / name), Tally()
    chosen = PipelineSampler(steps=0)  # the folder's own number
    found = np.concatenate(
        list(draw(pipeline, chosen, seeds=range(COUNT), batch_size=3, tally=tally))
    )

    assert pipeline.card.pipeline == algorithm and pipeline.card.asked == "nothing"
    assert found.shape == (COUNT, channels, height, width)
    expected_pixels = to_uint8(torch.from_numpy(images[name])).numpy().astype(int)
    assert np.abs(found - expected_pixels).max() <= 1  # a class is in a bias: it rounds otherwise
    assert (found != expected_pixels).mean() < 0.01
    assert tally.evaluations == COUNT * steps


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"algorithm": "gan.sngan"}, "algorithm: expected one of diffusion.ddpm, "),
        ({"shape": [1, 8]}, "shape: expected channels, height and width, got [1, 8]"),
        ({"shape": [1, 8, 9000]}, "shape: expected channels, height and width, got [1, 8, 9000]"),
        ({"config": {"patches": 2}}, "config: patches: unknown field, did you mean 'patch'?"),
        ({"config": []}, "config: expected options, got []"),
        ({"call": {}}, "expected a call with num_inference_steps"),
        ({"call": {"num_inference_steps": "2"}}, "trilemma.json: expected a call with"),
    ],
)
def test_parts_that_say_nothing_of_sense_are_refused(
    about: dict[str, Any],
    message: str,
    expected: tuple[Path, dict[str, np.ndarray]],
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(expected[0] / "edm", tmp_path / "edm"))
    said = json.loads((folder / "trilemma.json").read_text())
    (folder / "trilemma.json").write_text(json.dumps({**said, **about}))

    (problem,) = inspect(folder).problems

    assert message in problem


def test_what_parts_cannot_do_is_said_at_its_field(
    expected: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder, _ = expected

    for name, options, message in (
        ("latent-ddpm", {"steps": 41}, "steps: expected at most the schedule's 40, got 41"),
        ("ect", {"steps": 6}, "steps: "),
        ("edm", {"guidance": 2.0}, "guidance: expected 1: diffusion.edm knows no guidance"),
        ("edm", {"scheduler": "DDIMScheduler"}, "scheduler: expected own for diffusion.edm"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}"):
            completed(PipelineSampler(**options), inspect(folder / name))
    with pytest.raises(ConfigError, match=r"^precision: expected float32: diffusion.edm is drawn"):
        load(folder / "edm", PipelineConfig(precision="bfloat16"))
    without = Path(shutil.copytree(folder / "flow", tmp_path / "flow"))
    (without / "trilemma.json").unlink()
    (problem,) = inspect(without).problems
    assert "found none but unet, scheduler, parts without the trilemma.json" in problem


def test_weights_of_another_model_are_refused(
    expected: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(expected[0] / "edm", tmp_path / "edm"))
    said = json.loads((folder / "trilemma.json").read_text())
    said["config"]["base_channels"] *= 2
    (folder / "trilemma.json").write_text(json.dumps(said))

    with pytest.raises(PipelineError, match=r"cannot load it: Error.* loading state_dict"):
        load(folder)


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

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler
from diffusers.utils import logging
from safetensors.torch import load_file

from generators.algorithm.contract import Undefined
from generators.algorithm.noise import NoiseSource, generator_for
from generators.specs.options import TrainingConfig, to_dict
from generators.specs.registry import parse_sampler
from generators.trained.export import export_diffusers, export_safetensors
from generators.trained.sampling import LoadedGenerator, load_generator
from generators.training.loop import TrainingResult
from tests.generators.conftest import TINY, exactly, make_data, train_tiny

SEEDS = [3, 4, 5]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def trained_generator(
    algorithm: str, directory: Path, *, side: int = 8, **changes: object
) -> LoadedGenerator:
    """Return a generator whose last layers are far from the zeros they begin with."""
    config: TrainingConfig = dataclasses.replace(TINY[algorithm], **changes)  # type: ignore[arg-type]  # of its fields
    data = make_data(side=side)
    generator = load_generator(
        train_tiny(algorithm, directory, config=config, data=data, images=16).checkpoint.path
    )
    noise = torch.Generator().manual_seed(0)
    for parameter in generator.averages["denoiser"].parameters():
        parameter.add_(torch.randn(parameter.shape, generator=noise), alpha=0.05)
    return generator


def ours(generator: LoadedGenerator, label: int | None, **sampler: object) -> np.ndarray:
    """Return images in [-1, 1], (N, C, H, W)."""
    labels = None if label is None else torch.full((len(SEEDS), 1), label)
    with torch.inference_mode():
        images = generator.model.sample(
            generator.averages,
            labels,
            NoiseSource(SEEDS),
            parse_sampler(generator.algorithm, sampler),
        )
    return images.numpy()


def loaded(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, use_safetensors=True)


def theirs(pipeline: Any, **options: object) -> np.ndarray:
    """Return the pipeline's images in [-1, 1], (N, C, H, W), from the noise of our seeds."""
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        batch_size=len(SEEDS),
        generator=[generator_for("cpu", "image", seed) for seed in SEEDS],
        output_type="np",
        **options,
    )
    images: np.ndarray = np.moveaxis(found.images, -1, 1) * 2 - 1
    return images


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction": "v"},
        {"prediction": "v", "zero_terminal_snr": True},
        {"prediction": "x0", "schedule": "linear"},
        {"prediction": "epsilon"},
    ],
)
def test_diffusers_draws_our_ddim_images_from_the_same_noise(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    generator = trained_generator("diffusion.ddpm", tmp_path / "run", **changes)

    exported = export_diffusers(generator, tmp_path / "out", label=1)
    pipeline = loaded(DDIMPipeline, tmp_path / "out")
    found = theirs(pipeline, num_inference_steps=8, use_clipped_model_output=True)

    expected = ours(generator, 1, name="ddim", steps=8)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    assert np.abs(expected - ours(generator, 2, name="ddim", steps=8)).max() > 0.01
    assert exported.hint.endswith("(num_inference_steps=40, use_clipped_model_output=True)")


def test_the_pipeline_of_no_label_draws_what_guidance_calls_free(tmp_path: Path) -> None:
    generator = trained_generator("diffusion.ddpm", tmp_path / "run")

    export_diffusers(generator, tmp_path / "out")
    pipeline = loaded(DDPMPipeline, tmp_path / "out")
    scheduler: Any = DDPMScheduler
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    assert theirs(pipeline, num_inference_steps=8).shape == (3, 1, 8, 8)

    pipeline = loaded(DDIMPipeline, tmp_path / "out")
    found = theirs(pipeline, num_inference_steps=8, use_clipped_model_output=True)
    free = ours(generator, 1, name="ddim", steps=8, guidance=0)
    assert np.abs(found - free).max() < 1e-4


def test_diffusers_draws_our_flow_images_from_the_same_noise(tmp_path: Path) -> None:
    generator = trained_generator("diffusion.flow", tmp_path / "run")

    for steps in (1, 6):
        out = tmp_path / f"out-{steps}"
        exported = export_diffusers(generator, out, label=2, steps=steps)
        found = theirs(loaded(DDPMPipeline, out), num_inference_steps=steps)

        expected = ours(generator, 2, name="euler", steps=steps)
        assert np.abs(found - expected).max() < 1e-4
        assert (
            exported.hint == f"DDPMPipeline.from_pretrained('{out}')(num_inference_steps={steps})"
        )


def test_a_label_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    always = trained_generator("diffusion.ddpm", tmp_path / "always", label_dropout=0.0)
    never = trained_generator("diffusion.ddpm", tmp_path / "never", conditional=False)

    message = "expected a label: the model was trained without label dropout"
    with pytest.raises(ValueError, match=exactly(message)):
        export_diffusers(always, tmp_path / "out")
    with pytest.raises(ValueError, match=exactly("expected a label in 0..2, got 3")):
        export_diffusers(always, tmp_path / "out", label=3)
    message = "expected no label: the generator is unconditional"
    with pytest.raises(ValueError, match=exactly(message)):
        export_diffusers(never, tmp_path / "out", label=0)
    message = "expected no steps: the pipeline takes them as num_inference_steps"
    with pytest.raises(ValueError, match=exactly(message)):
        export_diffusers(never, tmp_path / "out", steps=5)

    assert not (tmp_path / "out").exists()


def test_what_diffusers_has_no_pipeline_for_is_refused_with_the_reason(
    trained: dict[str, TrainingResult], tmp_path: Path
) -> None:
    gan = load_generator(trained["gan.sngan"].checkpoint.path)
    dit = trained_generator("diffusion.ddpm", tmp_path / "dit", backbone="dit", residual_blocks=1)

    for generator, reason in (
        (
            gan,
            "diffusers has no pipeline for gan.sngan, only for diffusion.ddpm, diffusion.flow, d",
        ),
        (dit, "diffusers has no pipeline for this backbone, only for the U-Net"),
    ):
        with pytest.raises(Undefined) as caught:
            export_diffusers(generator, tmp_path / "out", label=None if generator is gan else 0)
        assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("algorithm", ["gan.sngan", "vae.conv"])
def test_averaged_weights_are_written_as_one_file_and_a_config(
    algorithm: str, trained: dict[str, TrainingResult], tmp_path: Path
) -> None:
    generator = load_generator(trained[algorithm].checkpoint.path)

    exported = export_safetensors(generator, tmp_path / "out")

    weights = load_file(tmp_path / "out" / "model.safetensors")
    for name, network in generator.averages.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(weights.pop(f"{name}.{key}"), tensor)
    assert weights == {}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["algorithm"] == algorithm and config["config"] == to_dict(generator.config)
    assert config["shape"] == [1, 8, 8] and config["num_classes"] == 3
    assert exported.bytes == sum(file.stat().st_size for file in (tmp_path / "out").iterdir())


def test_a_folder_with_something_in_it_is_left_alone(
    trained: dict[str, TrainingResult], tmp_path: Path
) -> None:
    generator = load_generator(trained["gan.sngan"].checkpoint.path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("here")

    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        export_safetensors(generator, tmp_path / "out")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]

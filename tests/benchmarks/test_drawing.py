"""Our samplers against diffusers' pipelines: the same U-Net, steps and batch, images compared."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from generators.algorithm.noise import NoiseSource
from generators.specs.diffusion_configs import DDPMConfig
from generators.specs.diffusion_samplers import DDIMSampler
from generators.trained.sampling import draw_from, load_generator
from generators.training.loop import Budget, train
from tests.benchmarks.conftest import Race
from tests.benchmarks.test_training import DEVICE, pictures

STEPS = 20


@pytest.mark.parametrize(("side", "count"), [(8, 100), (16, 32), (32, 8)])
def test_the_pipeline_of_diffusers_takes_no_less(
    race: Race, side: int, count: int, tmp_path: Path
) -> None:
    config = DDPMConfig(batch_size=16, conditional=False)
    run = train(
        "diffusion.ddpm",
        config,
        pictures(64, side),
        None,
        num_classes=0,
        seed=0,
        budget=Budget(images=32),
        device="cpu",
        directory=tmp_path,
    )
    generator = load_generator(run.checkpoint.path, device=DEVICE.type)
    seeds, sampler = range(count), DDIMSampler(steps=STEPS)
    model: Any = generator.model
    unet = model.networks["denoiser"].unet
    unet.register_to_config(sample_size=side)
    pipeline: Any = DDIMPipeline(
        unet,
        DDIMScheduler(
            trained_betas=model.schedule.betas.numpy(),
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    images: dict[str, np.ndarray] = {}

    def ours() -> float:
        images["ours"] = draw_from(generator, sampler, NoiseSource(seeds, DEVICE), None)
        return float(images["ours"].mean())

    def theirs() -> float:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn = pipeline(
            batch_size=count,
            generator=generators,
            num_inference_steps=STEPS,
            use_clipped_model_output=True,
            output_type="np",
        )
        images["theirs"] = drawn.images
        return float(255 * drawn.images.mean())

    result = race(
        f"{count} images of {side}x{side} in {STEPS} steps of DDIM",
        ours,
        {"diffusers": theirs},
        rounds=5,
    )

    assert dataclasses.astuple(sampler)[0] == STEPS and len(images["theirs"]) == count
    assert result.ratio("diffusers") >= (1.2 if side <= 16 else 1.0)

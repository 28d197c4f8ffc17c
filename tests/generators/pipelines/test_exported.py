"""What we export is drawn as a pipeline as we draw it ourselves, from the same seeds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.pipelines.drawing import Tally, draw
from generators.pipelines.loading import load
from generators.specs.options import ConfigError
from generators.specs.pipelines.options import PipelineSampler
from generators.specs.registry import parse_sampler
from generators.trained import sampling
from generators.trained.export import export_diffusers
from tests.generators.conftest import exactly
from tests.generators.trained.test_export import trained_generator

SEEDS = [3, 4, 5]


@pytest.mark.parametrize(
    ("algorithm", "changes", "sampler", "steps"),
    [
        ("diffusion.ddpm", {}, {"name": "ddim", "steps": 8}, 8),
        ("diffusion.ddpm", {}, {"name": "ddim", "steps": 40}, 0),
        ("diffusion.flow", {}, {"name": "euler", "steps": 6}, 0),
        ("latent.ddpm", {}, {"name": "ddim", "steps": 8}, 8),
    ],
)
def test_an_export_draws_our_images(
    algorithm: str,
    changes: dict[str, Any],
    sampler: dict[str, Any],
    steps: int,
    tmp_path: Path,
) -> None:
    generator = trained_generator(algorithm, tmp_path / "run", **changes)
    made = {"steps": sampler["steps"]} if algorithm == "diffusion.flow" else {}
    export_diffusers(generator, tmp_path / "out", label=1, **made)
    labels, ours = np.ones(3, np.int64), parse_sampler(algorithm, sampler)

    expected = next(
        sampling.draw(generator, ours, seeds=SEEDS, labels=labels, batch_size=3)
    ).astype(int)
    pipeline, tally = load(tmp_path / "out"), Tally()
    chosen = PipelineSampler(steps=steps)
    found = next(draw(pipeline, chosen, seeds=SEEDS, batch_size=3, tally=tally))

    assert np.abs(found - expected).max() <= 1
    assert np.abs(expected[0] - expected[1]).max() > 10
    assert tally.evaluations == 3 * sampler["steps"]
    about = json.loads((tmp_path / "out" / "trilemma.json").read_text())
    assert (about["algorithm"], about["images_seen"]) == (algorithm, generator.images_seen)


def test_an_export_keeps_to_what_it_was_made_for(tmp_path: Path) -> None:
    generator = trained_generator("diffusion.flow", tmp_path / "run")
    export_diffusers(generator, tmp_path / "out", label=1, steps=6)
    pipeline = load(tmp_path / "out")

    for options, message in (
        ({"steps": 7}, "steps: expected 6, which the folder is made for; got 7"),
        (
            {"scheduler": "DDIMScheduler"},
            "scheduler: expected own for DDPMPipeline, got DDIMScheduler",
        ),
    ):
        with pytest.raises(ConfigError, match=exactly(message)):
            next(draw(pipeline, PipelineSampler(**options), seeds=[1], batch_size=1))

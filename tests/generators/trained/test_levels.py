import json
import math
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from evaluation.imagesets.in_memory import Images
from generators.algorithm.contract import Algorithm, Undefined, build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.commands import show
from generators.diffusion.schedules import make_schedule
from generators.specs.conditions import Conditions
from generators.specs.options import parse
from generators.specs.registry import ALGORITHMS, get_spec
from generators.trained.levels import noise_levels
from tests.generators.toy import toy_generator

TIMES = [0, 0.25, 0.5, 1]


def made(algorithm: str, **options: Any) -> Any:
    config = parse(get_spec(algorithm).config, options)
    model: Algorithm = build_algorithm(
        algorithm,
        config,
        shape=(1, 8, 8),
        conditions=Conditions.from_record({"num_classes": 0}),
        seed=0,
    )
    return cast(Any, SimpleNamespace(model=model, shape=model.shape))


def test_levels_of_ddpm_are_those_of_its_schedule() -> None:
    levels = noise_levels(made("diffusion.ddpm", timesteps=100, schedule="cosine"), TIMES)

    alpha_bars = make_schedule("cosine", 100).alpha_bars
    expected = [1.0, *(float(alpha_bars[t - 1]) for t in (25, 50, 100))]
    assert [level.alpha_bar for level in levels] == pytest.approx(expected, rel=1e-12)
    decibels = [10 * math.log10(each / (1 - each)) for each in expected[1:]]
    assert [level.snr_db for level in levels[1:]] == pytest.approx(decibels)
    assert levels[0].snr_db == math.inf


@pytest.mark.parametrize(
    "algorithm", [name for name in ALGORITHMS if name.startswith("diffusion.")]
)
def test_noise_is_added_as_the_levels_say(algorithm: str) -> None:
    generator = made(algorithm)
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 8, 8))).float()
    epsilon = NoiseSource([7]).normal(1, 8, 8)

    for level in noise_levels(generator, TIMES):
        found = generator.model.add_noise(images, level.time, NoiseSource([7]))
        assert torch.allclose(found, level.signal * images + level.noise * epsilon, atol=1e-5)


def test_what_adds_no_noise_has_no_levels() -> None:
    with pytest.raises(Undefined, match="no forward process"):
        noise_levels(made("gan.dcgan"), TIMES)
    with pytest.raises(ValueError, match=r"^expected times in 0\.\.1, got 2$"):
        noise_levels(made("diffusion.flow"), [0, 2])


def test_noise_of_what_names_no_parts_is_written_without_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = toy_generator()
    pixels = np.zeros((1, *generator.shape), np.uint8)
    monkeypatch.setattr(show, "open_generator", lambda options: generator)
    monkeypatch.setattr(show, "real_images", lambda *given, most: Images(pixels, None, ()))
    options = Namespace(out=tmp_path / "noisy.npz", times=[0.0, 1.0], seed=3, json=True)

    assert show.noise(options) == 0

    record = json.loads(capsys.readouterr().out)
    assert (record["num"], record["alpha_bar"], record["snr_db"]) == (1, [], [])
    assert options.out.exists()

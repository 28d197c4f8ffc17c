"""How much memory a training takes is known before it does."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.imagesets.writing import write_npz
from generators.__main__ import main
from generators.algorithm.contract import build_algorithm
from generators.specs.conditions import Conditions
from generators.training import memory
from generators.training.memory import check_memory, container_room, estimate, free_bytes
from tests.generators.conftest import TINY, make_data

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("algorithm", ["vae.conv", "diffusion.ddpm", "latent.flow"])
def test_activations_grow_with_the_images(algorithm: str) -> None:
    model = build_algorithm(
        algorithm, TINY[algorithm], shape=SHAPE, conditions=Conditions.of_classes(3), seed=0
    )

    needed = estimate(algorithm, TINY[algorithm], shape=SHAPE, conditions=Conditions.of_classes(3))
    kept = max(memory._kept(model, phase, 16) for phase in model.phases())

    assert needed.total(16) - needed.state == pytest.approx(kept, rel=0.01)
    assert needed.activations_per_image > 8 * 8 * 4  # more than the image


def test_a_gan_has_weights_gradients_and_two_moments_and_averages_one_network() -> None:
    model = build_algorithm(
        "gan.dcgan", TINY["gan.dcgan"], shape=SHAPE, conditions=Conditions.of_classes(3), seed=0
    )

    needed = estimate(
        "gan.dcgan", TINY["gan.dcgan"], shape=SHAPE, conditions=Conditions.of_classes(3)
    )

    bytes_of = {
        name: sum(t.nbytes for t in network.state_dict().values())
        for name, network in model.networks.items()
    }
    generator, discriminator = bytes_of["generator"], bytes_of["discriminator"]
    assert needed.state == 5 * generator + 4 * discriminator


def test_a_training_that_cannot_fit_is_refused_with_what_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(TINY["vae.conv"], batch_size=1000)
    needed = estimate("vae.conv", config, shape=SHAPE, conditions=Conditions())
    half = needed.state + 500 * needed.activations_per_image

    def check(free: int | None, **changes: Any) -> None:
        monkeypatch.setattr(memory, "free_bytes", lambda _: free)
        changed = dataclasses.replace(config, **changes)
        check_memory("vae.conv", changed, shape=SHAPE, conditions=Conditions(), device="cpu")

    check(None)
    check(needed.total(1000))
    check(half, microbatch=400)
    with pytest.raises(ValueError, match=r"^expected about .* GB of free memory, .* microbatch="):
        check(half)
    with pytest.raises(ValueError, match=r"a smaller model may fit$"):
        check(1000)


def test_the_free_memory_of_a_processor_is_known_on_linux() -> None:
    assert (free_bytes("cpu") or 10**9) > 10**6


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000000\n", 1_000_000 - 900_000 + 300_000), ("max\n", None)]
)
def test_a_container_gives_up_what_it_keeps_of_files(
    limit: str, expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text(
        "anon 500000\nactive_file 100000\ninactive_file 200000\nfile 400000\n"
    )

    assert container_room(tmp_path, "memory.max", "memory.current") == expected
    assert container_room(tmp_path / "none", "memory.max", "memory.current") is None


def test_the_command_line_says_so_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "data.npz", make_data(8).images, np.zeros(8, np.int64))
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    out = tmp_path / "out"

    status = main(
        [
            *("train", "vae.conv", "--data", str(tmp_path / "data.npz"), "--out", str(out)),
            *("--budget-images", "8", "--device", "cpu"),
        ]
    )

    assert status == 2
    assert "GB of free memory, " in capsys.readouterr().err
    assert not out.exists()

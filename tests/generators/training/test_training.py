import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from evaluation.imagesets.atomic import sha256_of
from generators.training.batches import BatchStream
from generators.training.budgets import Budget, schedule
from generators.training.checkpoints import WEIGHTS, list_checkpoints
from generators.training.clock import DeviceClock
from generators.training.loop import SavedCheckpoint, TrainingProgress, train
from tests.generators.conftest import TINY, exactly, make_data, train_tiny

VAE = TINY["vae.conv"]

# --- budgets and schedules ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "seconds"), [(None, None), (1, 1.0), (0, None), (None, -1.0), (None, float("nan"))]
)
def test_a_budget_is_either_images_or_seconds(images: int | None, seconds: float | None) -> None:
    message = (
        "expected either images or device_seconds, above 0, "
        f"got images={images}, device_seconds={seconds}"
    )

    with pytest.raises(ValueError, match=exactly(message)):
        Budget(images, seconds)


def test_the_spent_fraction_is_of_whichever_is_set() -> None:
    assert Budget(images=200).fraction(50, 1e9) == 0.25
    assert Budget(device_seconds=20.0).fraction(10**9, 5.0) == 0.25
    assert Budget(images=200).fraction(500, 0) == 1


@given(fraction=st.floats(0, 1), warmup=st.floats(0, 0.5))
def test_the_learning_rate_stays_between_nothing_and_its_peak(
    fraction: float, warmup: float
) -> None:
    for decay in ("constant", "linear", "cosine"):
        assert 0 <= schedule(fraction, warmup=warmup, decay=decay) <= 1


def test_the_learning_rate_rises_and_falls() -> None:
    assert schedule(0.05, warmup=0.1, decay="cosine") == 0.5
    assert schedule(0.1, warmup=0.1, decay="cosine") == 1
    assert schedule(0.55, warmup=0.1, decay="cosine") == pytest.approx(0.5)
    assert schedule(0.55, warmup=0.1, decay="linear") == pytest.approx(0.5)
    assert schedule(1.0, warmup=0.1, decay="linear") == 0
    assert schedule(1.0, warmup=0.1, decay="constant") == 1


# --- the stream of images -----------------------------------------------------------------------


def make_stream(count: int = 10, *, seed: int = 0, flip: bool = False) -> BatchStream:
    images = np.zeros((count, 1, 8, 8), np.uint8)
    images[:, 0, :, 0] = np.arange(count)[:, None]
    return BatchStream(
        images,
        np.arange(count)[:, None],
        seed=seed,
        device=torch.device("cpu"),
        horizontal_flip=flip,
    )


def labels_of(stream: BatchStream, start: int, count: int) -> list[int]:
    labels = stream.batch(start, count).labels
    assert labels is not None
    return labels[:, 0].tolist()


def test_each_epoch_shows_every_image_once_in_a_new_order() -> None:
    stream = make_stream()

    first, second = labels_of(stream, 0, 10), labels_of(stream, 10, 10)

    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert labels_of(make_stream(), 0, 10) == first
    assert labels_of(make_stream(seed=1), 0, 10) != first


def test_a_look_at_some_images_is_evenly_spaced_over_all() -> None:
    stream = make_stream(20)

    some, everything = list(stream.epoch(2, most=5)), list(stream.epoch(8, most=100))

    found = [batch.labels[:, 0].tolist() for batch in some if batch.labels is not None]
    assert found == [[0, 4], [8, 12], [16]]
    assert [len(batch.images) for batch in everything] == [8, 8, 4]


@given(start=st.integers(0, 100), count=st.integers(1, 40))
def test_the_stream_does_not_depend_on_how_it_is_cut(start: int, count: int) -> None:
    stream = make_stream()

    piecewise = [labels_of(stream, start + i, 1)[0] for i in range(count)]

    assert labels_of(stream, start, count) == piecewise


def test_a_batch_holds_images_in_the_training_range_with_their_labels() -> None:
    batch = make_stream().batch(3, 4)

    assert batch.labels is not None
    assert torch.allclose(batch.images[:, 0, 0, 0], batch.labels[:, 0] / 127.5 - 1)
    assert batch.images[:, 0, :, 1:].eq(-1).all()


def test_flipping_mirrors_about_half_of_the_images() -> None:
    images = make_stream(200, flip=True).batch(0, 200).images

    mirrored = (images[:, 0, 0, -1] > -1).sum()
    assert 60 < int(mirrored) < 140
    assert torch.equal(images, make_stream(200, flip=True).batch(0, 200).images)


# --- the loop -----------------------------------------------------------------------------------


def test_a_training_ends_exactly_at_its_budget_of_images(tmp_path: Path) -> None:
    reports: list[TrainingProgress] = []

    result = train_tiny("vae.conv", tmp_path, images=70, on_progress=reports.append)

    assert result.images_seen == 70 and not result.stopped
    assert result.checkpoint.path.name == "ckpt-70"
    assert reports[-1].images_seen == 70
    assert reports[-1].budget_fraction == 1
    assert reports[-1].device_seconds > 0
    assert reports[-1].images_per_second > 0
    assert set(reports[-1].losses) == {"elbo", "mse", "kl"}


def test_a_training_ends_when_its_device_seconds_are_spent(tmp_path: Path) -> None:
    result = train_tiny("vae.conv", tmp_path, budget=Budget(device_seconds=0.3))

    assert 0.3 <= result.device_seconds < 1
    assert result.images_seen > 16
    assert result.images_seen % 16 == 0


def test_progress_is_reported_about_once_a_second_and_never_per_step(tmp_path: Path) -> None:
    times: list[float] = []

    result = train_tiny(
        "vae.conv",
        tmp_path,
        budget=Budget(device_seconds=1.6),
        on_progress=lambda _: times.append(time.monotonic()),
    )

    assert result.images_seen > 16 * 30
    assert 2 <= len(times) <= 8


def test_a_training_stops_within_a_second_of_being_asked(tmp_path: Path) -> None:
    began = time.monotonic()

    result = train_tiny(
        "vae.conv",
        tmp_path,
        images=10**9,
        should_stop=lambda: time.monotonic() > began + 0.3,
    )

    assert time.monotonic() - began < 2
    assert result.stopped
    assert 0 < result.images_seen < 10**9
    assert result.checkpoint.images_seen == result.images_seen


def test_a_training_asked_to_stop_at_once_still_leaves_a_checkpoint(tmp_path: Path) -> None:
    result = train_tiny("vae.conv", tmp_path, should_stop=lambda: True)

    assert result.stopped and result.images_seen == 0
    assert [path.name for path in list_checkpoints(tmp_path)] == ["ckpt-0"]
    assert train_tiny("vae.conv", tmp_path).images_seen == 64


def test_checkpoints_come_at_multiples_and_the_last_two_stay(tmp_path: Path) -> None:
    saved: list[SavedCheckpoint] = []

    train_tiny(
        "vae.conv", tmp_path, images=112, checkpoint_every_images=40, on_checkpoint=saved.append
    )

    assert [checkpoint.images_seen for checkpoint in saved] == [48, 80, 112]
    assert [path.name for path in list_checkpoints(tmp_path)] == ["ckpt-112", "ckpt-80"]
    assert saved[-1].device_seconds >= saved[0].device_seconds > 0


def test_a_finished_training_called_again_says_so_without_training(tmp_path: Path) -> None:
    saved: list[SavedCheckpoint] = []
    first = train_tiny("vae.conv", tmp_path)

    again = train_tiny("vae.conv", tmp_path, on_checkpoint=saved.append)

    assert again == first
    assert saved == [first.checkpoint]


def test_a_budget_in_seconds_goes_on_where_it_was(tmp_path: Path) -> None:
    polls = iter(range(100))
    budget = Budget(device_seconds=2.0)
    first = train_tiny("vae.conv", tmp_path, budget=budget, should_stop=lambda: next(polls) > 1)

    second = train_tiny("vae.conv", tmp_path, budget=budget)

    assert 0 < first.device_seconds < 2
    assert 2 <= second.device_seconds < 2.5
    assert second.images_seen > first.images_seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "expected seed 1, found 0"),
        ({"images": 80}, "expected budget {'images': 80}, found {'images': 64}"),
        ({"data": make_data(seed=1)}, "expected data_sha256 "),
        ({"config": dataclasses.replace(VAE, learning_rate=0.1)}, "expected config {"),
    ],
)
def test_another_training_is_not_continued(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    saved = train_tiny("vae.conv", tmp_path).checkpoint

    beginning = f"{saved.path} belongs to another training: {message}"
    with pytest.raises(ValueError, match=f"^{re.escape(beginning)}"):
        train_tiny("vae.conv", tmp_path, **changes)  # type: ignore[arg-type]  # one of several


@pytest.mark.slow
def test_a_training_killed_at_any_moment_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from tests.generators.conftest import train_tiny\n"
        f"train_tiny('vae.conv', Path({str(tmp_path / 'killed')!r}), images=2048,"
        " checkpoint_every_images=64, on_checkpoint=lambda saved: print('saved', flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)

    begun: list[int] = []
    resumed = train_tiny(
        "vae.conv",
        tmp_path / "killed",
        images=2048,
        on_checkpoint=lambda saved: begun.append(saved.images_seen),
    )
    whole = train_tiny("vae.conv", tmp_path / "whole", images=2048)

    assert 128 <= begun[0] < 2048
    assert sha256_of(resumed.checkpoint.path / WEIGHTS) == sha256_of(
        whole.checkpoint.path / WEIGHTS
    )


@pytest.mark.parametrize(
    ("images", "labels", "num_classes", "message"),
    [
        (
            np.zeros((4, 1, 8, 8)),
            None,
            0,
            "expected uint8 images (N, C, H, W), got float64 of shape (4, 1, 8, 8)",
        ),
        (
            np.zeros((0, 1, 8, 8), np.uint8),
            None,
            0,
            "expected uint8 images (N, C, H, W), got uint8 of shape (0, 1, 8, 8)",
        ),
        (np.zeros((4, 65, 8, 8), np.uint8), None, 0, "expected 1 to 64 planes, got 65"),
        (np.zeros((4, 1, 8, 8), np.uint8), None, 3, "expected labels of 3 classes, got none"),
        (
            np.zeros((4, 1, 8, 8), np.uint8),
            np.zeros(3, np.int64),
            3,
            "expected 4 whole-number labels, got shape (3,) of int64",
        ),
        (
            np.zeros((4, 1, 8, 8), np.uint8),
            np.array([0, 1, 2, 3]),
            3,
            "expected labels in 0..2, got 0..3",
        ),
        (
            np.zeros((4, 1, 8, 8), np.uint8),
            np.zeros(4, np.int64),
            -1,
            "expected 0..10000 classes, got -1",
        ),
    ],
)
def test_data_that_does_not_fit_together_is_refused(
    images: np.ndarray, labels: np.ndarray | None, num_classes: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        train(
            "vae.conv",
            VAE,
            images,
            labels,
            num_classes=num_classes,
            seed=0,
            budget=Budget(images=16),
            device="cpu",
            directory=tmp_path / "run",
        )

    assert not (tmp_path / "run").exists()


def test_a_config_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    message = "gan.sngan wants a SNGANConfig, got ConvVAEConfig"

    with pytest.raises(TypeError, match=exactly(message)):
        train_tiny("gan.sngan", tmp_path, config=VAE)


# --- the clock ----------------------------------------------------------------------------------


def test_the_clock_counts_work_and_neither_pauses_nor_sleep() -> None:
    clock = DeviceClock(torch.device("cpu"), seconds=10.0)
    time.sleep(0.05)

    _work(0.05)
    with clock.paused():
        _work(0.05)
        within = clock.seconds()
    idle = clock.seconds()
    _work(0.05)

    assert 10.05 <= within < 10.09
    assert within <= idle < within + 0.01
    assert clock.seconds() - idle >= 0.04


def _work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass

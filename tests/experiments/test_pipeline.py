"""The bridge to torch, one job after the other in this process."""

import itertools
import math
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from pytest_django.fixtures import Settings
from torch import Tensor

from catalog.services import Scoring, register_protocol
from evaluation.imagesets.atomic import sha256_of
from evaluation.scoring import evaluate as scoring
from experiments import services, tasks
from experiments.models import (
    Evaluation,
    Experiment,
    Intake,
    MetricValue,
    Run,
    SampleSet,
    SheetReading,
)
from generators.training.memory import MORE
from generators.vae.conv import ConvVAE
from jobs import lifecycle
from jobs.models import Job, Status, Worker
from tests.factories import control_of, make_dataset, make_experiment, make_protocol
from tests.inception import write_random_weights

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)
TINY = {
    "gan.sngan": {"generator_channels": 4, "discriminator_channels": 4},
    "vae.conv": {"base_channels": 4},
    "diffusion.ddpm": {"base_channels": 8, "timesteps": 10},
}
SAMPLER = {"diffusion.ddpm": [{"name": "ddim", "steps": 2}]}


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


TASKS: dict[type[Job], Callable[[int], None]] = {
    Run: tasks.train_run,
    SampleSet: tasks.draw_samples,
    Evaluation: tasks.evaluate_samples,
    Intake: tasks.take_in,
}


def work_off() -> None:
    """Do every queued job, and those it queues, until none is left."""
    while bells := [
        (TASKS[kind], job)
        for kind in Job.kinds()
        for job in kind._default_manager.filter(status=Status.QUEUED)
    ]:
        for task, job in bells:
            task(job.pk)
    for kind in TASKS:
        for job in kind._default_manager.all():
            assert job.status == Status.COMPLETED, f"{job}: {job.reason}\n{job.error}"


@pytest.mark.parametrize("classes", [("a", "b"), ()], ids=["labelled", "unlabelled"])
@pytest.mark.parametrize("algorithm", list(TINY))
def test_each_algorithm_is_trained_and_sampled(algorithm: str, classes: tuple[str, ...]) -> None:
    dataset = make_dataset(files=True, classes=classes, train_size=40, test_size=20)
    protocol = make_protocol(dataset=dataset, num_images=20)
    entry = {
        "algorithm": algorithm,
        "config": {**TINY[algorithm], "batch_size": 20},
        "samplers": SAMPLER.get(algorithm, []),
    }
    make_experiment(protocols=[protocol], entries=[entry], budget={"images": 120})
    Evaluation.objects.all().delete()

    for task, kind in ((tasks.train_run, Run), (tasks.draw_samples, SampleSet)):
        while job := kind._default_manager.filter(status=Status.QUEUED).first():
            task(job.pk)

    run = Run.objects.get()
    assert (run.status, run.images_seen, run.budget_fraction) == (Status.COMPLETED, 120, 1.0)
    assert run.parameters and run.device_seconds > 0
    assert run.environment["torch"]
    assert [c.images_seen for c in run.checkpoints.all()][-1] == 120
    for sample_set in SampleSet.objects.all():
        pixels, labels = drawn(sample_set)
        assert pixels.shape == (20, 8, 8, 1)
        is_noise = sample_set.entry.control is not None and sample_set.entry.control.kind == "noise"
        assert (labels is not None) == (bool(classes) and not is_noise)
        assert sample_set.grid_path.is_file()


def queue_a_tiny_run(*, images: int = 120) -> Run:
    dataset = make_dataset(files=True, train_size=40, test_size=20)
    entry = {"algorithm": "vae.conv", "config": {**TINY["vae.conv"], "batch_size": 20}}
    protocol = make_protocol(dataset=dataset, num_images=20)
    make_experiment(protocols=[protocol], entries=[entry], budget={"images": images})
    return Run.objects.get()


def break_losses(monkeypatch: pytest.MonkeyPatch, *, steps: Collection[int]) -> None:
    """Let the losses of some training steps, counted from 0, be no numbers."""
    original, calls = ConvVAE.loss, itertools.count()

    def broken(self: ConvVAE, *args: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, values = original(self, *args)
        if len(args[1].images) <= MORE:  # memory is being estimated
            return loss, values
        return loss * (math.nan if next(calls) in steps else 1.0), values

    monkeypatch.setattr(ConvVAE, "loss", broken)


def test_a_training_that_diverges_fails_with_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    run = queue_a_tiny_run()
    break_losses(monkeypatch, steps=range(1000))

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert run.reason == (
        "diverged: 3 of 3 steps were skipped: their gradients were not finite, after 60 images"
    )
    assert "Diverged" in run.error
    assert run.reason in Client().get(run.get_absolute_url()).content.decode()
    assert Client().get(f"/api/runs/{run.pk}/").json()["reason"] == run.reason


def test_skipped_steps_are_counted_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    run = queue_a_tiny_run()
    assert "Skipped steps" not in Client().get(run.get_absolute_url()).content.decode()
    break_losses(monkeypatch, steps=[1, 3])

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert (run.status, run.skipped_steps) == (Status.COMPLETED, 2)
    assert "Skipped steps" in Client().get(run.get_absolute_url()).content.decode()
    assert Client().get(f"/api/runs/{run.pk}/").json()["skipped_steps"] == 2


def test_a_run_goes_on_from_its_checkpoint_and_says_how_exactly(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    run = queue_a_tiny_run()
    monkeypatch.setattr(services, "finish_training", _power_cut)
    tasks.train_run(run.pk)
    monkeypatch.undo()
    run.refresh_from_db()
    assert run.status == Status.FAILED and "resumed" not in run.environment
    last = run.checkpoints.get(images_seen=120)
    shutil.rmtree(data_dir / last.path)
    last.delete()
    lifecycle.retry(run, by="ada")

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert (run.status, run.environment["resumed"]) == (Status.COMPLETED, "exactly")


def _power_cut(*_: Any, **__: Any) -> None:
    raise OSError("power cut")


def test_a_sample_set_says_what_drawing_cost() -> None:
    run = queue_a_tiny_run()
    tasks.train_run(run.pk)
    sample_set = run.sample_sets.get()

    tasks.draw_samples(sample_set.pk)

    found = Client().get(f"/api/samplesets/{sample_set.pk}/").json()
    assert 0 < found["latency_seconds"] <= found["latency_p95_seconds"]
    assert (found["batch_size"], found["nfe"], found["peak_memory_bytes"]) == (20, 1, None)
    page = Client().get(run.get_absolute_url()).content.decode()
    assert "20 at once" in page and "p95" in page


def drawn(sample_set: SampleSet) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images (N, H, W, C) of a sample set's file, and the labels if it has any."""
    with np.load(sample_set.path) as file:
        return file["arr_0"], file.get("labels")


def draw_control(experiment: Experiment, kind: str) -> tuple[np.ndarray, np.ndarray | None]:
    sample_set = control_of(experiment, kind).sample_sets.get()
    while sample_set.status == Status.QUEUED:  # older ones of its queue come first
        tasks.draw_samples(sample_set.pk)
        sample_set.refresh_from_db()
    assert sample_set.status == Status.COMPLETED, sample_set.error
    return drawn(sample_set)


def known_images(path: Path) -> dict[bytes, int]:
    """Return the label of every image of a split."""
    with np.load(path) as file:
        pairs = zip(file["arr_0"], file["labels"], strict=True)
        return {image.tobytes(): int(label) for image, label in pairs}


@pytest.mark.parametrize(("kind", "split"), [("test", "test"), ("copy", "train")])
def test_a_control_of_real_images_holds_different_ones_of_its_split_with_their_labels(
    kind: str, split: str
) -> None:
    dataset = make_dataset(files=True, train_size=40, test_size=30)
    experiment = make_experiment(protocols=[make_protocol(dataset=dataset, num_images=20)])

    pixels, labels = draw_control(experiment, kind)

    known = known_images(dataset.train_path if split == "train" else dataset.test_path)
    assert labels is not None
    assert [known[image.tobytes()] for image in pixels] == labels.tolist()
    assert len({image.tobytes() for image in pixels}) == len(pixels) == 20


def test_noise_is_uniform_and_blurred_images_vary_less() -> None:
    dataset = make_dataset(files=True, resolution=32, train_size=10, test_size=10)
    experiment = make_experiment(protocols=[make_protocol(dataset=dataset, num_images=50)])

    (noise, labels), (blurred, _) = (draw_control(experiment, kind) for kind in ("noise", "blur"))

    assert (len(noise), labels, len(blurred)) == (50, None, 10)
    assert np.bincount(noise.ravel() // 64, minlength=4) / noise.size == pytest.approx(
        0.25, abs=0.01
    )
    real, _ = draw_control(experiment, "test")
    assert blurred.std() < 0.5 * real.std()
    assert blurred.mean() == pytest.approx(real.mean(), rel=0.02)


def test_a_control_that_is_too_small_is_completed_without_values() -> None:
    dataset = make_dataset(files=True, train_size=40, test_size=20)
    experiment = make_experiment(protocols=[make_protocol(dataset=dataset, num_images=30)])
    draw_control(experiment, "test")

    evaluation = Evaluation.objects.get()
    tasks.evaluate_samples(evaluation.pk)

    evaluation.refresh_from_db()
    assert evaluation.status == Status.COMPLETED
    reasons = set(evaluation.values.values_list("value", "reason"))
    assert reasons == {(None, "the test split holds 20 images, the protocol scores 30")}


@pytest.mark.slow
def test_inception_scores_are_named_by_their_weights(tmp_path: Path, data_dir: Path) -> None:
    dataset = make_dataset(files=True, train_size=24, test_size=12, channels=3)
    scoring = Scoring(preset="inception-test", weights=write_random_weights(tmp_path))
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    make_experiment(
        protocols=[protocol],
        entries=[{"algorithm": "vae.conv", "config": TINY["vae.conv"]}],
        budget={"images": 64},
    )
    SampleSet.objects.exclude(entry__config__control="test").delete()  # Inception takes its time

    work_off()

    protocol.refresh_from_db()
    digest = protocol.record["extractor"]["weights_sha256"]
    assert protocol.metric_label("fd") == f"FD[inception-v3-compat@{digest[:8]}]"
    assert protocol.facts == {"weights_file": "random.pth", "known_weights": False}
    assert protocol.weights_path is not None
    assert protocol.weights_path.is_relative_to(data_dir / "extractors")
    assert sha256_of(protocol.weights_path) == digest
    values = MetricValue.objects.filter(metric="fd")
    assert values.count() == 2
    assert all(value.value is not None and value.low is None for value in values)
    assert all("images" in value.reason for value in values)  # too few for an interval


@pytest.mark.usefixtures("engine_here")
@pytest.mark.parametrize(
    ("extractor", "metrics"),
    [
        ("pixels-pca64", ("fd", "recall", "authenticity", "ct")),
        ("random-convolution", ("fd", "coverage")),
    ],
)
def test_extractors_without_weights_score_every_control(
    extractor: str, metrics: tuple[str, ...]
) -> None:
    dataset = make_dataset(files=True, train_size=120, test_size=60)
    scoring = Scoring(extractor=extractor, metrics=metrics)
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    make_experiment(protocols=[protocol])
    Run.objects.all().delete()

    work_off()

    values = MetricValue.objects.order_by("pk")
    assert {v.metric for v in values} == set(metrics)
    assert all(v.value is not None for v in values), [(v.metric, v.reason) for v in values]
    fd = {
        v.evaluation.sample_set.entry.config["control"]: v.value or 0.0
        for v in values.filter(metric="fd")
    }
    assert fd["copy"] < fd["test"]
    readings = {
        r.evaluation.sample_set.entry.config["control"]: r for r in SheetReading.objects.all()
    }
    assert readings.keys() == fd.keys()
    copies = readings["copy"]
    assert max(copies.distances) == 0 < min(readings["blur"].distances)
    copied, _ = drawn(copies.evaluation.sample_set)
    assert (np.load(dataset.train_path)["arr_0"][copies.nearest] == copied).all()
    assert all(r.path.is_file() and len(r.nearest) == 60 for r in readings.values())
    assert copies.asked and readings["noise"].asked is None


@pytest.mark.usefixtures("engine_here")
def test_controls_are_scored_once_for_all_experiments_by_the_same_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset(files=True, train_size=120, test_size=60)
    wanted = Scoring(extractor="random-convolution", metrics=("fd", "coverage"))
    protocol, _ = register_protocol(dataset, wanted, admission_images=0)
    scored: list[Any] = []
    original = scoring.evaluate_images

    def evaluate_images(protocol: Any, *args: Any, **options: Any) -> Any:
        scored.append(protocol)
        return original(protocol, *args, **options)

    monkeypatch.setattr(scoring, "evaluate_images", evaluate_images)

    def values() -> list[tuple[Any, ...]]:
        experiment = make_experiment(protocols=[protocol])
        Run.objects.all().delete()
        work_off()
        found = MetricValue.objects.filter(evaluation__sample_set__entry__experiment=experiment)
        return list(
            found.values_list("metric", "value", "low", "high", "standard_error", "details")
        )

    first, second = values(), values()
    assert len(scored) == 4
    assert len(first) == 8
    assert first == second
    read = SheetReading.objects.order_by("evaluation").values_list("nearest", "distances", "asked")
    assert len(read) == 8 and list(read[:4]) == list(read[4:])

    Worker.objects.update(version="of before")
    assert values() == first
    assert len(scored) == 8


def test_samples_whose_file_changed_are_not_scored() -> None:
    dataset = make_dataset(files=True, train_size=40, test_size=20)
    experiment = make_experiment(protocols=[make_protocol(dataset=dataset, num_images=20)])
    control = control_of(experiment).sample_sets.get()
    tasks.draw_samples(control.pk)
    control.refresh_from_db()
    control.path.write_bytes(control.path.read_bytes() + b"?")

    evaluation = Evaluation.objects.get()
    tasks.evaluate_samples(evaluation.pk)

    evaluation.refresh_from_db()
    assert evaluation.status == Status.FAILED
    assert evaluation.reason.startswith(f"samples/{control.pk}-1.npz: has sha256 ")

"""Samples of an experiment have the labels that its protocols say, and all of them say the same."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_django.fixtures import Settings
from torch import Tensor, nn

from catalog.models import Dataset, Protocol
from catalog.preparation import prepare_path
from catalog.services import Scoring, register_dataset, register_protocol
from evaluation.imagesets.writing import write_npz
from experiments import tasks
from experiments.models import Experiment, MetricValue, Run, SampleSet
from experiments.services import submit_data
from experiments.submission.specification import SpecificationError
from generators.algorithm.noise import NoiseSource
from generators.vae.conv import ConvVAE
from jobs.models import Status
from tests import factories
from tests.experiments.test_pipeline import TINY, drawn, work_off

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)
COUNTS = [0, 350, 100, 50]  # labels begin at 1, in shares of 0.7, 0.2 and 0.1


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def truth(labels: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return images in [-1, 1] of these classes, each bright in two columns of its own."""
    images = -0.3 + 0.2 * noise
    for label in range(4):
        images[labels == label, :, :, 2 * label : 2 * label + 2] += 0.6
    return images.clip(-1, 1)


def draw_the_truth(
    self: ConvVAE,
    networks: Mapping[str, nn.Module],
    labels: Tensor,
    noise: NoiseSource,
    *_: Any,
) -> Tensor:
    return torch.from_numpy(truth(labels.numpy(), noise.normal(1, 8, 8).numpy()))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Return a registered dataset of imbalanced classes."""
    folder = tmp_path / "imbalanced"
    folder.mkdir()
    for seed, part in enumerate(("train", "test")):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.repeat(np.arange(4), COUNTS))
        images = truth(labels, rng.normal(size=(len(labels), 1, 8, 8)))
        pixels = np.floor(127.5 * images + 128).clip(0, 255).astype(np.uint8)
        write_npz(folder / f"{part}.npz", pixels, labels)
    with prepare_path(folder) as prepared:
        return register_dataset("Imbalanced", prepared)[0]


def entry(**config: Any) -> dict[str, Any]:
    return {"algorithm": "vae.conv", "config": {**TINY["vae.conv"], "batch_size": 20, **config}}


@pytest.mark.usefixtures("engine_here")
def test_a_sampler_from_the_truth_scores_what_real_images_score(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConvVAE, "sample", draw_the_truth)
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd",), num_images=500)
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    factories.make_experiment(protocols=[protocol], entries=[entry()], budget={"images": 20})
    SampleSet.objects.exclude(entry__config__control="test").delete()

    work_off()

    fd: dict[str, Any] = {
        found.evaluation.sample_set.entry.kind: found.value for found in MetricValue.objects.all()
    }
    assert fd["generator"] < 1.2 * fd["control"]
    _, labels = drawn(SampleSet.objects.get(run__isnull=False))
    assert labels is not None and np.bincount(labels).tolist() == COUNTS


def sampled_labels(protocol: Protocol, **config: Any) -> list[int] | None:
    """Return the labels of the samples that an experiment draws."""
    experiment = factories.make_experiment(
        protocols=[protocol], entries=[entry(**config)], budget={"images": 20}
    )
    SampleSet.objects.all().delete()  # controls, and what was drawn before
    tasks.train_run(Run.objects.get(entry__experiment=experiment).pk)
    sample_set = SampleSet.objects.get()
    tasks.draw_samples(sample_set.pk)
    sample_set.refresh_from_db()
    assert sample_set.status == Status.COMPLETED, sample_set.error
    _, labels = drawn(sample_set)
    return None if labels is None else labels.tolist()


def test_each_rule_is_kept_and_a_protocol_of_before_draws_all_classes_in_turn(
    dataset: Dataset,
) -> None:
    def protocol(**fields: Any) -> Protocol:
        return factories.make_protocol(dataset=dataset, num_images=20, **fields)

    assert sampled_labels(protocol()) == [0, 1, 2, 3] * 5
    uniform = protocol(class_counts=COUNTS, labels="uniform")
    assert sampled_labels(uniform) == [1, 2, 3] * 6 + [1, 2]
    given = sampled_labels(protocol(class_counts=COUNTS, labels=(0, 3, 0, 1)))
    assert Counter(given) == {1: 15, 3: 5}
    assert sampled_labels(protocol(class_counts=COUNTS), conditional=False) is None


def test_a_class_that_the_generator_never_saw_is_refused_in_words(dataset: Dataset) -> None:
    elsewhere = factories.make_protocol(dataset=dataset, num_images=20, class_counts=[5, 5, 5, 5])
    experiment = factories.make_experiment(protocols=[elsewhere], entries=[entry()])
    run = Run.objects.get(entry__experiment=experiment)

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert (run.status, run.reason) == (
        Status.FAILED,
        "expected shares of classes with training images alone, got one for class 0, which the "
        "generator never saw",
    )


def refused(*protocols: Protocol) -> dict[str, str]:
    data = factories.experiment_data(
        protocol=protocols[0], protocols=[protocol.fingerprint for protocol in protocols]
    )
    with pytest.raises(SpecificationError) as caught:
        submit_data(data, user=None)
    assert not Experiment.objects.exists()
    return caught.value.errors


def test_protocols_that_draw_by_other_rules_are_refused_at_their_field() -> None:
    dataset = factories.make_dataset(classes=("a", "b", "c"))
    old = factories.make_protocol(dataset=dataset)
    new, twin = (factories.make_protocol(dataset=dataset, class_counts=[7, 2, 1]) for _ in "ab")
    uniform = factories.make_protocol(dataset=dataset, class_counts=[7, 2, 1], labels="uniform")

    assert refused(new, twin, uniform, old) == {
        "protocols.2": f"{uniform.label} draws labels in equal shares of the reference's 3 classes, "
        f"{new.label} in the reference's shares of 3 classes (7 : 2 : 1); expected one rule, as all "
        "protocols score the same samples",
        "protocols.3": f"{old.label} draws labels in turn over the model's classes, {new.label} in "
        "the reference's shares of 3 classes (7 : 2 : 1); expected one rule, as all protocols score "
        "the same samples",
    }
    factories.make_experiment(protocols=[new, twin])


def test_labels_of_more_classes_than_the_dataset_has_are_refused() -> None:
    dataset = factories.make_dataset(classes=("a", "b"))
    protocol = factories.make_protocol(dataset=dataset, class_counts=[7, 2, 1])

    assert refused(protocol) == {
        "protocols.0": f"{protocol.label}: draws labels of more classes than the dataset's 2"
    }

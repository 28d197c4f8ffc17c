"""A training that cannot fit fails before it begins, in a sentence."""

import pytest
from pytest_django.fixtures import Settings

from experiments import tasks
from experiments.models import Run
from generators.training import memory
from jobs.models import Cause, Status
from tests.factories import make_dataset, make_experiment, make_protocol

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def trained() -> Run:
    dataset = make_dataset(files=True, train_size=40, test_size=20)
    protocol = make_protocol(dataset=dataset, num_images=20)
    entry = {"algorithm": "vae.conv", "config": {"base_channels": 4, "batch_size": 20}}
    make_experiment(protocols=[protocol], entries=[entry], budget={"images": 40})
    tasks.train_run(Run.objects.get().pk)
    return Run.objects.get()


def test_a_training_that_cannot_fit_fails_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.DEVICE = "cpu"
    asked = list[str]()

    def free(device: str) -> int:
        asked.append(device)
        return 100_000

    monkeypatch.setattr(memory, "free_bytes", free)

    run = trained()

    assert (run.status, run.cause) == (Status.FAILED, Cause.MEMORY)
    assert run.reason.startswith("out of memory: expected about ")
    assert run.reason.endswith("there are 0.0001 GB; a smaller model may fit")
    assert asked == ["cpu"]
    assert run.images_seen == 0 and not list(run.folder.glob("ckpt-*"))


@pytest.mark.parametrize("broken", ["free_bytes", "estimate"])
def test_a_training_whose_memory_nobody_knows_is_tried(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("no driver")

    monkeypatch.setattr(memory, broken, fail)

    run = trained()

    assert run.status == Status.COMPLETED
    assert "memory is not checked: RuntimeError: no driver" in caplog.text


def test_where_no_free_memory_is_known_a_training_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: None)

    assert trained().status == Status.COMPLETED

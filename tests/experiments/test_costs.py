"""What a submission will cost, from made-up runs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from catalog.models import Protocol
from experiments.models import Experiment, Run
from experiments.submission.costs import Cost, about, costs_of, total_of
from experiments.submission.specification import read_experiment
from jobs.models import Status
from tests import factories

pytestmark = pytest.mark.django_db
GAN = {"algorithm": "gan.sngan", "preset": "tiny"}
VAE = {"algorithm": "vae.conv", "preset": "tiny"}


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(num_images=100)


def trained(protocol: Protocol, entry: dict[str, Any], *, host: str, seconds: float) -> Run:
    """Return a run of 1000 images on a host."""
    worker = factories.make_worker(host=host, device="H200")
    experiment = factories.make_experiment(protocols=[protocol], entries=[entry])
    (made,) = factories.contenders_of(experiment)
    return factories.make_run(
        entry=made, status=Status.COMPLETED, worker=worker, device_seconds=seconds
    )


def costs(protocol: Protocol, *entries: dict[str, Any], **changes: Any) -> list[Cost]:
    data = factories.experiment_data(protocol=protocol, entries=list(entries), **changes)
    return costs_of(read_experiment(data))


def told(cost: Cost) -> list[tuple[Any, ...]]:
    return [(e.host, round(e.seconds, 6), e.runs, e.with_draws) for e in cost.estimates]


def test_runs_of_an_equal_network_tell_what_each_device_needs(protocol: Protocol) -> None:
    trained(protocol, GAN, host="a", seconds=10)
    trained(protocol, {**GAN, "config": {"learning_rate": 0.001}}, host="a", seconds=20)
    run = trained(protocol, GAN, host="b", seconds=1)
    factories.make_sample_set(run=run, worker=run.worker, images_per_second=50)
    trained(protocol, {**GAN, "config": {"batch_size": 7}}, host="c", seconds=1)
    other = factories.make_protocol(dataset=factories.make_dataset(resolution=16))
    trained(other, GAN, host="d", seconds=1)

    gan, vae = costs(protocol, GAN, VAE, budget={"images": 4000}, seeds=2)

    # 30 s for 2,000 images on a; 1 s for 1,000 and 50 images a second on b: 8,000 and 200 of them
    assert told(gan) == [("a", 120, 2, False), ("b", 8 + 4, 1, True)]
    assert vae.words == total_of([gan, vae]).words == "unknown"


def test_all_entries_together_are_known_where_each_is(protocol: Protocol) -> None:
    for entry, host, seconds in ((GAN, "a", 1), (GAN, "b", 2), (VAE, "b", 3)):
        trained(protocol, entry, host=host, seconds=seconds)

    found = costs(protocol, GAN, VAE)

    assert told(total_of(found)) == [("b", 5, 2, False)]
    assert total_of(found).words == (
        "about 5 s on b (H200), from 2 runs; drawing samples comes on top, unknown"
    )
    timed = costs(protocol, GAN, VAE, budget={"device_seconds": 60})
    assert told(total_of(timed)) == [("any device", 120, 0, False)]


def test_a_command_says_what_a_file_would_cost_and_makes_nothing(
    protocol: Protocol, tmp_path: Path
) -> None:
    trained(protocol, GAN, host="gpu-1", seconds=10)
    before = Experiment.objects.count()
    path = tmp_path / "experiment.json"
    data = factories.experiment_data(protocol=protocol, entries=[GAN], budget={"images": 84_000})
    path.write_text(json.dumps(data))

    call_command("submit", str(path), "--dry-run", stdout=(out := io.StringIO()))

    assert Experiment.objects.count() == before
    assert "all entries: about 14 min on gpu-1 (H200), from 1 run" in out.getvalue()


def test_times_are_told_to_one_unit() -> None:
    words = [about(seconds) for seconds in (0.2, 40, 840, 12_600, 190_000)]

    assert words == ["about 1 s", "about 40 s", "about 14 min", "about 3.5 h", "about 2 days"]

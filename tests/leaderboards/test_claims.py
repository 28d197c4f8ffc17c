"""Claims on boards of known truth: the right side, intervals that hold, and silence where it is due."""

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from experiments.models import Entry, Experiment, SampleSet
from jobs.models import Status
from leaderboards.claims import verdicts
from leaderboards.claims.pooling import (
    Estimated,
    middle,
    minus,
    of_seeds,
    pooled,
    share_lost,
    spread_of,
)
from leaderboards.claims.rows import read
from leaderboards.models import FoundClaims, Judging, Score, Standing
from leaderboards.origins.budgets import key_of
from leaderboards.statistics.spread import Seed
from tests import factories


def seeds(*values: float) -> list[Seed]:
    return [Seed(value) for value in values]


def test_over_datasets_it_is_students_interval_of_their_effects() -> None:
    found = pooled({1: [Estimated(1.0)], 2: [Estimated(2.0)], 3: [Estimated(2.5), Estimated(3.5)]})

    assert found is not None and found.low is not None
    assert found.value == pytest.approx(2)
    assert found.value - found.low == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert found.verdict(less=True) == "undecided"


def test_one_dataset_has_welchs_interval_and_one_seed_has_none() -> None:
    ours, theirs = seeds(1.0, 1.2, 1.4), seeds(2.0, 2.8, 3.6, 4.4)
    pair = [
        of_seeds(side, fmean(one.value for one in side), is_ratio=False) for side in (ours, theirs)
    ]
    found = pooled({1: [minus(*filter(None, pair))]})

    assert found is not None and found.low is not None and found.high is not None
    half = math.hypot(0.2 / math.sqrt(3), 1.03280 / 2) * 3.18245  # 3 degrees, rounded down
    assert (found.value, found.high) == pytest.approx((-2.0, -2.0 + half), rel=1e-4)
    alone = of_seeds(seeds(1.0), 1.0, is_ratio=True)
    assert alone is not None
    single = pooled({1: [minus(alone, alone)]})
    assert single is not None and single.verdict(less=True) == "not enough data"
    assert pooled({}) is None


def test_datasets_that_agree_by_chance_are_no_surer_than_their_seeds() -> None:
    found = pooled({1: [Estimated(-0.1, 0.5)], 2: [Estimated(-0.1, 0.5)]})

    assert found is not None and found.verdict(less=True) == "undecided"


def test_the_median_of_equal_entries_needs_no_errors() -> None:
    assert middle([Estimated(1.0, 0.2), Estimated(1.0), Estimated(1.0)]).value == 1.0


def simulated(datasets: int, entries: int, number: int, between: float, of: int) -> float:
    """Return how often an interval holds the truth."""
    rng = np.random.default_rng([datasets, entries, number, of])
    held = 0
    for _ in range(of):
        effects = {}
        for dataset in range(datasets):
            truth = (-0.5 + between * rng.standard_normal(), 0.0)
            sides = []
            for centre in truth:
                drawn = [
                    np.exp(centre + 0.15 * rng.standard_normal(number)) for _ in range(entries)
                ]
                found = [
                    of_seeds(seeds(*each), float(each.mean()), is_ratio=True) for each in drawn
                ]
                sides.append(middle([one for one in found if one is not None]))
            effects[dataset] = [minus(*sides)]
        interval = pooled(effects)
        assert interval is not None and interval.low is not None and interval.high is not None
        held += interval.low <= -0.5 <= interval.high
    return held / of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("datasets", "entries", "number", "between"),
    [
        (1, 1, 3, 0.0),
        (1, 3, 3, 0.0),
        (2, 2, 2, 0.3),
        (3, 1, 1, 0.3),
        (4, 3, 3, 0.0),
        (6, 2, 3, 0.5),
    ],
)
def test_intervals_hold_the_truth(datasets: int, entries: int, number: int, between: float) -> None:
    coverage = simulated(datasets, entries, number, between, of=400)

    assert coverage >= 0.925  # three standard errors below 95 %, of 400 draws


def test_the_spread_of_few_seeds_has_no_bias() -> None:
    rng = np.random.default_rng(1)
    drawn = [spread_of(seeds(*np.exp(0.2 * rng.standard_normal(3)))) for _ in range(1000)]
    found = np.array([(one.value, one.error) for one in drawn if one is not None])

    assert found[:, 0].mean() == pytest.approx(math.log(0.2), abs=0.08)
    assert found[:, 0].std() == pytest.approx(found[0, 1], rel=0.1)


def test_lost_seeds_are_a_share_with_an_error_even_where_none_is_lost() -> None:
    none, half = share_lost([(0, 3), (0, 3)]), share_lost([(3, 3), (0, 3)])

    assert (none.value, half.value) == (0.0, 0.5)
    assert none.error is not None and 0.05 < none.error < 0.2


# --- of stored boards ------------------------------------------------------------------------------

ALGORITHMS = {  # distance, precision, recall
    "gan.sngan": (20.0, 0.9, 0.4),
    "diffusion.ddpm": (10.0, 0.8, 0.7),
    "vae.conv": (40.0, 0.5, 0.8),
}
SPEEDS = {"gan.sngan": 2000.0, "diffusion.ddpm": 9.0, "vae.conv": 900.0}
Numbers = dict[str, tuple[float, float, float]]


def board(values: Numbers = ALGORITHMS, *, number: int = 3) -> Experiment:
    """Return an experiment on a dataset of its own, with the rows of its board alone."""
    protocol = factories.make_protocol(metrics=["fd", "precision", "recall"])
    experiment = Experiment.objects.create(
        name=protocol.name, dataset=protocol.dataset, budget_images=1000, seeds=list(range(number))
    )
    experiment.protocols.add(protocol)
    for place, (algorithm, (fd, precision, recall)) in enumerate(values.items()):
        entry = Entry.objects.create(
            experiment=experiment, algorithm=algorithm, label=algorithm, position=place
        )
        row(entry, "direct", number=number, fd=fd, precision=precision, recall=recall)
    return experiment


def row(entry: Entry, sampler: str, *, number: int = 3, lost: int = 0, **values: float) -> Standing:
    """Write a standing as boards keep it, whose seeds differ by a hundredth."""
    protocol = entry.experiment.protocols.get()
    standing = Standing.objects.create(
        protocol=protocol,
        entry=entry,
        sampler_label=sampler,
        label=entry.label,
        kind=entry.kind,
        algorithm=entry.algorithm,
        budget=key_of(entry),
        device="CPU, 2 cores",
        configuration=f"{entry.algorithm} {sampler}",
        seeds_scored=number - lost,
        seeds_total=number,
        seeds_failed=lost,
        changed_at=timezone.now(),
    )
    values = {"images_per_second": SPEEDS.get(entry.algorithm, 1.0), **values}
    for metric, value in values.items():
        each = [value * (1 + 0.01 * seed) for seed in range(number - lost)]
        Score.objects.create(
            standing=standing,
            protocol=protocol,
            metric=metric,
            group=Score.Group.VALUE,
            value=sum(each) / len(each),
            seeds=[[one, None] for one in each],
            seeds_lost=lost,
        )
    return standing


def claims() -> dict[str, dict[str, Any]]:
    return {each["key"]: each for each in verdicts.found(read())}


@pytest.mark.django_db
def test_several_datasets_that_agree_are_a_yes_in_as_many_queries_as_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(3):
        board()

    with django_assert_num_queries(6):
        found = claims()

    better, covers = found["better-samples"], found["covers-more"]
    assert (better["verdict"], better["parts"][0]["datasets"]) == ("yes", 3)
    assert better["parts"][0]["effect"]["value"] == pytest.approx(0.5)
    assert covers["verdict"] == "yes"
    assert covers["parts"][0]["effect"]["value"] == pytest.approx(0.3, abs=0.01)
    assert found["more-stable"]["verdict"] == "undecided"  # seeds of both differ alike
    assert found["latent-is-cheaper"]["verdict"] == "not enough data"
    assert found["more-steps"]["verdict"] == "not enough data"


@pytest.mark.django_db
def test_a_wrong_sentence_is_denied_and_one_dataset_is_said_to_be_one() -> None:
    gan, diffusion = ALGORITHMS["gan.sngan"], ALGORITHMS["diffusion.ddpm"]
    experiment = board({"gan.sngan": diffusion, "diffusion.ddpm": gan})

    better = claims()["better-samples"]

    assert (better["verdict"], better["only_dataset"]) == ("no", experiment.dataset.name)


@pytest.mark.django_db
def test_one_seed_each_on_one_dataset_is_not_enough() -> None:
    board(number=1)

    assert claims()["better-samples"]["verdict"] == "not enough data"


@pytest.mark.django_db
def test_an_entry_that_lost_seeds_counts_as_the_worst_of_its_board() -> None:
    experiment = board()
    experiment.entries.get(algorithm="diffusion.ddpm").standings.get().delete()
    row(experiment.entries.get(algorithm="diffusion.ddpm"), "direct", lost=1, fd=10.0)

    part = claims()["better-samples"]["parts"][0]

    assert (part["lost"], part["verdict"]) == (1, "undecided")
    assert part["effect"]["value"] == pytest.approx(1)


@pytest.mark.django_db
def test_speed_is_of_one_device() -> None:
    workers = [factories.make_worker(device="CPU, 2 cores"), factories.make_worker(device="H100")]
    for _ in range(2):
        for entry in board().entries.all():
            SampleSet.objects.create(
                entry=entry,
                sampler_label="direct",
                count=10,
                status=Status.COMPLETED,
                worker=workers[0],
                images_per_second=1.0,
                started_at=timezone.now(),
                finished_at=timezone.now(),
            )
    part = claims()["fast-but-blurry"]["parts"][0]
    assert (part["verdict"], part["boards"][0]["device"]) == ("yes", "CPU, 2 cores")
    assert part["effect"]["value"] == pytest.approx(100)

    SampleSet.objects.filter(entry__algorithm="vae.conv").update(worker=workers[1])

    assert claims()["fast-but-blurry"]["parts"][0]["verdict"] == "not enough data"


@pytest.mark.django_db
def test_steps_are_compared_within_one_model() -> None:
    for _ in range(2):
        entry = board({"diffusion.ddpm": (10.0, 0.8, 0.7)}).entries.get()
        entry.samplers = [{"name": "ddim", "steps": steps} for steps in (5, 50)]
        entry.save()
        for label, fd in zip(entry.sampler_labels, (30.0, 10.0), strict=True):
            row(entry, label, fd=fd)

    part = claims()["more-steps"]["parts"][0]

    assert (part["verdict"], part["comparisons"]) == ("yes", 2)
    assert part["effect"]["value"] == pytest.approx(1 / 3)


@pytest.mark.django_db
def test_workers_keep_what_is_found_once_after_each_judgement() -> None:
    experiment = board()
    assert not verdicts.find_anew()
    Judging.objects.create(protocol=experiment.protocols.get(), judged_at=timezone.now())

    assert [verdicts.find_anew(), verdicts.find_anew()] == [True, False]
    assert FoundClaims.objects.get().found[0]["verdict"] == "yes"


@pytest.mark.django_db
def test_the_page_and_rest_say_the_same(client: Client) -> None:
    board()

    page = client.get("/claims/")
    record = client.get("/api/v1/claims/").json()

    assert page.status_code == 200
    assert record["claims"][0]["verdict"] == claims()["better-samples"]["verdict"] == "yes"
    assert "on one dataset only" in page.text
    assert "entry=latent.ddpm%3Atiny" in page.text  # of the experiment that would tell

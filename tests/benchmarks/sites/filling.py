"""A lab's site after years, by bulk inserts: experiments, entries, runs, values, curves, events.

`DATA_DIR=… python -m tests.benchmarks.sites.filling 10000` fills a migrated site with so many runs.
"""

import argparse
import os
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import django
from django.db import models, transaction

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from catalog.models import Protocol  # needs the lines above
from experiments.models import (
    Checkpoint,
    Entry,
    Evaluation,
    Experiment,
    LossPoint,
    MetricValue,
    Run,
    SampleSet,
)
from generators.specs import registry
from jobs.models import Job, JobEvent, Status
from tests import factories

M = TypeVar("M", bound=models.Model)

ENTRIES, SEEDS = 20, 5  # of an experiment: 100 runs
ALGORITHMS = ("gan.sngan", "gan.r3gan", "vae.conv", "diffusion.flow", "diffusion.edm")
BUDGETS = (100_000, 1_000_000, 10_000_000)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
LOST = {0: Status.FAILED, 1: Status.CANCELLED, 2: Status.QUEUED}  # of a hundred runs
BATCH = 2000


class Filling:
    """Rows of one site, the same for the same number of runs."""

    def __init__(
        self, *, curve_points: int = 20, entries: int = ENTRIES, seeds: int = SEEDS
    ) -> None:
        self.chance = random.Random(0)  # noqa: S311  # makes up numbers, keeps no secret
        self.curve_points, self.entries, self.seeds = curve_points, entries, seeds
        dataset = factories.make_dataset(slug="filled")
        names = ("small", "large", "late")
        self.protocols = [
            factories.make_protocol(dataset=dataset, num_images=50, name=name) for name in names
        ]
        self.users = [factories.make_user() for _ in range(5)]
        self.templates = self._templates()

    def _templates(self) -> list[Entry]:
        """Return a submitted entry of each algorithm, controls among them, to be copied."""
        submitted = factories.make_experiment(
            protocols=self.protocols[:1], algorithms=ALGORITHMS, name="Templates"
        )
        found = list(submitted.entries.all())
        submitted.delete()
        return found

    def fill(self, runs: int) -> None:
        """Add experiments until there are so many runs."""
        for number in range(-(-runs // (self.entries * self.seeds))):
            with transaction.atomic():
                self._experiment(number)

    def _experiment(self, number: int) -> None:
        begin = BEGIN + timedelta(hours=number)
        experiment = Experiment.objects.create(
            name=f"Experiment {number:,}",
            dataset=self.protocols[0].dataset,
            budget_images=BUDGETS[number % len(BUDGETS)],
            seeds=list(range(self.seeds)),
            created_by=self.users[number % len(self.users)],
            created_at=begin,
        )
        chosen = [p for every, p in enumerate(self.protocols, 1) if number % every == 0]
        experiment.protocols.set(chosen)
        entries = added(self._entries(experiment))
        runs = added(self._runs(entries, begin))
        done = [run for run in runs if run.status == Status.COMPLETED]
        checkpoints = added(
            Checkpoint(run=run, images_seen=1000, path=f"runs/{run.pk}", sha256="0" * 64, bytes=9)
            for run in done
        )
        added(point for run in done for point in self._curve(run))
        sets = added(self._sets(entries, checkpoints, begin))
        scored = added(self._evaluations(sets, chosen, begin))
        added(value for each in scored for value in self._values(each))
        added(event for job in (*runs, *sets, *scored) for event in events(job))

    def _entries(self, experiment: Experiment) -> Iterator[Entry]:
        contenders = [each for each in self.templates if each.algorithm]
        for position, template in enumerate(t for t in self.templates if not t.algorithm):
            yield copy(template, experiment, template.label, position)
        for place in range(self.entries):
            template = contenders[place % len(contenders)]
            entry = copy(template, experiment, f"{template.label} {place}", 10 + place)
            if template.algorithm == "diffusion.flow":
                entry.samplers = [{**template.samplers[0], "steps": n} for n in (10, 50)]
            yield entry

    def _runs(self, entries: Iterable[Entry], begin: datetime) -> Iterator[Run]:
        for entry in entries:
            for seed in range(self.seeds if entry.algorithm else 0):
                status = LOST.get(self.chance.randrange(100), Status.COMPLETED)
                yield ended(
                    Run(
                        entry=entry,
                        seed=seed,
                        device_seconds=self.chance.uniform(50, 500),
                        parameters=self.chance.randrange(10**5, 10**8),
                        images_seen=1000,
                    ),
                    status,
                    begin,
                )

    def _curve(self, run: Run) -> Iterator[LossPoint]:
        for step in range(1, self.curve_points + 1):
            losses = {"loss": 1 / step}
            yield LossPoint(run=run, images_seen=50 * step, wall_seconds=step, losses=losses)

    def _sets(
        self, entries: Iterable[Entry], checkpoints: Iterable[Checkpoint], begin: datetime
    ) -> Iterator[SampleSet]:
        for entry in entries:
            if entry.kind == Entry.Kind.CONTROL:
                found = SampleSet(entry=entry, sampler_label=entry.control.source, count=50)  # type: ignore[union-attr]  # a control has one
                yield ended(found, Status.COMPLETED, begin)
        for checkpoint in checkpoints:
            entry = checkpoint.run.entry
            for sampler in entry.samplers:
                found = SampleSet(
                    entry=entry,
                    run=checkpoint.run,
                    checkpoint=checkpoint,
                    sampler=sampler,
                    sampler_label=registry.parse_sampler(entry.algorithm, sampler).label(),
                    count=50,
                    nfe=sampler.get("steps", 1),
                    images_per_second=self.chance.uniform(10, 1000),
                )
                yield ended(found, Status.COMPLETED, begin)

    def _evaluations(
        self, sets: Iterable[SampleSet], protocols: Iterable[Protocol], begin: datetime
    ) -> Iterator[Evaluation]:
        for sample_set in sets:
            for protocol in protocols:
                status = Status.FAILED if self.chance.random() < 0.01 else Status.COMPLETED
                evaluation = Evaluation(sample_set=sample_set, protocol=protocol)
                yield ended(evaluation, status, begin)

    def _values(self, evaluation: Evaluation) -> Iterator[MetricValue]:
        """Yield numbers about what an entry is worth, which its name tells, and the seed adds to."""
        if evaluation.status != Status.COMPLETED:
            return
        entry = evaluation.sample_set.entry
        worth = random.Random(entry.pk).uniform(0.2, 1.0)  # noqa: S311  # as above
        for name in evaluation.protocol.metrics:
            value = worth * self.chance.uniform(0.9, 1.1) * (20 if name in ("fd", "kd") else 0.7)
            yield MetricValue(
                evaluation=evaluation,
                metric=name,
                value=value,
                bias_corrected=value * 0.95 if name == "fd" else None,
                standard_error=0.02 * value,
                low=0.96 * value,
                high=1.04 * value,
                details=DETAILS.get(name, {}),
            )


DETAILS: dict[str, dict[str, Any]] = {
    "copies": {"below": 1, "generated": 50, "held_out": 50, "rank": 2},
    "ct": {"null_variance_generated": 0.8, "null_variance_held_out": 0.7},
}


def copy(template: Entry, experiment: Experiment, label: str, position: int) -> Entry:
    return Entry(
        experiment=experiment,
        kind=template.kind,
        label=label,
        algorithm=template.algorithm,
        config=template.config,
        samplers=template.samplers,
        position=position,
    )


def added(rows: Iterable[M]) -> list[M]:
    """Write rows in batches and return them."""
    found: list[M] = []
    waiting = iter(rows)
    while batch := list(islice(waiting, BATCH)):
        found += type(batch[0])._default_manager.bulk_create(batch)
    return found


def ended(job: factories.J, status: Status, begin: datetime) -> factories.J:
    """Return a job in a status with the times that such a one has."""
    job.status, job.queued_at = status, begin
    job.reason = "out of memory" if status == Status.FAILED else ""
    if status != Status.QUEUED:
        job.attempt, job.started_at = 1, begin + timedelta(minutes=1)
        job.finished_at = begin + timedelta(minutes=5)
    return job


def events(job: Job) -> Iterator[JobEvent]:
    for kind in ("queued", "claimed", job.status):
        if kind != job.status or job.is_finished:
            yield JobEvent(
                job_type=job.type_name(), job_id=job.pk, kind=kind, attempt=1, at=job.queued_at
            )


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("runs", type=int)
    reader.add_argument("--points", type=int, default=20, help="of each loss curve")
    given = reader.parse_args()
    Filling(curve_points=given.points).fill(given.runs)


if __name__ == "__main__":
    main()

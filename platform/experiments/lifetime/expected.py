"""How long what is not finished will still take, from progress so far and from runs before.

An entry's own runs tell most; without any, earlier entries like it do (`submission.costs`). Those on
the devices of workers that are online come first.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from django.db.models import Count, Sum

from catalog.models import Protocol
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.submission import costs
from jobs.models import Status, Worker

if TYPE_CHECKING:
    from experiments.comparison import ExperimentJobs

LATEST = 20  # evaluations that tell what one takes
MOST_ALGORITHMS = 6  # whose earlier entries are looked for
Speeds = Mapping[int, tuple[float, int]]  # by entry: seconds an image seen, runs that tell


@dataclass(frozen=True)
class Expected:
    """Seconds that one training takes in all, and the number of earlier runs that say so."""

    seconds: float
    runs: int  # 0: the budget itself says it

    @property
    def words(self) -> str:
        told = f", as {self.runs} earlier run{'s' * (self.runs != 1)} did" if self.runs else ""
        return f"{costs.about(self.seconds)} of training{told}"


@dataclass(frozen=True)
class Left:
    """What is left of an experiment, shared by the workers that are online for it."""

    seconds: float  # of the parts that are known
    unknown: tuple[str, ...]  # parts of which nobody knows what they take
    workers: int

    @property
    def words(self) -> str:
        """Return it in words, "" where nothing is known."""
        if not self.seconds:
            return ""
        with_whom = f"with {self.workers} worker{'s' * (self.workers != 1)}"
        if not self.workers:
            with_whom = "once a worker takes it"
        rest = f"; {' and '.join(self.unknown)} on top, unknown" if self.unknown else ""
        return f"{costs.about(self.seconds / max(1, self.workers))} left {with_whom}{rest}"


def of_run(run: Run) -> Expected | None:
    """Return what a training takes that has not begun, None if nothing like it is known."""
    experiment = run.entry.experiment
    if experiment.budget_seconds is not None:
        return Expected(experiment.budget_seconds, 0)
    speeds = earlier(experiment, [run.entry], Worker.objects.all())
    if run.entry_id not in speeds or not experiment.budget_images:
        return None
    seconds, runs = speeds[run.entry_id]
    return Expected(seconds * experiment.budget_images, runs)


def earlier(experiment: Experiment, entries: Iterable[Entry], workers: Iterable[Worker]) -> Speeds:
    """Return what an image seen took of earlier entries like these, in a query an algorithm and one."""
    like = {each.pk: _like(each, known) for each, known in _known(experiment, entries)}
    everyone = {pk for keys in like.values() for pk in keys}
    rows = (
        Run.objects.filter(entry__in=everyone, status=Status.COMPLETED, images_seen__gt=0)
        .values_list("entry_id", "worker__host", "worker__device")
        .annotate(Sum("device_seconds"), Sum("images_seen"), runs=Count("pk"))
        .order_by()
    )
    told = list(rows) if everyone else []
    online = {(worker.host, worker.device) for worker in workers if worker.is_alive}
    here = [row for row in told if row[1:3] in online]
    found = {pk: _speed(here, keys) or _speed(told, keys) for pk, keys in like.items()}
    return {pk: speed for pk, speed in found.items() if speed}


def _known(
    experiment: Experiment, entries: Iterable[Entry]
) -> Iterable[tuple[Entry, Mapping[int, object]]]:
    """Yield entries with the earlier ones of their algorithm."""
    by_algorithm: dict[str, list[Entry]] = defaultdict(list)
    for each in entries:
        by_algorithm[each.algorithm].append(each)
    for algorithm, some in list(by_algorithm.items())[:MOST_ALGORITHMS]:
        known = costs.earlier(algorithm, experiment.dataset)
        yield from ((each, known) for each in some)


def _like(entry: Entry, known: Mapping[int, object]) -> set[int]:
    wanted = costs.deciding(entry.algorithm, entry.config)
    return {pk for pk, deciding in known.items() if deciding == wanted}


def _speed(
    rows: Iterable[tuple[int, str, str, float, int, int]], keys: Collection[int]
) -> tuple[float, int] | None:
    mine = [row for row in rows if row[0] in keys and row[3] and row[4]]
    if not mine:
        return None
    return sum(row[3] for row in mine) / sum(row[4] for row in mine), sum(row[5] for row in mine)


def of_experiment(
    experiment: Experiment, jobs: "ExperimentJobs", workers: Iterable[Worker]
) -> Left:
    """Return what is left of an experiment whose rows are loaded; few queries, or none."""
    workers = list(workers)
    queues = {job.queue for job in jobs.all if not job.is_finished}
    able = [each for each in workers if each.takes_jobs and queues & set(each.queues)]
    parts = [*_of_trainings(experiment, jobs, workers), *_of_others(experiment, jobs)]
    parts += [("trials to come", None)] * _is_searching(jobs.entries)
    unknown = dict.fromkeys(name for name, seconds in parts if seconds is None)
    return Left(sum(seconds or 0.0 for _, seconds in parts), tuple(unknown), len(able))


def _is_searching(entries: Iterable[Entry]) -> bool:
    """Whether a search will have further trainings: trials, or its best run again."""
    trials = {(entry.search_id, entry.trial) for entry in entries if entry.search_id}
    return any((search, 0) not in trials for search, _ in trials)


def _of_trainings(
    experiment: Experiment, jobs: "ExperimentJobs", workers: Iterable[Worker]
) -> Iterable[tuple[str, float | None]]:
    """Yield the seconds that each unfinished training still takes, None where that is unknown."""
    own = _own(jobs.runs)
    open_runs = [run for run in jobs.runs if not run.is_finished]
    strange = {run.entry_id: run.entry for run in open_runs if run.entry_id not in own}
    speeds: Speeds = {}
    if strange and experiment.budget_images:
        speeds = earlier(experiment, strange.values(), workers)
    for run in open_runs:
        whole = own.get(run.entry_id, experiment.budget_seconds)
        if whole is None and run.entry_id in speeds:
            whole = speeds[run.entry_id][0] * (experiment.budget_images or 0)
        yield "trainings", None if whole is None else whole * (1 - run.budget_fraction)


def _own(runs: Iterable[Run]) -> dict[int, float]:
    """Return the seconds that a whole training of each entry takes, by its runs so far."""
    found: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        if run.budget_fraction > 0 and run.device_seconds > 0:
            found[run.entry_id].append(run.device_seconds / run.budget_fraction)
    return {pk: fmean(seconds) for pk, seconds in found.items()}


def _of_others(
    experiment: Experiment, jobs: "ExperimentJobs"
) -> Iterable[tuple[str, float | None]]:
    """Yield the seconds of draws and evaluations that are to come, by those that are done."""
    for needed, there in _sets(jobs):
        yield "drawing", _to_come(needed, there)
    sets = sets_in_all(jobs)
    for protocol in experiment.protocols.all():
        scores = [each for each in jobs.evaluations if each.protocol_id == protocol.pk]
        seconds = _to_come(sets, scores)
        if seconds is None:
            seconds = _to_come(sets, scores, like=_earlier_scores(protocol))
        yield "scoring", seconds


def sets_in_all(jobs: "ExperimentJobs") -> int:
    """Return how many sample sets an experiment has in the end."""
    return sum(needed for needed, _ in _sets(jobs))


def _sets(jobs: "ExperimentJobs") -> Iterable[tuple[int, list[SampleSet]]]:
    """Yield of each entry how many sets it has in the end, and those that are there."""
    by_entry: dict[int, list[SampleSet]] = {entry.pk: [] for entry in jobs.entries}
    for each in jobs.sample_sets:
        by_entry[each.entry_id].append(each)
    going = Counter(run.entry_id for run in jobs.runs if not run.can_retry)
    for entry in jobs.entries:
        there = by_entry[entry.pk]
        yield _sets_needed(entry, going[entry.pk], there), there


def _earlier_scores(protocol: Protocol) -> list[Evaluation]:
    """Return the latest evaluations of other experiments under a protocol."""
    done = Evaluation.objects.filter(protocol=protocol, status=Status.COMPLETED)
    return list(done.only("status", "started_at", "finished_at").order_by("-pk")[:LATEST])


def _sets_needed(entry: Entry, going: int, sets: list[SampleSet]) -> int:
    """Return how many sets an entry has in the end; a training that failed is not one that goes."""
    if entry.kind != Entry.Kind.GENERATOR:
        return len(sets)
    return going * len(entry.samplers)


def _to_come(
    needed: int,
    there: Sequence[SampleSet] | Sequence[Evaluation],
    *,
    like: Sequence[Evaluation] = (),
) -> float | None:
    """Return the seconds of what is not done of so many jobs alike; None where none is done yet."""
    finished = sum(job.is_finished for job in there)
    begun = sum(job.percent / 100 for job in there if job.is_active)
    left = needed - finished - begun
    if left <= 0:
        return 0.0
    took = [
        (job.finished_at - job.started_at).total_seconds()
        for job in (*there, *like)
        if job.status == Status.COMPLETED and job.started_at and job.finished_at
    ]
    return left * fmean(took) if took else None

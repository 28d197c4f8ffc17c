"""The way of a run from the queue to its last score, as one line of stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from experiments.models import Evaluation, Run, SampleSet
from jobs.models import Job, Status

WAITING = "ring"  # icon of what has not begun


@dataclass(frozen=True)
class Stage:
    """One stage; `status` is that of its jobs together, "" before there are any."""

    name: str
    status: str
    seconds: float | None = None  # it took, where it is done
    since: datetime | None = None  # it has been going on, where it is not
    detail: str = ""

    @property
    def icon(self) -> str:
        return self.status or WAITING


def stages(run: Run, sets: Sequence[SampleSet], evaluations: Sequence[Evaluation]) -> list[Stage]:
    """Return the stages of a run and of what comes of it, the first first."""
    samplers = len(run.entry.samplers)
    sets = [each for each in sets if each.entry_id == run.entry_id]  # not what controls show of it
    evaluations = [each for each in evaluations if each.sample_set_id in {s.pk for s in sets}]
    wanted = samplers * len(run.entry.experiment.protocols.all())
    return [
        _queued(run),
        _of_jobs("Training", [run], 1) if run.started_at else Stage("Training", ""),
        _of_jobs("Sampling", sets, samplers),
        _of_jobs("Scoring", evaluations, wanted),
        _done(run, evaluations, wanted),
    ]


def _queued(run: Run) -> Stage:
    if run.status == Status.QUEUED:
        return Stage("Queued", Status.QUEUED, since=run.queued_at)
    if run.started_at is None:  # cancelled before any worker had it
        return Stage("Queued", run.status)
    waited = (run.started_at - run.queued_at).total_seconds()
    return Stage("Queued", Status.COMPLETED, seconds=max(0.0, waited))


def _of_jobs(name: str, jobs: Sequence[Job], wanted: int) -> Stage:
    """Return the stage of some jobs; it is done when all that are wanted are."""
    done = [job for job in jobs if job.status == Status.COMPLETED]
    begun = [job.started_at for job in jobs if job.started_at]
    detail = f"{len(done)} of {wanted}" if wanted > 1 else ""
    ended = [job.finished_at for job in done if job.finished_at]
    if len(done) >= wanted and begun and ended:
        return Stage(name, Status.COMPLETED, seconds=(max(ended) - min(begun)).total_seconds())
    status = _standing(jobs)
    going_on = status not in ("", Status.QUEUED, Status.FAILED, Status.CANCELLED)
    return Stage(name, status, since=min(begun) if begun and going_on else None, detail=detail)


def _standing(jobs: Sequence[Job]) -> str:
    """Return the status that is told first of several jobs, "" of none."""
    statuses = {job.status for job in jobs}
    order = (Status.FAILED, Status.CANCELLING, Status.RUNNING, Status.CANCELLED, Status.QUEUED)
    return next((str(each) for each in order if each in statuses), Status.RUNNING if jobs else "")


def _done(run: Run, evaluations: Sequence[Evaluation], wanted: int) -> Stage:
    """Return the end, with the time from the queue to it."""
    ended = [each.finished_at for each in evaluations if each.status == Status.COMPLETED]
    if len(ended) < wanted or not all(ended):
        return Stage("Done", "")
    last = max(moment for moment in ended if moment)
    return Stage("Done", Status.COMPLETED, seconds=(last - run.queued_at).total_seconds())

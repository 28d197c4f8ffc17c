"""Logs of a run's jobs: the end of the newest on the run's page, each attempt's as plain text."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from experiments import work_logs
from experiments.models import Evaluation, Run, SampleSet
from experiments.work_logs import Attempt
from jobs.models import Status

TAIL_LINES = 200  # on the run's page
TAIL_CHARACTERS = 30_000  # likewise
MOST_LOGS = 24  # listed on the run's page
NOT_THERE = "no log is kept of this attempt"


def tail(run: Run, sets: list[SampleSet], evaluations: list[Evaluation]) -> dict[str, Any]:
    """Return what the run's page shows: the end of the newest log, and where all of them are."""
    jobs: list[Run | SampleSet | Evaluation] = [run, *sets, *evaluations]
    found = [attempt for job in jobs for attempt in work_logs.attempts(job)]
    newest = max((job for job in jobs if job.attempt), key=_interest, default=None)
    shown = next((each for each in found if each.job is newest), None)
    text = "" if shown is None else _text(shown)
    lines = text.splitlines()[-TAIL_LINES:]
    return {
        "shown": shown and _named(shown),
        "text": "\n".join(lines)[-TAIL_CHARACTERS:],
        "is_whole": len(text) <= TAIL_CHARACTERS and len(lines) < TAIL_LINES,
        "logs": [_named(each) for each in found[:MOST_LOGS]],
        "logs_total": len(found),
    }


def _interest(job: Run | SampleSet | Evaluation) -> tuple[bool, bool, bool, int]:
    """Return an order in which what is at work comes last, then what failed, then the training."""
    return job.is_active, job.status == Status.FAILED, isinstance(job, Run), job.pk


def _text(attempt: Attempt) -> str:
    try:
        return attempt.text()
    except OSError:  # nothing was logged yet, it was deleted, or the bucket does not answer
        return ""


def _named(attempt: Attempt) -> tuple[Attempt, str]:
    """Return an attempt and what it was of, in words."""
    job = attempt.job
    if isinstance(job, Evaluation):
        return attempt, f"evaluating {job.protocol.name}"
    return attempt, f"sampling {job.sampler_label}" if isinstance(job, SampleSet) else "training"


@login_required
def job_log(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """Return a job's log as plain text: of the newest attempt that has one, or of `?attempt=`."""
    if kind not in work_logs.KINDS:
        expected = ", ".join(work_logs.KINDS)
        raise Http404(f"expected a kind of job that keeps a log ({expected}), got {kind!r}")
    job: Any = get_object_or_404(work_logs.KINDS[kind]._default_manager, pk=pk)
    work_logs.require_reader(request.user, job)
    try:
        return as_text(found(job, request.GET.get("attempt", "")))
    except FileNotFoundError as error:
        raise Http404(NOT_THERE) from error


def found(job: Run | SampleSet | Evaluation, number: str) -> Attempt:
    """Return an attempt of a job, the newest that has a log where no number is given.

    Raises:
        FileNotFoundError: if there is none.
    """
    attempts = work_logs.attempts(job)
    wanted = [each for each in attempts if not number or str(each.number) == number]
    if not wanted:
        raise FileNotFoundError(NOT_THERE)
    return wanted[0]


def as_text(attempt: Attempt) -> HttpResponse:
    """Return an attempt's log as an answer that no browser takes for a page and nobody keeps.

    Raises:
        FileNotFoundError: if it was deleted.
    """
    answer = HttpResponse(attempt.text(), content_type="text/plain; charset=utf-8")
    answer.headers["Cache-Control"] = "private, no-store"
    name = f"{attempt.job.type_name()}-{attempt.job.pk}-{attempt.number}.txt"
    answer.headers["Content-Disposition"] = f'inline; filename="{name}"'
    return answer

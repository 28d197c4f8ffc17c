"""Buttons that cancel and retry: POST only, for those who may, back to the page afterwards."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from experiments import overview, services
from experiments.models import Experiment, Question, Viewing
from experiments.ownership import require_change
from jobs.models import Job


@require_POST
@login_required
def cancel_experiment(request: HttpRequest, pk: int) -> HttpResponse:
    experiment = get_object_or_404(Experiment, pk=pk)
    require_change(request.user, experiment)
    count = services.cancel_experiment(experiment, user=request.user)
    _say(request, count, f"{_jobs(count)} cancelled or asked to stop.", "Nothing was left to stop.")
    return redirect(experiment)


@require_POST
@login_required
def retry_experiment(request: HttpRequest, pk: int) -> HttpResponse:
    experiment = get_object_or_404(Experiment, pk=pk)
    require_change(request.user, experiment)
    count = services.retry_experiment(experiment, user=request.user)
    _say(request, count, f"{_jobs(count)} queued again.", "Nothing had failed or been cancelled.")
    return redirect(experiment)


@require_POST
@login_required
def cancel_job(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    job = _find(kind, pk)
    require_change(request.user, job)
    text = f"{job}: stops at its next beat." if job.is_active else f"{job}: cancelled."
    done = services.cancel_job(job, user=request.user)
    _say(request, done, text, f"{job} had nothing left to stop.")
    return redirect(overview.page_of(job))


@require_POST
@login_required
def retry_job(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    job = _find(kind, pk)
    require_change(request.user, job)
    done = not isinstance(job, Question | Viewing) and services.retry_job(job, user=request.user)
    _say(request, done, f"{job}: queued again.", f"{job} had not failed or been cancelled.")
    return redirect(overview.page_of(job))


def _find(kind: str, pk: int) -> Job:
    loaded: dict[str, Any] = {
        "run": overview.loaded_runs,
        "sampleset": overview.loaded_sample_sets,
        "evaluation": overview.loaded_evaluations,
        "question": overview.loaded_questions,
        "viewing": overview.loaded_viewings,
        "intake": overview.loaded_intakes,
    }
    if kind not in loaded:
        raise Http404(f"expected a kind of job ({', '.join(loaded)}), got {kind!r}")
    job: Job = get_object_or_404(loaded[kind](), pk=pk)
    return job


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _say(request: HttpRequest, done: bool | int, text: str, otherwise: str) -> None:
    if done:
        messages.success(request, text)
    else:
        messages.info(request, otherwise)

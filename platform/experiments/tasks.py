"""Celery's side of the work: a message says that there is work, the rows say everything else."""

import logging
import threading
from collections.abc import Mapping
from functools import partial

from celery import shared_task
from celery.signals import worker_process_init

from experiments import work_logs
from experiments.models import Evaluation, Intake, Question, Run, SampleSet, Viewing
from experiments.viewings import ahead
from jobs import beside, tally
from jobs.execution import Heartbeat, Work, execute
from jobs.models import Job

logger = logging.getLogger(__name__)
_loading = threading.Lock()
_cannot_load = threading.Event()


beside.every_beat(ahead.look)
beside.every_beat(tally.settle)


def _works() -> Mapping[type[Job], Work]:
    """Return what does each kind of job; the first call of a process loads torch, in seconds."""
    with _loading:
        from experiments import pipeline
        from experiments.answers import work
        from experiments.intake import work as intake
        from experiments.viewings import work as viewings

    return {
        Run: pipeline.train,
        SampleSet: pipeline.sample,
        Evaluation: pipeline.evaluate,
        Question: work.answer,
        Viewing: viewings.view,
        Intake: intake.take_in,
    }


def _load_ahead() -> None:
    try:
        _works()
    except Exception:
        logger.exception("this worker can do no job")
        _cannot_load.set()


@worker_process_init.connect
def load_ahead(**kwargs: object) -> None:
    """Load torch while there is no job yet, beside what waits for one: none waits for it then."""
    threading.Thread(target=_load_ahead, name="load ahead", daemon=True).start()


def _do(kind: type[Job], job: Job, heartbeat: Heartbeat) -> None:
    _works()[kind](job, heartbeat)


def _answer(kind: type[Job], pk: int) -> None:
    """Claim a job at once and do it; a process that cannot load what does jobs leaves them all."""
    if _cannot_load.is_set():
        _works()
    works = {each: partial(_do, each) for each in Job.kinds()}
    execute(kind, pk, works, keep_log=work_logs.kept)


@shared_task
def train_run(pk: int) -> None:
    _answer(Run, pk)


@shared_task
def draw_samples(pk: int) -> None:
    _answer(SampleSet, pk)


@shared_task
def evaluate_samples(pk: int) -> None:
    _answer(Evaluation, pk)


@shared_task
def answer_question(pk: int) -> None:
    _answer(Question, pk)


@shared_task
def compute_viewing(pk: int) -> None:
    _answer(Viewing, pk)


@shared_task
def take_in(pk: int) -> None:
    _answer(Intake, pk)

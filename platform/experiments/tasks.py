"""Celery's side of the work: a message says that there is work, the rows say everything else."""

from celery import shared_task

from experiments.models import Evaluation, Intake, Question, Run, SampleSet, Viewing
from jobs.execution import Work, execute
from jobs.models import Job


def _answer(kind: type[Job], pk: int) -> None:
    from experiments import pipeline
    from experiments.answers import work
    from experiments.intake import work as intake
    from experiments.viewings import work as viewings

    works: dict[type[Job], Work] = {
        Run: pipeline.train,
        SampleSet: pipeline.sample,
        Evaluation: pipeline.evaluate,
        Question: work.answer,
        Viewing: viewings.view,
        Intake: intake.take_in,
    }
    execute(kind, pk, works)


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

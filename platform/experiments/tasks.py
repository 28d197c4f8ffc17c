"""Celery's side of the work: a message names a row, the row says everything else."""

from celery import shared_task

from experiments.models import Evaluation, Run, SampleSet
from jobs.execution import execute


@shared_task
def train_run(pk: int) -> None:
    from experiments import pipeline

    execute(Run, pk, pipeline.train)


@shared_task
def draw_samples(pk: int) -> None:
    from experiments import pipeline

    execute(SampleSet, pk, pipeline.sample)


@shared_task
def evaluate_samples(pk: int) -> None:
    from experiments import pipeline

    execute(Evaluation, pk, pipeline.evaluate)

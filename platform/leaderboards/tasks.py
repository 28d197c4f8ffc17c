"""Celery's side of judging boards: a message says that rows changed, the rows say which."""

from celery import shared_task

from catalog.models import Protocol
from leaderboards.scores import judging


@shared_task
def judge_board(pk: int) -> None:
    protocol = Protocol.objects.filter(pk=pk).first()
    if protocol is not None:
        judging.judge(protocol)

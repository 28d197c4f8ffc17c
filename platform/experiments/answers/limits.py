"""How much one person may ask of the workers: questions in words, and looks into trainings.

Somebody may ask so much an hour and have so much unfinished, of both together; of what is finished
the newest of each are kept for each account, so that neither rows nor files grow without end.
"""

from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction

from accounts.models import User
from catalog import stored
from experiments.models import Question, Viewing
from jobs.models import FINISHED

HOUR = timedelta(hours=1)
KINDS: tuple[type[Question] | type[Viewing], ...] = (Question, Viewing)


def refusal(user: User, now: datetime) -> str:
    """Return why the account may ask no more now, "" if it may."""
    own = [kind._default_manager.filter(created_by=user) for kind in KINDS]
    most = settings.QUESTIONS_UNFINISHED
    if sum(rows.exclude(status__in=FINISHED).count() for rows in own) >= most:
        return f"{_questions(most)} of yours may wait or be drawn at a time; cancel one, or wait"
    most = settings.QUESTIONS_PER_HOUR
    times = (rows.filter(created_at__gt=now - HOUR).values_list("created_at") for rows in own)
    recent = sorted((at for rows in times for (at,) in rows), reverse=True)
    if most and len(recent) < most:
        return ""
    if not most:
        return "nobody may ask questions on this site"
    seconds = (recent[most - 1] + HOUR - now).total_seconds()
    minutes = max(1, round(seconds / 60))
    return f"you may ask {_questions(most)} an hour; ask again in {minutes} min"


def _questions(number: int) -> str:
    return "1 question" if number == 1 else f"{number:,} questions"


def forget_old(kind: type[Question] | type[Viewing], user: User, now: datetime) -> None:
    """Delete what an account asked, beyond the newest that is finished, with timelines and files.

    What is of the last hour stays: it is counted.
    """
    rows = kind._default_manager.filter(created_by=user, status__in=FINISHED)
    for row in rows.order_by("-pk")[settings.QUESTIONS_KEPT :]:
        if row.created_at < now - HOUR:
            row.events.delete()
            name = stored.name_of(row.path)
            row.delete()
            transaction.on_commit(partial(stored.remove, name), robust=True)
